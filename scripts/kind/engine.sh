#!/usr/bin/env bash
# A docker engine of its own (dockerd, from Debian's docker.io), in namespaces that end with it. Called by ../kind.sh and
# image.sh, and as `first` by the namespaces. Must never touch the machine's own engine, nor leave anything after `down`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../node/traces.sh
. "$HERE/node/traces.sh"
# shellcheck source-path=SCRIPTDIR source=../node/namespaces.sh
. "$HERE/node/namespaces.sh"

RUN=${INFERENCE_OPERATOR_RUN:-${XDG_RUNTIME_DIR:-/tmp}/inference-operator-$(id -u)}
# Sockets and the like: a folder that each engine's namespaces have for themselves, and short enough for a socket.
STATE=/run/containerd

# usage: engine.sh up FOLDER NAME DATA   the engine's state goes to FOLDER, its images and containers to DATA, its
#                                        cgroups are called after NAME
#        engine.sh down FOLDER           removes it, with all containers and images
#        engine.sh check FOLDER          does it run?
#        engine.sh exec FOLDER COMMAND   in its namespaces, with a docker client that finds it
main() {
  local command=$1
  DIR=$2
  shift 2
  case $command in
    up) up "$@" ;;
    first) first ;;
    down) down ;;
    check) namespaces_are_up ;;
    exec) enter "$@" ;;
    *) die "no such command: $command" ;;
  esac
}

up() {
  local end
  (umask 077 && mkdir -p "$DIR/logs" "$DIR/client" "$2")
  echo '{}' >"$DIR/client/config.json" # the user's own may name what is not to be had in there
  printf 'NAME=%q\nDATA=%q\n' "$1" "$2" >"$DIR/settings"
  save_sysctls "$DIR/sysctls"
  make_cgroups "$1"
  begin_namespaces "$HERE/kind/engine.sh" first "$DIR"
  end=$((SECONDS + 60))
  until enter docker version >/dev/null 2>&1; do
    { namespaces_are_up && [ "$SECONDS" -lt "$end" ]; } || die "the docker engine did not come up: $(tail -n 1 "$DIR/logs/dockerd.log")"
    sleep 0.1
  done
}

# The first process. As such it also takes in what others leave, which bash does by itself.
first() {
  # shellcheck disable=SC1091
  . "$DIR/settings"
  set_up_network 10.77.0.1
  # Wherever docker is told to have its state: its key and configuration, its plugins, the sockets of its shims.
  cover_folders /etc/docker /run/docker "$STATE"
  # kind mounts it into its nodes, and docker would make it.
  make_folder /lib/modules
  touch "$DIR/ready"
  start_engine &
  trap '' HUP INT TERM
  wait
}

start_engine() {
  local runtime=() group
  # shellcheck disable=SC2153
  group=$(cgroup_of "$NAME")
  # Bit 24 of the capabilities that can be had. Without it no privileged container would start.
  (($(sed -n 's/^CapBnd:[^0-9a-f]*/0x/p' /proc/self/status) >> 24 & 1)) ||
    runtime=(--add-runtime "less=$HERE/kind/runc-without-sys-resource.sh" --default-runtime less)
  export TMPDIR=$STATE XTABLES_LOCKFILE=$STATE/xtables.lock
  exec dockerd "${runtime[@]}" --host "unix://$STATE/docker.sock" --data-root "$DATA" \
    --exec-root "$STATE/docker" --pidfile "$STATE/docker.pid" --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "/$group" --default-address-pool base=10.200.0.0/16,size=24 >"$DIR/logs/dockerd.log" 2>&1
}

# What has no first process any more, or never had one, too.
down() {
  [ -f "$DIR/settings" ] || return 0
  # shellcheck disable=SC1091
  . "$DIR/settings"
  end_namespaces
  remove_cgroups "$NAME"
  restore_sysctls "$DIR/sysctls"
  remove_folders "$DIR/folders"
  rm -rf "$DATA" "$DIR"
}

enter() { DOCKER_HOST=unix://$STATE/docker.sock DOCKER_CONFIG=$DIR/client in_namespaces env -C "$PWD" "$@"; }

main "$@"
