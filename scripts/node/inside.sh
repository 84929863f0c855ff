#!/usr/bin/env bash
# What happens inside of a node's namespaces. Called by ../node.sh and nobody else: init as their first process,
# the other commands by nsenter. Must never be run outside of them: it sets up network and mounts.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../cluster/process.sh
. "$HERE/cluster/process.sh"
# shellcheck source-path=SCRIPTDIR source=parts.sh
. "$HERE/node/parts.sh"
# shellcheck source-path=SCRIPTDIR source=images.sh
. "$HERE/node/images.sh"
# shellcheck source-path=SCRIPTDIR source=traces.sh
. "$HERE/node/traces.sh"
# shellcheck source-path=SCRIPTDIR source=power.sh
. "$HERE/node/power.sh"
# shellcheck source-path=SCRIPTDIR source=namespaces.sh
. "$HERE/node/namespaces.sh"

NODE=edge
ADDRESS=10.77.0.1

main() {
  local command=$1
  DIR=$2 RUN=${2%/*}
  shift 2
  case $command in
    init) init ;;
    up) up ;;
    stop) stop_process "$1" ;;
    start) is_running "$1" || { load && "start_$1" && wait_for "$1"; } ;;
    import) import_images ;;
    crash) crash ;;
    boot) load && start_parts ;;
  esac
}

init() {
  set_up_network "$ADDRESS"
  cover_folders /run/containerd /run/netns /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers
  touch "$DIR/ready"
  trap '' HUP INT TERM
  # As the first process it also takes in what others leave, which bash waits for by itself.
  while :; do sleep 3600 || true; done
}

up() {
  "$HERE/cluster.sh" up --name "$NAME" --without kwok --no-nodes --address "$ADDRESS"
  load
  make_images
  start_parts
  start_dns
}

start_parts() {
  local part
  for part in containerd kubelet kube-proxy; do
    "start_$part"
    wait_for "$part" || die "$part did not come up: $(why "$part")"
  done
}

load() {
  CLUSTER=$INFERENCE_OPERATOR_RUN/$NAME
  # shellcheck disable=SC1091
  . "$CLUSTER/env"
  KUBELET_BIN=$("$HERE/control-plane/build.sh" kubelet)
  IMAGES_BIN=$("$HERE/control-plane/build.sh" images)
}

kube() { "$KUBECTL" --cache-dir "$DIR/kubectl-cache" --request-timeout 10s "$@"; }

main "$@"
