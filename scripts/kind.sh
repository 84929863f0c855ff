#!/usr/bin/env bash
# A real kind cluster, set up by kubeadm, on the machine's docker engine or on one of its own: for people, the demo and the
# tests. Pieces in kind/, programs from control-plane/. Must never touch a cluster that it did not make, pull anything
# where the engine is its own, or leave anything after `down`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=kind/cluster.sh
. "$HERE/kind/cluster.sh"

# What an engine of its own takes, each with Debian's package that brings it.
declare -A TOOLS=([dockerd]=docker.io [iptables]=iptables [ip]=iproute2 [nsenter]=util-linux [jq]=jq [zstd]=zstd)

RUN=${INFERENCE_OPERATOR_RUN:-${XDG_RUNTIME_DIR:-/tmp}/inference-operator-$(id -u)}
NAME=inference-operator NODES=1 AUDIT=''
# Kept in the cluster's folder: whose docker engine it is on, machine or own, and the folders of kind and kubectl.
ENGINE='' PROGRAMS=''

usage() {
  cat <<'END'
A real Kubernetes on this machine, by kind and kubeadm.

usage: scripts/kind.sh COMMAND [--name NAME]

  up                start it, and return when its nodes and its name server are ready
      --nodes N     one control plane and N-1 workers (default 1)
      --audit DIR   write the operator's requests to audit.log in this folder
  down              end it, and remove all of it
  status            show its nodes; exit code 0 if all are ready
  check             can it be had here? Says what is missing; exit code 1 if something is
  load ARCHIVE...   load images (docker or OCI archives, also .zst) into all nodes; model-server is the stand-in
                    for an inference engine, as model-server:1 (answers /health and /v1/models)
  exec COMMAND...   run something with this cluster as kubectl's, and docker, kind and kubectl on the PATH
                    (`exec bash` for a shell)

If `docker info` succeeds, that engine is used, with kind's node image or $NODE_IMAGE. Otherwise (Linux, root,
apt-get) the cluster gets an engine in namespaces of its own, which only `exec` reaches, and a node image
built from Debian's packages and Go modules: nothing is pulled from a registry. NAME is a word (default:
inference-operator); clusters of different names run side by side.
END
}

main() {
  local command=${1:-}
  case $command in
    -h | --help) usage && exit ;;
    '') usage >&2 && exit 1 ;;
  esac
  shift
  while [[ ${1:-} == --* ]]; do
    case $1 in
      --name)
        expect_name "${2:-}"
        NAME=$2
        ;;
      --nodes)
        [[ $command == up && ${2:-} =~ ^([1-9]|1[0-9]|20)$ ]] || die "--nodes belongs to up, and expects 1 to 20; got '${2:-}'"
        NODES=$2
        ;;
      --audit)
        [[ $command == up && ${2:-} == /* && -d $2 ]] || die "--audit belongs to up, and expects an absolute path of a folder; got '${2:-}'"
        AUDIT=$2
        ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift 2
  done
  [[ $command =~ ^(load|exec)$ || $# == 0 ]] || die "$command takes no '$1' (see --help)"
  [ ! -d "$RUN" ] || [ -O "$RUN" ] || die "$RUN belongs to another user: set INFERENCE_OPERATOR_RUN to a folder of your own"
  DIR=$RUN/$NAME.kind
  case $command in
    check) lacks && exit 1 || exit 0 ;;
    up | down) alone "$command" ;;
    status | load | exec) need_cluster && "${command}_cluster" "$@" ;;
    *) die "no such command: $command (see --help)" ;;
  esac
}

# lacks: says in one line what stands in the way, or returns 1 where nothing does.
lacks() {
  local without="no docker engine answers, and one of its own takes"
  if machine_has_engine; then
    return 1
  elif [ "$(uname -s)" != Linux ]; then
    echo "$without Linux: this is $(uname -s)"
  elif [ "$(id -u)" != 0 ]; then
    echo "$without root: this is $(id -un)"
  elif [ "$(package_manager)" != apt-get ]; then
    echo "$without apt-get, for Debian's packages"
  elif ! unshare --net --mount --pid --fork --mount-proc true 2>/dev/null; then
    echo "$without namespaces, which this machine refuses"
  else
    return 1
  fi
}

machine_has_engine() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# alone up|down: one at a time for a cluster.
alone() {
  (umask 077 && mkdir -p "$RUN")
  lock "$DIR.lock" 0 || die "$NAME: process $(cat "$DIR.lock") is changing it"
  trap 'leave' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  "$1"
}

leave() {
  rm -f "$DIR.lock"
  rmdir "$RUN" 2>/dev/null || true
}

# --- up and down ---

up() {
  local problem begun
  if is_up; then
    say "$NAME is already up"
    return
  fi
  if problem=$(lacks); then die "$problem"; fi
  [ ! -d "$DIR" ] || down # what an earlier one has left
  ENGINE=own
  ! machine_has_engine || ENGINE=machine
  refuse_cluster_of_others
  prepare_"$ENGINE"
  begun=$SECONDS
  (umask 077 && mkdir -p "$DIR/logs")
  printf 'ENGINE=%q\nPROGRAMS=%q\n' "$ENGINE" "$PROGRAMS" >"$DIR/settings"
  exec 8>&2 # a trap may find standard error redirected by the command that it interrupts
  trap 'give_up $?' EXIT
  open_"$ENGINE"
  create_cluster
  trap 'leave' EXIT
  rm -rf "$DIR.logs"
  say "$NAME is up after $((SECONDS - begun)) s: scripts/kind.sh exec --name $NAME kubectl get nodes"
}

# give_up CODE: the logs stay where it failed, and nothing where it was interrupted.
give_up() {
  trap '' HUP INT TERM
  exec 2>&8
  rm -rf "$DIR.logs"
  if [ "$1" -gt 128 ]; then
    say "$NAME: interrupted: ending what was started"
  else
    say "$NAME did not come up (logs: $DIR.logs)"
    cp -r "$DIR/logs" "$DIR.logs"
    [ ! -d "$DIR/engine/logs" ] || cp "$DIR/engine/logs"/* "$DIR.logs"
  fi
  down
  leave
}

down() {
  if [ ! -f "$DIR/settings" ]; then
    ENGINE=own
    ! machine_has_engine || { ENGINE=machine && refuse_cluster_of_others; }
    say "$NAME is not up"
    return
  fi
  load_settings
  close_"$ENGINE"
  rm -rf "$DIR"
  say "$NAME is down"
}

load_settings() {
  # shellcheck disable=SC1091
  . "$DIR/settings"
}

is_up() {
  [ -f "$DIR/nodes" ] || return 1
  load_settings
  engine_answers_"$ENGINE" && [ -n "$(nodes_of_cluster)" ] && is_ours
}

need_cluster() {
  is_up || die "$NAME is not up ('scripts/kind.sh up --name $NAME' starts it)"
}

main "$@"
