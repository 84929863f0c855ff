# shellcheck shell=bash
# The operator as a pod: the image of ../image.sh and the manifests, installed as the README has it, with settings in a
# kustomization of the user's own. Sourced by ../demo.sh. Must never change the manifests themselves.

WORKLOAD=deployment/inference-operator

build_pod() {
  say "building the operator and its image: about 3 minutes on 2 cores where nothing is built yet"
  "$HERE/image.sh" --no-sbom "$(own_architecture)" 9>&- || die "the image could not be built: see above"
  # shellcheck disable=SC2034
  OPERATOR=dist/inference-operator-$(project_version)-$(own_architecture).tar.zst
}

# Its models are served by a stand-in, which answers as an engine does and needs no GPU.
start_pod() {
  mkdir "$WORK/operator"
  cp -r k3s-manifests "$WORK"
  cat >"$WORK/operator/kustomization.yaml" <<'END'
resources: [../k3s-manifests]
patches:
  - target: {kind: Deployment, name: inference-operator}
    patch: |
      - op: add
        path: /spec/template/spec/containers/0/env/-
        value: {name: INFERENCE_OPERATOR_SERVER_IMAGE, value: "model-server:1"}
      - op: add
        path: /spec/template/spec/containers/0/env/-
        value: {name: INFERENCE_OPERATOR_SERVER_COMMAND, value: "[]"}
END
  say "installing the operator: kubectl apply -k operator/, which is k3s-manifests and an image that stands in for the engines"
  kube apply -k "$WORK/operator"
  kube rollout status "$WORKLOAD" --namespace inference-operator --timeout 120s ||
    die "the operator is not ready: $(kube get pods --namespace inference-operator | tail -n 1)"
}

# The cluster does it.
look_after_pod() { :; }

# By its own account: the kubelet's takes a while to be there.
tell_memory_of_pod() {
  local pod bytes
  pod=$(kube get pods --namespace inference-operator -o 'jsonpath={.items[0].metadata.name}') &&
    bytes=$(kube get --raw "/api/v1/namespaces/inference-operator/pods/$pod:8080/proxy/metrics" | awk '$1 == "process_resident_memory_bytes" {print $2}')
  echo "The operator's memory: $(mib "$(awk -v bytes="${bytes:-0}" 'BEGIN { print bytes / 1024 }')") MiB resident (pod ${pod:-unknown}, by its /metrics)."
}

log_of_pod() { echo "kubectl -n inference-operator logs -f $WORKLOAD"; }

# It ends with the cluster.
stop_pod() { :; }
