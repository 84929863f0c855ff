# shellcheck shell=bash
# The three kinds of cluster that the demo runs on: check_KIND refuses early what cannot work, open_KIND
# brings it about and sets what follows, close_KIND removes it. Sourced by ../demo.sh.
# Must never change a cluster of the user's before it is known to have nothing of the operator.

CRD=inferenceservices.ai.example.com
CATALOG_CRD=inferencecatalogs.ai.example.com
LOCAL_NAME=demo KIND_NAME=inference-operator-demo
DEMO_NAMESPACE=inference-demo
# What open_KIND sets: kubectl as the cluster's admin, the namespace of the samples; and where the API server is, for an
# operator that is a process.
# shellcheck disable=SC2034
KUBE=() API_HOST='' API_PORT='' NAMESPACE=''
# What there is to remove.
OPENED=no

kube() { "${KUBE[@]}" --cache-dir "$WORK/kubectl-cache" "$@"; }

# --- local: the control plane of ../cluster.sh, with simulated GPU nodes ---

check_local() {
  [[ $("$HERE/cluster.sh" status --name "$LOCAL_NAME" 2>/dev/null || true) != *' running '* ]] ||
    die "a cluster named $LOCAL_NAME runs already, and is not this demo's: 'scripts/cluster.sh down --name $LOCAL_NAME' removes it"
}

open_local() {
  local kubeconfig
  say "starting a local control plane with simulated nodes of each GPU type"
  "$HERE/cluster.sh" up --name "$LOCAL_NAME"
  OPENED=yes
  kubeconfig=$("$HERE/cluster.sh" kubeconfig --name "$LOCAL_NAME")
  # shellcheck disable=SC1091
  . "${kubeconfig%/*}/env"
  # shellcheck disable=SC2153
  API_HOST=$APISERVER_HOST API_PORT=$APISERVER_PORT KUBE=("$KUBECTL") NAMESPACE=default
  cp "$CA" "$WORK/ca.crt"
}

close_local() {
  [ "$OPENED" = no ] || "$HERE/cluster.sh" down --name "$LOCAL_NAME"
}

# --- context: a cluster that the user has ---

check_context() {
  command -v kubectl >/dev/null || die "kubectl is missing: --context uses a cluster that your kubectl knows"
  KUBE=(kubectl --context "$CONTEXT")
  kube get --raw /readyz >/dev/null 2>"$WORK/error" || die "context $CONTEXT: $(tail -n 1 "$WORK/error")"
  refuse_what_is_taken
  read_address
}

# Its own namespace goes last, so where it is there with this label, all else is from a demo too
# that could not clean up.
refuse_what_is_taken() {
  local found
  found=$(kube get namespace "$DEMO_NAMESPACE" --ignore-not-found -o 'jsonpath={.metadata.labels.app\.kubernetes\.io/managed-by}')
  if [ "$found" = inference-operator-demo ]; then
    say "context $CONTEXT: an earlier demo did not get to remove what it made"
    remove_what_is_made
    return
  fi
  found=$(kube get --ignore-not-found -o name "namespace/$DEMO_NAMESPACE" namespace/inference-operator "crd/$CRD" "crd/$CATALOG_CRD" \
    clusterrole/inference-operator clusterrolebinding/inference-operator)
  [ -z "$found" ] || die "context $CONTEXT already has ${found//$'\n'/, }: the demo would change it, and remove it at the end"
}

# The operator in its edge build knows no kubeconfig: only host, port and CA, as a pod does.
read_address() {
  local server
  server=$(config server)
  [[ $server =~ ^https://\[?([0-9a-fA-F:]+|[^]/:[]+)\]?(:([0-9]+))?/?$ ]] ||
    die "context $CONTEXT: expected a server like https://HOST:PORT; got '$server'"
  # shellcheck disable=SC2034
  API_HOST=${BASH_REMATCH[1]} API_PORT=${BASH_REMATCH[3]:-443}
  config certificate-authority-data | base64 -d >"$WORK/ca.crt"
  [ -s "$WORK/ca.crt" ] || die "context $CONTEXT: its cluster has no certificate-authority, which the operator needs"
  [ -z "$(config proxy-url)$(config tls-server-name)" ] || die "context $CONTEXT: its cluster has a proxy-url or tls-server-name, which the operator does not know"
}

config() { kube config view --raw --minify --flatten -o "jsonpath={.clusters[0].cluster.$1}"; }

open_context() {
  NAMESPACE=$DEMO_NAMESPACE
  say "context $CONTEXT: making the namespaces inference-operator and $NAMESPACE, the CRDs, a ClusterRole and its binding; they are removed at the end"
  OPENED=yes
  kube apply -f - <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE
  labels:
    app.kubernetes.io/managed-by: inference-operator-demo
END
}

close_context() { [ "$OPENED" = no ] || remove_what_is_made; }

remove_what_is_made() {
  say "removing what was made in context $CONTEXT"
  kube delete --ignore-not-found --timeout=120s "crd/$CRD" "crd/$CATALOG_CRD" &&
    kube delete --ignore-not-found --timeout=120s -f k3s-manifests/rbac.yaml -f k3s-manifests/namespace.yaml &&
    kube delete --ignore-not-found --timeout=120s "namespace/$DEMO_NAMESPACE"
}

# --- kind: a cluster made for the demo, of one control plane and a node of each GPU type ---

check_kind() {
  local problem
  problem=$("$HERE/kind.sh" check) || die "--kind: $problem"
  ! "$HERE/kind.sh" status --name "$KIND_NAME" >/dev/null 2>&1 ||
    die "a kind cluster named $KIND_NAME runs already, and is not this demo's: 'scripts/kind.sh down --name $KIND_NAME' removes it"
}

open_kind() {
  # shellcheck disable=SC2034
  KUBE=("$HERE/kind.sh" exec --name "$KIND_NAME" kubectl) NAMESPACE=default
  say "starting a kind cluster of four nodes"
  OPENED=yes
  "$HERE/kind.sh" up --name "$KIND_NAME" --nodes 4
  "$HERE/kind.sh" load --name "$KIND_NAME" "$OPERATOR" model-server
  give_gpus "$KIND_NAME-worker" NVIDIA-A100-SXM4-80GB
  give_gpus "$KIND_NAME-worker2" NVIDIA-H100-80GB-HBM3
  give_gpus "$KIND_NAME-worker3" NVIDIA-L40S
}

# give_gpus NODE PRODUCT: that a scheduler can count, and are of no use to the containers.
give_gpus() {
  kube label node "$1" "nvidia.com/gpu.product=$2" >/dev/null
  kube patch node "$1" --subresource status --type merge -p '{"status": {"capacity": {"nvidia.com/gpu": "8"}}}' >/dev/null
}

close_kind() { [ "$OPENED" = no ] || "$HERE/kind.sh" down --name "$KIND_NAME"; }

what_is_made() {
  case $CLUSTER in
    local) echo "the control plane" ;;
    context) echo "what was made in the cluster" ;;
    kind) echo "the kind cluster" ;;
  esac
}
