# shellcheck shell=bash
# The cluster itself, and the two engines that it may be on: each has prepare_, open_, close_, engine_answers_ and in_.
# Sourced by ../kind.sh. Must never change a cluster of the machine's engine before it is known to be this script's.

LABEL=io.x-k8s.kind.cluster

# --- own: an engine in namespaces of its own, with a node image of its own ---

prepare_own() {
  local tool why="for a docker engine of its own"
  for tool in "${!TOOLS[@]}"; do
    command -v "$tool" >/dev/null || install_packages "$why" "${TOOLS[$tool]}"
  done
  # From Debian 13 on it is a package by itself.
  command -v docker >/dev/null || install_packages "$why" docker-cli
  find_programs
  ARCHIVE=$("$HERE/kind/image.sh")
}

open_own() {
  say "$NAME: starting a docker engine of its own, and loading its node image"
  "$HERE/kind/engine.sh" up "$DIR/engine" "$NAME.kind" "$CACHE/kind/engine-$NAME"
  IMAGE=$(zstd --quiet --decompress --stdout "$ARCHIVE" | in_own docker load --quiet | sed -n 's/^Loaded image: //p')
  [ -n "$IMAGE" ] || die "$ARCHIVE could not be loaded"
}

# The containers end with the engine.
close_own() { "$HERE/kind/engine.sh" down "$DIR/engine"; }

engine_answers_own() { "$HERE/kind/engine.sh" check "$DIR/engine"; }

in_own() { with_programs "$HERE/kind/engine.sh" exec "$DIR/engine" "$@"; }

# --- machine: the engine that `docker info` finds. Never run where there is no registry to pull the node image from. ---

prepare_machine() { find_programs; }

# The image may be one that only this engine has; else kind pulls it.
open_machine() { IMAGE=${NODE_IMAGE:-}; }

close_machine() {
  [ -z "$(nodes_of_cluster)" ] || is_ours || die "the kind cluster $NAME is not this script's any more: 'kind delete cluster --name $NAME' removes it"
  in_machine kind delete cluster --name "$NAME" --kubeconfig "$DIR/kubeconfig" >/dev/null 2>&1 || die "kind could not delete the cluster $NAME"
}

engine_answers_machine() { machine_has_engine; }

in_machine() { with_programs "$@"; }

# --- both ---

in_engine() { in_"$ENGINE" "$@"; }

with_programs() {
  PATH=${PROGRAMS:+$PROGRAMS:}$PATH KUBECONFIG=$DIR/kubeconfig KIND_EXPERIMENTAL_PROVIDER=docker KIND_CLUSTER_NAME=$NAME "$@"
}

# kind; and kubectl unless the machine, with its engine, has one too.
find_programs() {
  PROGRAMS=$("$HERE/control-plane/build.sh" kind)
  if [ "$ENGINE" = own ] || ! command -v kubectl >/dev/null; then
    PROGRAMS+=:$("$HERE/control-plane/build.sh" kubernetes)
  fi
}

kube() { in_engine kubectl --request-timeout 10s "$@"; }

# Ids of the nodes' containers, whoever made them.
nodes_of_cluster() { in_engine docker ps --all --quiet --no-trunc --filter "label=$LABEL=$NAME" | sort; }

# A cluster of this name may have been removed by hand, and made anew by somebody else. One without a list is half made.
is_ours() { [ ! -f "$DIR/nodes" ] || [ "$(nodes_of_cluster)" = "$(cat "$DIR/nodes")" ]; }

refuse_cluster_of_others() {
  [ "$ENGINE" = own ] || [ -z "$(nodes_of_cluster)" ] ||
    die "kind has a cluster named $NAME that this script did not make: choose another --name, or 'kind delete cluster --name $NAME'"
}

create_cluster() {
  say "$NAME: kind creates $NODES $([ "$NODES" = 1 ] && echo node || echo nodes)"
  configuration >"$DIR/cluster.yaml"
  in_engine kind create cluster --name "$NAME" --config "$DIR/cluster.yaml" --kubeconfig "$DIR/kubeconfig" --wait 180s \
    ${IMAGE:+--image "$IMAGE"} >"$DIR/logs/kind.log" 2>&1 || die "kind failed: $(grep -m 1 ERROR "$DIR/logs/kind.log" || tail -n 1 "$DIR/logs/kind.log")"
  nodes_of_cluster >"$DIR/nodes"
  # kind waits for the control plane alone, and goes on when it has waited in vain.
  kube wait node --all --for=condition=Ready --timeout=120s --request-timeout 0 >/dev/null || die "not all nodes are ready"
  kube rollout status deployment/coredns --namespace kube-system --timeout 120s --request-timeout 0 >/dev/null ||
    die "CoreDNS is not ready: $(kube get pods --namespace kube-system -l k8s-app=kube-dns | tail -n 1)"
}

configuration() {
  local worker
  printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - role: control-plane\n'
  [ -z "$AUDIT" ] || printf '    extraMounts: [{hostPath: "%s", containerPath: /audit}]\n' "$AUDIT"
  for ((worker = 1; worker < NODES; worker++)); do echo '  - role: worker'; done
  echo 'kubeadmConfigPatches:'
  # Our own image has it built in.
  if [ "$ENGINE" = machine ] && [ "$(uname -s)" = Linux ] && [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
    printf '  - |\n    kind: KubeletConfiguration\n    failCgroupV1: false\n'
  fi
  [ -z "$AUDIT" ] || audited_configuration
}

# Two mounts bring the folder into the API server's pod: the node's, and this one. A log that the API server creates can be
# read by root alone.
audited_configuration() {
  touch "$AUDIT/audit.log"
  cat >"$AUDIT/policy.yaml" <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["system:serviceaccount:inference-operator:inference-operator"]
END
  cat <<'END'
  - |
    kind: ClusterConfiguration
    apiServer:
      extraArgs:
        - {name: audit-policy-file, value: /audit/policy.yaml}
        - {name: audit-log-path, value: /audit/audit.log}
        - {name: audit-log-mode, value: blocking}
        - {name: audit-log-maxsize, value: "0"}
      extraVolumes:
        - {name: audit, hostPath: /audit, mountPath: /audit, pathType: Directory}
END
}

# --- the other commands ---

status_cluster() {
  local node ready version memory stats list well=0
  local fields='{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.status.nodeInfo.kubeletVersion}'
  # shellcheck disable=SC2046
  stats=$(in_engine docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' $(nodes_of_cluster))
  list=$(kube get nodes -o "jsonpath={range .items[*]}$fields{\"\\n\"}{end}") || die "$NAME: its API server does not answer"
  printf '%-40s %-10s %-10s %s\n' NODE STATE VERSION MEMORY
  while read -r node ready version; do
    memory=$(awk -v node="$node" '$1 == node {print $2}' <<<"$stats")
    if [ "$ready" = True ]; then ready=ready; else ready='not ready' well=1; fi
    printf '%-40s %-10s %-10s %s\n' "$node" "$ready" "$version" "${memory:--}"
  done <<<"$list"
  return "$well"
}

load_cluster() {
  local archive file
  [ $# -gt 0 ] || die "load expects archives of images"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-kind.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  for archive in "$@"; do
    case $archive in
      model-server) file=$WORK/model-server.tar && make_model_server "$file" ;;
      *) [ -f "$archive" ] || die "no file $archive" ;;&
      # kind reads it once for each node.
      *.zst) file=$WORK/archive.tar && zstd --quiet --force --decompress "$archive" -o "$file" ;;
      *) file=$archive ;;
    esac
    in_engine kind load image-archive --name "$NAME" "$file" >"$WORK/log" 2>&1 || die "$archive could not be loaded: $(tail -n 1 "$WORK/log")"
    say "$NAME: loaded $archive"
  done
}

make_model_server() {
  need buildah "to make an image without a container engine"
  scratch_archive "$WORK/store" model-server "$("$HERE/control-plane/build.sh" images)/model-server" /model-server "$1" >"$WORK/log" 2>&1 ||
    die "no image model-server: $(tail -n 1 "$WORK/log")"
}

exec_cluster() {
  [ $# -gt 0 ] || die "exec expects a command"
  in_engine "$@"
}
