#!/usr/bin/env bash
# Does the simulation's kstatus (crates/simulation/src/oracle/kstatus.rs) say what the library itself says, of each
# InferenceService that a simulation has seen? Must never decide anything itself: the library's side is kstatus/main.go.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

usage() {
  cat <<'END'
Holds the simulation's kstatus against the library that Flux and Helm wait with.

usage: scripts/kstatus.sh [--seeds COUNT]

  --seeds COUNT   of the simulation, whose InferenceServices are judged (default 100)
END
}

main() {
  local count=100 kstatus seen
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --seeds)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--seeds expects a number; got '${2:-}'"
        count=$2
        shift
        ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift
  done
  need_cc "to link Rust programs"
  need_rust "to build the simulation"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-kstatus.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  kstatus=$("$HERE/control-plane/build.sh" kstatus)/kstatus
  cd "$HERE/.."
  # What the seeds find is not asked here.
  COUNT=1 SEEDS=0..$count KSTATUS_RECORD=$WORK/seen \
    cargo test --profile simulation --locked --test simulation whatever >"$WORK/log" 2>&1 || true
  [ -s "$WORK/seen" ] || die "the simulation has written nothing down: $(tail -n 3 "$WORK/log")"
  sort -u "$WORK/seen" | grep -v '^$' >"$WORK/lines"
  cut -d ' ' -f 1 "$WORK/lines" >"$WORK/simulated"
  cut -d ' ' -f 2- "$WORK/lines" | "$kstatus" >"$WORK/real"
  if ! cmp -s "$WORK/simulated" "$WORK/real"; then
    paste -d ' ' "$WORK/real" "$WORK/lines" | awk '$1 != $2' | head -n 5 >&2
    die "kstatus (first) says something else than the simulation (second)"
  fi
  seen=$(sort "$WORK/real" | uniq -c | awk '{printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2}')
  echo "kstatus: $(wc -l <"$WORK/lines") InferenceServices judged alike ($seen)"
}

main "$@"
