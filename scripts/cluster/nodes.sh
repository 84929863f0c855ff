# shellcheck shell=bash
# The simulated GPU nodes of a cluster, that kwok keeps alive.
# Sourced by ../cluster.sh. Must never be called for a cluster without kwok: nothing would make them ready.

create_nodes() {
  {
    node a100 NVIDIA-A100-SXM4-80GB
    node h100 NVIDIA-H100-80GB-HBM3
    node l40s NVIDIA-L40S
  } | kubectl create --validate=false -f - >/dev/null
}

# As large as no real node is: what is measured is the operator, never the room for its pods.
node() {
  cat <<END
---
apiVersion: v1
kind: Node
metadata:
  name: $1
  labels:
    kubernetes.io/arch: amd64
    kubernetes.io/os: linux
    kubernetes.io/hostname: $1
    nvidia.com/gpu.product: $2
status:
  capacity: &room
    cpu: "1000"
    memory: 4Ti
    pods: "20000"
    nvidia.com/gpu: "20000"
  allocatable: *room
END
}

# Until pods can be scheduled: a node begins with a taint that the controller-manager takes away
# once it is ready. Where there is no controller-manager, nobody else would.
wait_for_nodes() {
  local end=$((SECONDS + 60)) taints='{range .items[*]}{.spec.taints[*].key}{end}'
  [[ ",$WITHOUT," != *,controller-manager,* ]] || taints=
  until nodes_are_ready "$taints"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
  [ -n "$taints" ] || kubectl patch nodes a100 h100 l40s --type merge -p '{"spec":{"taints":null}}' >/dev/null
}

nodes_are_ready() {
  [ "$(kubectl get nodes -o jsonpath='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{end}'"$1" 2>/dev/null)" = TrueTrueTrue ]
}
