#!/usr/bin/env bash
# Where the operator's bytes are, for docs/memory.md: starts a control plane, the operator and so many
# InferenceServices with replicas 0, starts the operator again, changes the catalogue, and adds up /proc/PID/smaps by kind.
# Must never measure a program other than the one that ships unless told to, nor leave anything behind.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=observed.sh
. "$HERE/observed.sh"

COUNT=5000
WHENS=(nothing running restarted catalogue)

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
  [ -n "$OPERATOR" ] || OPERATOR=$(build_operator) || die "the operator could not be built: see above"
  open_cluster
  start_operator
  sleep 10
  account nothing
  create 0 "$COUNT"
  account running
  stop_operator
  start_operator
  sleep 10
  account restarted
  change_catalogue
  sleep 10
  account catalogue
  tell
}

# change_catalogue: to one with another GPU type, which no InferenceService uses; until it is accepted.
change_catalogue() {
  say "changing the catalogue"
  kube apply -n inference-operator -f - >&2 <<'END'
apiVersion: ai.example.com/v1
kind: InferenceCatalog
metadata: {name: default}
spec: {gpuTypes: [{name: T4, nodeLabels: [{key: nvidia.com/gpu.product, values: [Tesla-T4]}]}]}
END
  kube wait -n inference-operator icat/default --for=condition=Accepted --timeout=120s >&2
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
    metric 'rest_client_requests_total{method="\([A-Z]*\)",.*}' '\1 ' | awk '
      { all += $2 }
      $1 == "GET" { reads += $2 }
      END { print "reads", reads + 0; print "writes", all - reads }'
  } >"$WORK/$1"
}

# of WHEN KIND
of() { awk -v kind="$2" '$1 == kind { print $2; found = 1 } END { if (!found) print 0 }' "$WORK/$1"; }

sum() { awk -v a="$1" -v b="$2" 'BEGIN { print a + b }'; }

tell() {
  local row kind label when total
  echo "| kB resident | nothing there | $COUNT created | started again | then another catalogue |"
  echo "|---|---:|---:|---:|---:|"
  for row in 'text:program: code' 'constants:program: constants' 'data:program: data that was relocated or written' \
    'heap:heap' 'stack:stack' 'kernel:what the kernel lends (vdso)'; do
    kind=${row%%:*} label=${row#*:}
    printf '| %s |' "$label"
    for when in "${WHENS[@]}"; do printf ' %s |' "$(of "$when" "$kind")"; done
    echo
  done
  printf '| **all** |'
  for when in "${WHENS[@]}"; do
    total=0
    for kind in text constants data heap stack kernel; do total=$((total + $(of "$when" "$kind"))); done
    printf ' **%s** |' "$total"
  done
  echo
  printf '| at its peak |'
  for when in "${WHENS[@]}"; do printf ' %s |' "$(of "$when" peak)"; done
  printf '\n| apart from it: seconds of CPU since its start (of them in the kernel) |'
  for when in "${WHENS[@]}"; do printf ' %s (%s) |' "$(sum "$(of "$when" user)" "$(of "$when" system)")" "$(of "$when" system)"; done
  printf '\n| apart from it: the kernel for its connections (how many) |'
  for when in "${WHENS[@]}"; do printf ' %s (%s) |' "$(of "$when" sockets)" "$(of "$when" connections)"; done
  printf '\n| apart from it: requests since its start: reads, writes |'
  for when in "${WHENS[@]}"; do printf ' %s, %s |' "$(of "$when" reads)" "$(of "$when" writes)"; done
  echo
}

main "$@"
