#!/usr/bin/env bash
# Which functions of the operator run in everyday life: writes hot-functions.txt, by which link.sh puts them together.
# Called by people, after a change of much code. Must never count what runs only where something went wrong.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=observed.sh
. "$HERE/observed.sh"
# shellcheck source-path=SCRIPTDIR source=function-names.sh
. "$HERE/function-names.sh"

COUNT=5000
LIST=$HERE/hot-functions.txt
# In assembler without a size, by which gdb could not tell them from data.
ASSEMBLER='^(memcpy|memmove|memset)$'
# Of ring, what other processors than this one choose.
PROCESSORS='^(ring_core|aes|_aes|fiat|fe4|inline_x25519|__ecp_nistz256|_R.*4ring).*(adx|avx|clmul|_hw|2hw|fe4|montx)'

usage() {
  cat <<END
Runs the operator through two lives in gdb, with a breakpoint at each of its functions, and writes the names of those
that were reached to ${LIST#"$HERE/../"}. Takes five minutes.

usage: scripts/hot-functions.sh
END
}

main() {
  case ${1:-} in
    '') ;;
    -h | --help) usage && exit ;;
    *) die "no such option: $1 (see --help)" ;;
  esac
  need_cc "to link the operator"
  need_rust "to build the operator"
  need gdb "to see which functions are reached"
  cd "$HERE/.."
  # What ships, and the names of its functions.
  OPERATOR=$(DIST=$PWD/target/named CARGO_PROFILE_EDGE_STRIP=none "$HERE/build-static.sh") || die "the operator could not be built: see above"
  open_cluster
  nm --defined-only --format=posix "$OPERATOR" | awk '$2 ~ /^[tTwW]$/ && $4 != "" { print $3, $1 }' | sort >"$WORK/functions"
  live first
  create 0 "$COUNT"
  kube patch inferenceservice inference-00001 -n models-0 --type merge -p '{"spec": {"maxBatchSize": 7}}' >/dev/null
  kube delete inferenceservice inference-00000 -n models-0 >/dev/null
  kube apply -n inference-operator -f k3s-manifests/samples/catalog/built-in.yaml >/dev/null
  sleep 20
  end
  live second
  sleep 20
  end
  tell
}

# live NAME: gdb numbers the breakpoints, and says the number of each that is reached.
live() {
  local entry
  entry=$(readelf --file-header "$OPERATOR" | awk '/Entry point/ { print $NF }')
  {
    # shellcheck disable=SC2016 # $base is gdb's
    printf '%s\n' 'set pagination off' 'set confirm off' 'handle SIGTERM nostop noprint pass' starti "set \$base = \$pc - $entry"
    # shellcheck disable=SC2016
    cut -d ' ' -f 1 "$WORK/functions" | uniq | sed 's/.*/tbreak *($base + 0x&)/'
    printf '%s\n' 'while 1' continue end
  } >"$WORK/gdb"
  # shellcheck disable=SC2034 # observed.sh starts the operator with it
  WRAPPER=(gdb --quiet --nx --batch "--command=$WORK/gdb" --args)
  : >"$WORK/operator.log"
  start_operator
  LIFE=$1
}

# end: of the operator, and with it of gdb.
end() {
  # shellcheck disable=SC2046 # gdb has one child
  kill -TERM $(cat "/proc/$OPERATOR_PID/task/"*/children)
  wait "$OPERATOR_PID" || true
  OPERATOR_PID=''
  sed -n 's/^\(Thread .* hit \)\{0,1\}Temporary breakpoint \([0-9]*\), .*/\2/p' "$WORK/operator.log" >"$WORK/life-$LIFE"
  [ -s "$WORK/life-$LIFE" ] || die "gdb reached nothing: $(tail -n 3 "$WORK/operator.log")"
}

tell() {
  {
    # By address, because some functions have several names.
    cut -d ' ' -f 1 "$WORK/functions" | uniq | awk 'NR == FNR { is_hit[$1]; next } FNR in is_hit' <(cat "$WORK"/life-*) - |
      join - "$WORK/functions" | cut -d ' ' -f 2
    nm --defined-only --format=posix "$OPERATOR" | cut -d ' ' -f 1 | grep -E "$ASSEMBLER|$PROCESSORS"
  } | sort -u | named | cut -f 2 | LC_ALL=C sort -u >"$LIST"
  say "$(wc -l <"$LIST") functions: $LIST"
}

main "$@"
