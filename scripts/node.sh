#!/usr/bin/env bash
# One real node beside the local control plane: kubelet, containerd, kube-proxy, CoreDNS, in network, mount and
# process namespaces of their own. For the tests of what people install, and for people. Pieces in node/.
# Must never change the machine outside of those namespaces, but for cgroups and sysctls that `down` puts back.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=node/traces.sh
. "$HERE/node/traces.sh"
# shellcheck source-path=SCRIPTDIR source=node/namespaces.sh
. "$HERE/node/namespaces.sh"

# Each with Debian's package that brings it.
declare -A TOOLS=([containerd]=containerd [ctr]=containerd [runc]=runc [iptables]=iptables [conntrack]=conntrack
  [ip]=iproute2 [nft]=nftables [nsenter]=util-linux [buildah]=buildah [zstd]=zstd [musl-gcc]=musl-tools [openssl]=openssl)

RUN=${INFERENCE_OPERATOR_RUN:-${XDG_RUNTIME_DIR:-/tmp}/inference-operator-$(id -u)}
NAME=node

usage() {
  cat <<'END'
A real Kubernetes of one node on this machine (Linux, root), with a container runtime.

usage: scripts/node.sh COMMAND [--name NAME]

  up              start it, and return when its name server answers
  down            end it, and remove all of it
  check           can it be had here? Says what is missing; exit code 1 if something is
  exec COMMAND    run something inside: there kubectl and ctr are set up for it, and pods can be reached
  import FILE...  load images (docker or OCI archives, also .zst) into the container runtime
  stop PART       end one part, keeping its pods
  start PART      start it again
  crash           kill all parts and pods at once, as a power cut does; the control plane goes on
  boot            start the parts after that

PART is kubelet, kube-proxy or containerd. The control plane is that of scripts/cluster.sh, in the same
namespaces. Images of its own: pause:1, coredns:1, model-server:1 (answers /health and /v1/models).
END
}

main() {
  local command=${1:-}
  case $command in
    -h | --help) usage && exit ;;
    '') usage >&2 && exit 1 ;;
  esac
  shift
  if [ "${1:-}" = --name ]; then
    expect_name "${2:-}"
    NAME=$2
    shift 2
  fi
  DIR=$RUN/$NAME.node
  case $command in
    check) lacks && exit 1 || exit 0 ;;
    up) up ;;
    down) down ;;
    exec) is_up || die "$NAME is not up"; inside_env "$@" ;;
    import) import "$@" ;;
    crash | boot) is_up || die "$NAME is not up"; inside "$command" ;;
    stop | start)
      [[ ${1:-} =~ ^(kubelet|kube-proxy|containerd)$ ]] || die "$command expects kubelet, kube-proxy or containerd; got '${1:-}'"
      is_up || die "$NAME is not up"
      inside "$command" "$1"
      ;;
    *) die "no such command: $command (see --help)" ;;
  esac
}

# lacks: says in one line what stands in the way, or returns 1 where nothing does.
lacks() {
  local tool missing=()
  if [ "$(uname -s)" != Linux ]; then
    echo "a node takes Linux: this is $(uname -s)"
  elif [ "$(id -u)" != 0 ]; then
    echo "a node takes root: this is $(id -un)"
  elif ! unshare --net --mount --pid --fork --mount-proc true 2>/dev/null; then
    echo "a node takes namespaces of its own, which this machine refuses"
  else
    for tool in "${!TOOLS[@]}"; do
      command -v "$tool" >/dev/null || missing+=("$tool")
    done
    cni_folder >/dev/null || missing+=("the CNI plugins")
    [ "${#missing[@]}" -gt 0 ] || return 1
    if [ "$(package_manager)" = apt-get ]; then return 1; fi
    echo "a node takes these too, which only Debian's packages are known to bring: ${missing[*]}"
  fi
}

cni_folder() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [ -x "$folder/bridge" ]; then
      echo "$folder"
      return
    fi
  done
  return 1
}

need_tools() {
  local why="for a real node" tool
  for tool in "${!TOOLS[@]}"; do
    command -v "$tool" >/dev/null || install_packages "$why" "${TOOLS[$tool]}"
  done
  cni_folder >/dev/null || install_packages "$why" containernetworking-plugins
}

# --- up and down ---

up() {
  local problem begun tool
  if problem=$(lacks); then die "$problem"; fi
  if is_up; then
    say "$NAME is already up"
    return
  fi
  need_tools
  for tool in kubernetes etcd kubelet images; do "$HERE/control-plane/build.sh" "$tool" >/dev/null; done
  begun=$SECONDS
  down 2>/dev/null # what an earlier one has left
  (umask 077 && mkdir -p "$DIR/logs" "$DIR/pids")
  # containerd's and the kubelet's sockets are in it.
  [ "${#DIR}" -le 60 ] || die "$DIR is too long for sockets: set INFERENCE_OPERATOR_RUN to a shorter folder"
  trap 'say "$NAME did not come up (logs: $DIR.logs)"; rm -rf "$DIR.logs"; cp -r "$DIR/logs" "$DIR.logs"; down' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  save_sysctls "$DIR/sysctls"
  make_cgroups "$NAME"
  begin_namespaces "$HERE/node/inside.sh" init "$DIR"
  inside up
  trap - EXIT INT TERM
  rm -rf "$DIR.logs"
  say "$NAME is up after $((SECONDS - begun)) s: scripts/node.sh exec --name $NAME kubectl get nodes"
}

is_up() { namespaces_are_up; }

down() {
  end_namespaces
  remove_cgroups "$NAME"
  "$HERE/cluster.sh" down --name "$NAME" 2>/dev/null
  if [ -d "$DIR" ]; then
    restore_sysctls "$DIR/sysctls"
    remove_folders "$DIR/folders"
    rm -rf "$DIR"
    rmdir "$RUN" 2>/dev/null || true
    say "$NAME is down"
  fi
}

# --- in its namespaces ---

# inside COMMAND...: one of node/inside.sh's.
inside() { enter "$HERE/node/inside.sh" "$1" "$DIR" "${@:2}"; }

inside_env() {
  # shellcheck disable=SC2016
  CONTAINERD_ADDRESS=$DIR/containerd/containerd.sock CONTAINERD_NAMESPACE=k8s.io \
    enter bash -c '. "$1/env" && PATH=$(dirname "$KUBECTL"):$PATH && shift && exec "$@"' - "$RUN/$NAME" "$@"
}

enter() { INFERENCE_OPERATOR_RUN=$RUN CNI=$(cni_folder) NAME=$NAME in_namespaces "$@"; }

import() {
  local file
  is_up || die "$NAME is not up"
  [ $# -gt 0 ] || die "import expects archives of images"
  for file in "$@"; do
    [ -f "$file" ] || die "no file $file"
    case $file in
      *.zst) zstd --quiet --decompress --stdout "$file" ;;
      *) cat "$file" ;;
    esac | inside import
  done
}

main "$@"
