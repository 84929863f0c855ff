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

NODE=edge
ADDRESS=10.77.0.1

main() {
  local command=$1
  DIR=$2
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
  set_up_network
  set_up_folders
  touch "$DIR/ready"
  trap '' HUP INT TERM
  # As the first process it also takes in what others leave, which bash waits for by itself.
  while :; do sleep 3600 || true; done
}

# A pair of devices, both here: an address that is not loopback and a way out that leads nowhere.
set_up_network() {
  ip link set lo up
  ip link add name edge0 type veth peer name edge1
  ip address add "$ADDRESS/24" dev edge0
  ip link set edge0 up
  ip link set edge1 up
  ip route add default via 10.77.0.254
}

# Folders that the programs use wherever they are told to put theirs: empty ones, gone with the namespace.
set_up_folders() {
  local folder
  for folder in /run/containerd /run/netns /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers; do
    if [ ! -d "$folder" ]; then
      mkdir "$folder"
      echo "$folder" >>"$DIR/folders"
    fi
    mount -t tmpfs tmpfs "$folder"
  done
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
