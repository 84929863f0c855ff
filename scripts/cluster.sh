#!/usr/bin/env bash
# A real Kubernetes control plane on this machine, with simulated GPU nodes: for people, the other
# scripts, the tests and the benchmarks. Its pieces are in cluster/, its programs from control-plane/.
# Must never touch a cluster that it did not start, listen beyond 127.0.0.1 unasked, or leave anything after `down`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=cluster/process.sh
. "$HERE/cluster/process.sh"
# shellcheck source-path=SCRIPTDIR source=cluster/parts.sh
. "$HERE/cluster/parts.sh"
# shellcheck source-path=SCRIPTDIR source=cluster/pki.sh
. "$HERE/cluster/pki.sh"
# shellcheck source-path=SCRIPTDIR source=cluster/nodes.sh
. "$HERE/cluster/nodes.sh"

RUN=${INFERENCE_OPERATOR_RUN:-${XDG_RUNTIME_DIR:-/tmp}/inference-operator-$(id -u)}
# What a cluster is made of. Kept in its folder, for the calls after `up`.
CHOICES=(DATASTORE FEATURE_GATES WITHOUT BENCH ISSUER NODES ADDRESS)
PORTS=(DATASTORE_PORT PEER_PORT APISERVER_PORT CONTROLLER_MANAGER_PORT SCHEDULER_PORT KWOK_PORT)
PROGRAMS=(KUBERNETES_BIN KUBECTL ETCD_BIN KINE_BIN KWOK_BIN)
NAME=default DATASTORE=etcd FEATURE_GATES='' WITHOUT='' BENCH=no ISSUER='' NODES=yes ADDRESS=''
KUBERNETES_BIN='' KUBECTL='' ETCD_BIN='' KINE_BIN='' KWOK_BIN=''

usage() {
  cat <<'END'
A real Kubernetes control plane on this machine, with three simulated GPU nodes.

usage: scripts/cluster.sh COMMAND [--name NAME]

  up            start it, and return when it is ready
      --datastore etcd|kine     what the API server stores in (default etcd)
      --feature-gates GATES     of the API server, e.g. WatchList=false
      --without PARTS           leave out any of controller-manager,scheduler,kwok
      --bench                   lift the API server's limits on requests in flight
      --issuer URL              what the API server calls itself in tokens, and its audience (default: as k3s has it)
      --no-nodes                no simulated nodes (nor are there any without kwok)
      --address ADDRESS         for pods: the API server listens on every address and is known by this one
                                (node.sh does it, in a network of its own)
  down          end it, and remove all of it
  status        show its parts; exit code 0 if all are well
  kubeconfig    print the path of its admin kubeconfig
  stop PART     end one part (--kill: with SIGKILL), keeping its data and port
  start PART    start it again, and return when it is ready
  restart PART  both

PART is datastore, apiserver, controller-manager, scheduler or kwok.
NAME is any word (default: default); clusters of different names run side by side.

Everything of a cluster is in the folder NAME of $INFERENCE_OPERATOR_RUN (default:
$XDG_RUNTIME_DIR or /tmp, then inference-operator-UID): kubeconfig, env (to be sourced:
KUBECONFIG, KUBECTL, APISERVER and more), audit.log, logs/.
END
}

main() {
  local command='' part='' signal=TERM chosen=no
  while [ $# -gt 0 ]; do
    case $1 in
      --name | --datastore | --feature-gates | --without | --issuer | --address) [ $# -ge 2 ] || die "$1 expects a value (see --help)" ;;&
      --datastore | --feature-gates | --without | --bench | --issuer | --no-nodes | --address) chosen=yes ;;&
      --name) NAME=$2 && shift ;;
      --datastore) DATASTORE=$2 && shift ;;
      --feature-gates) FEATURE_GATES=$2 && shift ;;
      --without) WITHOUT=$2 && shift ;;
      --issuer) ISSUER=$2 && shift ;;
      --bench) BENCH=yes ;;
      --no-nodes) NODES=no ;;
      --address) ADDRESS=$2 && shift ;;
      --kill) signal=KILL ;;
      -h | --help) usage && exit ;;
      -*) die "no such option: $1 (see --help)" ;;
      *) if [ -z "$command" ]; then command=$1; elif [ -z "$part" ]; then part=$1; else die "one word too many: $1 (see --help)"; fi ;;
    esac
    shift
  done
  check_words "$command" "$part" "$chosen" "$signal"
  choose_folder
  case $command in
    up) up "$chosen" ;;
    down) down ;;
    status) status ;;
    kubeconfig) load && echo "$DIR/kubeconfig" ;;
    *) change_part "$command" "$part" "$signal" ;;
  esac
}

check_words() {
  local command=$1 part=$2 chosen=$3 signal=$4 word
  case $command in
    up | down | status | kubeconfig) [ -z "$part" ] || die "$command takes no '$part' (see --help)" ;;
    stop | start | restart) [[ " ${ALL_PARTS[*]} " == *" ${part:-none} "* ]] || die "$command expects one of ${ALL_PARTS[*]}; got '$part'" ;;
    '') usage >&2 && exit 1 ;;
    *) die "no such command: $command (see --help)" ;;
  esac
  [ "$command" = up ] || [ "$chosen" = no ] || die "$command takes no options of 'up' (see --help)"
  [[ $signal == TERM || $command == stop || $command == restart ]] || die "--kill belongs to stop and restart"
  expect_name "$NAME"
  [[ $DATASTORE == etcd || $DATASTORE == kine ]] || die "--datastore expects etcd or kine; got '$DATASTORE'"
  for word in ${WITHOUT//,/ }; do
    [[ $word =~ ^(controller-manager|scheduler|kwok)$ ]] || die "--without expects any of controller-manager,scheduler,kwok; got '$word'"
  done
  [[ ,$WITHOUT, != *,kwok,* ]] || NODES=no
}

# Others of the machine may write in /tmp: a folder that is theirs would let them choose what runs here.
choose_folder() {
  if [ -d "$RUN" ]; then
    RUN=$(cd "$RUN" && pwd -P)
    [ -O "$RUN" ] || die "$RUN belongs to another user: set INFERENCE_OPERATOR_RUN to a folder of your own"
  fi
  DIR=$RUN/$NAME
}

# --- up ---

up() {
  local begun attempt end
  need openssl "to make the cluster's certificates"
  KUBERNETES_BIN=$("$HERE/control-plane/build.sh" kubernetes)
  KUBECTL=$KUBERNETES_BIN/kubectl
  if [ "$DATASTORE" = kine ]; then KINE_BIN=$("$HERE/control-plane/build.sh" kine); else ETCD_BIN=$("$HERE/control-plane/build.sh" etcd); fi
  ! has kwok || KWOK_BIN=$("$HERE/control-plane/build.sh" kwok)
  (umask 077 && mkdir -p "$RUN")
  choose_folder
  end=$((SECONDS + 120))
  until mkdir -p "$DIR" && lock "$DIR/lock" 1; do
    [ "$SECONDS" -lt "$end" ] || die "$NAME: process $(cat "$DIR/lock") has been changing it for 2 minutes"
  done
  ! is_up_already "$1" || return 0

  begun=$SECONDS
  exec 8>&2 # a trap may find standard error redirected by the command that it interrupts
  trap 'clean_up $?' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for attempt in 1 2 3; do
    empty_folder
    ! bring_up || break
    if [ "$attempt" = 3 ] || ! grep -q 'address already in use' "$DIR/logs/$FAILED.log" 2>/dev/null; then
      die "$NAME: $FAILED did not come up: $(why "$FAILED") (log: $DIR/logs/$FAILED.log)"
    fi
    say "$NAME: a port was taken, trying others"
    stop_all
  done
  write_env
  trap - EXIT HUP INT TERM
  say "$NAME is up after $((SECONDS - begun)) s: export KUBECONFIG=$DIR/kubeconfig"
}

# is_up_already CHOSEN: yes if it runs and is well; no if nothing of it runs; else this is the end.
is_up_already() {
  local wanted part ill='' running=no
  [ -f "$DIR/settings" ] || return 1
  if [ ! -f "$DIR/env" ]; then
    say "$NAME: an earlier 'up' did not get to its end: beginning anew"
    stop_all
    return 1
  fi
  wanted=$(choices)
  load
  for part in $(parts); do
    if ! is_running "$part"; then
      ill+=" $part"
    else
      running=yes
      serves "$part" || ill+=" $part"
    fi
  done
  if [ "$running" = no ]; then
    say "$NAME has no process left: beginning anew"
    eval "$wanted"
    return 1
  fi
  [ -z "$ill" ] || die "$NAME is up, but not well:$ill (see 'status'; then 'start' what is stopped, or 'down')"
  [ "$1" = no ] || [ "$wanted" = "$(choices)" ] || die "$NAME is up with other options: 'down' first, or choose another --name"
  say "$NAME is already up: export KUBECONFIG=$DIR/kubeconfig"
}

# bring_up: 1 where something failed, and then FAILED names it.
bring_up() {
  local part clients
  clients=$(parts | grep -vx -e datastore -e apiserver || true)
  choose_ports
  save_settings
  FAILED=pki && make_pki && make_kubeconfigs || return 1
  for part in datastore apiserver; do
    FAILED=$part && start_part "$part" || return 1
  done
  for part in $clients; do
    FAILED=$part && begin_part "$part" || return 1
  done
  if [ "$NODES" = yes ]; then
    FAILED=apiserver && create_nodes || return 1
  fi
  for part in $clients; do
    FAILED=$part && wait_until_serving "$part" || return 1
  done
  if has controller-manager; then
    FAILED=controller-manager && wait_for_service_account || return 1
  fi
  if [ "$NODES" = yes ]; then
    FAILED=kwok && wait_for_nodes || return 1
  fi
}

# Without it no pod is admitted.
wait_for_service_account() {
  local end=$((SECONDS + 60))
  until kubectl get --raw /api/v1/namespaces/default/serviceaccounts/default >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# Below the ports that the system gives to outgoing connections, so that a part that is stopped
# finds its own free again; and none that another cluster has, whether that part runs now or not.
choose_ports() {
  local name port taken
  taken=$(cat "$RUN"/*/settings 2>/dev/null || true)
  for name in "${PORTS[@]}"; do
    while :; do
      port=$(random_port)
      [[ $taken == *"_PORT=$port"* ]] || connects "$port" || break
    done
    printf -v "$name" %s "$port"
    taken+=" _PORT=$port"
  done
}

# What is left after `up` did not get to its end: the logs if it failed, nothing if it was interrupted.
clean_up() {
  local pid
  trap '' HUP INT TERM
  exec 2>&8
  stop_all
  for pid in $(jobs -rp); do kill -KILL "$pid" 2>/dev/null || true; done
  if [ "$1" -gt 128 ]; then
    say "$NAME: interrupted; what was started is ended"
    remove_folder
  else
    empty_folder logs
    rm -f "$DIR/lock"
  fi
}

# --- the folder of a cluster ---

empty_folder() {
  local entry
  for entry in "$DIR"/*; do
    [[ $entry == "$DIR/lock" || $entry == "$DIR/${1:-lock}" ]] || rm -rf "$entry"
  done
  mkdir -p "$DIR/pids" "$DIR/logs"
  [ -z "${1:-}" ] || rmdir "$DIR/pids"
}

remove_folder() {
  rm -rf "$DIR"
  rmdir "$RUN" 2>/dev/null || true
}

assignments() {
  local name
  for name in "$@"; do printf '%s=%q\n' "$name" "${!name}"; done
}

choices() { assignments "${CHOICES[@]}"; }

save_settings() { assignments "${CHOICES[@]}" "${PORTS[@]}" "${PROGRAMS[@]}" >"$DIR/settings"; }

load() {
  [ -f "$DIR/settings" ] || die "$NAME is not up ('up --name $NAME' starts it)"
  # shellcheck disable=SC1091
  . "$DIR/settings"
}

# For those who use the cluster, to be sourced.
write_env() {
  # shellcheck disable=SC2034
  local KUBECONFIG=$DIR/kubeconfig CA=$DIR/pki/ca.crt AUDIT_LOG=$DIR/audit.log LOGS=$DIR/logs APISERVER_HOST=127.0.0.1 \
    APISERVER=https://127.0.0.1:$APISERVER_PORT DATASTORE_URL=http://127.0.0.1:$DATASTORE_PORT
  assignments KUBECONFIG KUBECTL APISERVER APISERVER_HOST APISERVER_PORT CA AUDIT_LOG LOGS DATASTORE DATASTORE_URL |
    sed 's/^/export /' >"$DIR/env"
}

# --- the other commands ---

down() {
  [ -d "$DIR" ] || {
    say "$NAME is not up"
    return
  }
  if ! lock "$DIR/lock" 0; then
    say "$NAME: ending process $(cat "$DIR/lock"), which is changing it"
    [[ $(command_line "$(cat "$DIR/lock")") != *cluster.sh* ]] || kill -TERM "$(cat "$DIR/lock")" 2>/dev/null || true
    # It may have removed the folder on its way out: then there is no lock to get.
    lock "$DIR/lock" 30 || [ ! -d "$DIR" ] || die "$NAME: process $(cat "$DIR/lock") does not end"
  fi
  stop_all
  remove_folder
  say "$NAME is down"
}

status() {
  local part pid state rss well=0
  load
  printf '%-19s %-8s %-14s %-24s %s\n' PART PID STATE ADDRESS RSS
  for part in $(parts); do
    pid=$(pid_of "$part") || pid=-
    rss=- state=running
    if [ "$pid" = - ]; then
      state=stopped
    else
      rss=$(mib_of "$pid")
      serves "$part" || state='not answering'
    fi
    [ "$state" = running ] || well=1
    printf '%-19s %-8s %-14s %-24s %s\n' "$part" "$pid" "$state" "$(address_of "$part")" "$rss"
  done
  return "$well"
}

# change_part stop|start|restart PART SIGNAL
change_part() {
  local part=$2
  load
  lock "$DIR/lock" 120 || die "$NAME: process $(cat "$DIR/lock") has been changing it for 2 minutes"
  load
  has "$part" || die "$NAME was begun without $part"
  if [ "$1" != start ]; then stop_process "$part" "$3"; fi
  if [ "$1" != stop ] && ! is_running "$part"; then
    start_part "$part" || {
      stop_process "$part"
      die "$NAME: $part did not come up: $(why "$part") (log: $DIR/logs/$part.log)"
    }
  fi
}

main "$@"
