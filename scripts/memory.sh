#!/usr/bin/env bash
# Where the operator's bytes are, for docs/memory.md: starts a control plane, the operator and so many
# InferenceServices with replicas 0, starts the operator again, and adds up /proc/PID/smaps by kind.
# Must never measure a program other than the one that ships unless told to, nor leave anything behind.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

NAME=memory-$$
COUNT=5000
OPERATOR=''
OPERATOR_PID=''

usage() {
  cat <<'END'
Where the operator's memory is, in kB of each kind, as a table in Markdown.

usage: scripts/memory.sh [--program FILE] [COUNT]

COUNT is the number of InferenceServices (default 5000). FILE is another operator than the one that ships.
END
}

main() {
  case ${1:-} in
    -h | --help) usage && exit ;;
    --program) OPERATOR=$(realpath "${2:-none}") && [ -x "$OPERATOR" ] || die "--program expects a program; got '${2:-}'" && shift 2 ;;
  esac
  COUNT=${1:-$COUNT}
  [[ $COUNT =~ ^[0-9]+$ ]] || die "expected a number of InferenceServices; got '$COUNT'"
  [ "$(uname -s)" = Linux ] || die "reads what Linux tells of a process: this is $(uname -s)"
  need_cc "to link the operator"
  need_rust "to build the operator"
  command -v ss >/dev/null || install_packages "to see the kernel's socket memory" iproute2
  cd "$HERE/.."
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-memory.XXXXXX")
  trap clean_up EXIT
  [ -n "$OPERATOR" ] || OPERATOR=$(build_operator) || die "the operator could not be built: see above"
  open_cluster
  start_operator
  sleep 10
  account nothing
  create
  account running
  stop_operator
  start_operator
  sleep 10
  account restarted
  tell
}

open_cluster() {
  local kubeconfig
  # Without a controller-manager nothing else happens to the Deployments.
  "$HERE/cluster.sh" up --name "$NAME" --bench --without controller-manager,scheduler,kwok
  kubeconfig=$("$HERE/cluster.sh" kubeconfig --name "$NAME")
  # shellcheck disable=SC1091
  . "${kubeconfig%/*}/env"
  kube apply -f k3s-manifests/namespace.yaml -f k3s-manifests/crd.yaml -f k3s-manifests/rbac.yaml >&2
  kube wait --for=condition=Established crd/inferenceservices.ai.example.com --timeout=60s >&2
  kube create token inference-operator -n inference-operator --duration 2h >"$WORK/token"
  cp "$CA" "$WORK/ca.crt"
}

kube() { "$KUBECTL" --cache-dir "$WORK/kubectl-cache" "$@"; }

start_operator() {
  PORT=$(random_port)
  KUBERNETES_SERVICE_HOST=$APISERVER_HOST KUBERNETES_SERVICE_PORT=$APISERVER_PORT "$OPERATOR" \
    --service-account "$WORK" --telemetry-address "127.0.0.1:$PORT" </dev/null >>"$WORK/operator.log" 2>&1 &
  OPERATOR_PID=$!
  until_true "the operator is ready" ready
}

stop_operator() {
  kill -TERM "$OPERATOR_PID"
  wait "$OPERATOR_PID" || die "the operator did not end well: $(tail -n 3 "$WORK/operator.log")"
  OPERATOR_PID=''
}

create() {
  local namespace number
  say "creating $COUNT InferenceServices"
  for ((number = 0; number < COUNT; number++)); do
    namespace=models-$((number / 1000))
    [ $((number % 1000)) != 0 ] || printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n' "$namespace"
    printf 'apiVersion: ai.example.com/v1\nkind: InferenceService\nmetadata: {name: inference-%05d, namespace: %s}\nspec: {model: org/model-%d, gpuType: L40S, replicas: 0}\n---\n' \
      "$number" "$namespace" "$number"
  done >"$WORK/objects.yaml"
  [ "$COUNT" = 0 ] || kube create -f "$WORK/objects.yaml" >/dev/null
  until_true "all are settled" settled
  sleep 15 # idle connections are closed
}

# until_true WHAT COMMAND: looks every second, for ten minutes.
until_true() {
  local end=$((SECONDS + 600))
  until "$2"; do
    kill -0 "$OPERATOR_PID" 2>/dev/null || die "the operator ended: $(tail -n 3 "$WORK/operator.log")"
    [ "$SECONDS" -lt "$end" ] || die "not within ten minutes: $1"
    sleep 1
  done
}

# metric NAME: its value, as the operator tells it.
metric() {
  exec 7<>"/dev/tcp/127.0.0.1/$PORT" || return
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' /metrics >&7
  sed -n "s/^$1 //p" <&7
  exec 7>&-
}

ready() { connects "$PORT" && [ "$(metric 'rest_client_requests_total{method="GET",code="200"}' || echo 0)" -ge 3 ] 2>/dev/null; }

settled() {
  [ "$(metric 'inference_operator_inferenceservices{phase="Ready"}')" = "$COUNT" ] &&
    [ "$(metric 'workqueue_depth{name="inferenceservice"}')" = 0 ]
}

# account WHEN: "KIND KB" a line. Text, read-only data and data are what is resident of the file; the
# heap is all that is anonymous and has no other name.
account() {
  {
    awk '
      /^[0-9a-f]+-[0-9a-f]+ / { path = NF > 5 ? $6 : ""; executable = $2 ~ /x/; writable = $2 ~ /w/ }
      /^Rss:/ {
        kind = "heap"
        if (path == "[stack]") kind = "stack"
        else if (path ~ /^\[v/) kind = "kernel"
        else if (path ~ /^\//) kind = executable ? "text" : writable ? "data" : "constants"
        kb[kind] += $2
      }
      END { for (kind in kb) print kind, kb[kind] }' "/proc/$OPERATOR_PID/smaps"
    awk '/^VmHWM/ { print "peak", $2 }' "/proc/$OPERATOR_PID/status"
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print "user", $12 / ticks; print "system", $13 / ticks }' \
      "/proc/$OPERATOR_PID/stat"
    ss -tmnp state established 2>/dev/null | awk -v pid="pid=$OPERATOR_PID," '
      index($0, pid) { mine = 1; count++; next }
      mine && match($0, /r[0-9]+,/) { for (part = split($0, parts, /[(,]/); part > 0; part--) if (parts[part] ~ /^[rtfw][0-9]+$/) bytes += substr(parts[part], 2); mine = 0 }
      END { print "connections", count + 0; print "sockets", int(bytes / 1024 + 0.5) }'
  } >"$WORK/$1"
}

# of WHEN KIND
of() { awk -v kind="$2" '$1 == kind { print $2; found = 1 } END { if (!found) print 0 }' "$WORK/$1"; }

sum() { awk -v a="$1" -v b="$2" 'BEGIN { print a + b }'; }

tell() {
  local row kind label when total
  echo "| kB resident | nothing there | $COUNT created | started again |"
  echo "|---|---:|---:|---:|"
  for row in 'text:program: code' 'constants:program: constants' 'data:program: data that was relocated or written' \
    'heap:heap' 'stack:stack' 'kernel:what the kernel lends (vdso)'; do
    kind=${row%%:*} label=${row#*:}
    printf '| %s |' "$label"
    for when in nothing running restarted; do printf ' %s |' "$(of $when "$kind")"; done
    echo
  done
  printf '| **all** |'
  for when in nothing running restarted; do
    total=0
    for kind in text constants data heap stack kernel; do total=$((total + $(of $when $kind))); done
    printf ' **%s** |' "$total"
  done
  echo
  printf '| at its peak |'
  for when in nothing running restarted; do printf ' %s |' "$(of $when peak)"; done
  printf '\n| apart from it: seconds of CPU since its start (of them in the kernel) |'
  for when in nothing running restarted; do printf ' %s (%s) |' "$(sum "$(of $when user)" "$(of $when system)")" "$(of $when system)"; done
  printf '\n| apart from it: the kernel for its connections (how many) |'
  for when in nothing running restarted; do printf ' %s (%s) |' "$(of $when sockets)" "$(of $when connections)"; done
  echo
}

clean_up() {
  if [ -n "$OPERATOR_PID" ]; then
    kill -TERM "$OPERATOR_PID" 2>/dev/null || true
    wait "$OPERATOR_PID" 2>/dev/null || true
  fi
  "$HERE/cluster.sh" down --name "$NAME" || true
  rm -rf "$WORK"
}

main "$@"
