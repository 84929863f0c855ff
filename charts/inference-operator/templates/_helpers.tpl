{{/* The names are fixed: a cluster has one operator. So are the labels that select its pod, which are those of the
manifests in k3s-manifests/: an operator installed from there can be taken over. */}}

{{- define "inference-operator.selector" -}}
app.kubernetes.io/name: inference-operator
{{- end }}

{{- define "inference-operator.labels" -}}
{{ include "inference-operator.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "inference-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The text of a setting, from a list of its flag and its value. A list is joined as --help says, or is JSON. */}}
{{- define "inference-operator.setting" -}}
{{- $flag := index . 0 }}
{{- $value := index . 1 }}
{{- $separators := dict "gpu-type" ";" "allow-host-path" ":" }}
{{- if not (kindIs "slice" $value) }}{{ $value }}
{{- else if hasKey $separators $flag }}{{ join (get $separators $flag) $value }}
{{- else }}{{ toRawJson $value }}
{{- end }}
{{- end }}

{{/* The pod's affinity; with a standby, the two are on different nodes where they can be, unless the values say otherwise. */}}
{{- define "inference-operator.affinity" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) }}
{{- if and .Values.standby (not (hasKey $affinity "podAntiAffinity")) }}
{{- $labels := include "inference-operator.selector" . | fromYaml }}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) }}
{{- $preferred := list (dict "weight" 100 "podAffinityTerm" $term) }}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $preferred) }}
{{- end }}
{{- with $affinity }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* Empty where nothing is served. */}}
{{- define "inference-operator.telemetryPort" -}}
{{- $address := get .Values.settings "telemetry-address" | default "[::]:8080" }}
{{- regexFind "[0-9]+$" $address }}
{{- end }}

{{/* What the operator may do in the namespaces of the models, and nothing else: no Secrets, no wildcards, no delete; of
Pods and Nodes, to list them. */}}
{{- define "inference-operator.rules" -}}
- apiGroups: [ai.example.com]
  resources: [inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [ai.example.com]
  resources: [inferenceservices/status]
  verbs: [patch]
# Server-side apply is a patch that needs create too where the object is not there yet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# To say why a replica is not ready. Both can be left out: the status then says less.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- if not (hasKey .Values.settings "namespace") }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list]
{{- end }}
{{- end }}
