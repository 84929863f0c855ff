#!/usr/bin/env bash
# Rewrites the table of docs/reliability.md from what test.sh, fuzz.sh, mutants.sh and a soak printed. Called by
# people after a whole run. Must never write a number that is not in those logs.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

PAGE=$HERE/../docs/reliability.md

usage() {
  cat <<'END'
Rewrites the table of docs/reliability.md from logs.

usage: scripts/reliability.sh LOG...

  scripts/test.sh --all >test.log 2>&1; scripts/mutants.sh >mutants.log 2>&1
  scripts/fuzz.sh >fuzz.log 2>&1; scripts/fuzz.sh --address-sanitizer >asan.log 2>&1
  scripts/bench.sh --soak 30 >soak.log 2>&1; scripts/reliability.sh *.log
END
}

main() {
  case ${1:-} in -h | --help) usage && exit ;; '') usage >&2 && exit 1 ;; esac
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-reliability.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  cat "$@" >"$WORK/log"
  table >"$WORK/table"
  awk -v table="$WORK/table" '
    /<!-- results:end -->/ { inside = 0 }
    !inside { print }
    /<!-- results:begin -->/ { inside = 1; while ((getline line <table) > 0) print line }
  ' "$PAGE" >"$WORK/page"
  cp "$WORK/page" "$PAGE"
  say "$PAGE has $(($(wc -l <"$WORK/table") - 2)) rows"
}

# shellcheck disable=SC2016 # backticks are Markdown's
table() {
  echo '| tried | how much | and |'
  echo '|---|---|---|'
  lines 's/^simulation: \([0-9]*\) of \([0-9]*\) seeds passed in \([0-9]* s\): \([0-9]*\) requests answered, \(.*\)$/the simulation (`scripts\/simulate.sh`)|\2 seeds, \4 requests, \5, in \3|\1 passed/p'
  lines 's/^\([0-9]*\) answers compared \([a-z]* streaming lists\), of which \([0-9]*\) were refusals and \([0-9]*\) lists and watches$/its API server against the real one, \2 (`tests\/differential`)|\1 answers compared|all alike; \3 were refusals, \4 lists and watches/p'
  lines 's/^faults, of requests and of lines of watches: {*\(.*[^}]\)}*$/faults on the way to a real API server (`tests\/faults\/chaos.rs`)|at 0, 3, 10 and 25%, faults of (requests, lines of watches): \1|end states equal, at rest, writes in budget/p'
  lines 's/^\([0-9]* kills\): \(.*\)$/killed after a write, during the creation of 500 (`tests\/faults\/kills.rs`)|\1|\2/p'
  lines 's/^\([0-9]* starts\) under \([0-9]*Mi\) (\(.*\)): \(peak .*\)$/the container started under \2, by \3 (`tests\/kind\/starts.rs`)|\1|\4/p'
  lines 's/^outages: \(.*\)$/API server and etcd killed (`tests\/faults\/outages.rs`)|each alone, and both|\1/p'
  hostile_servers
  lines 's/^fuzz.sh: \([a-z ]*\): \([0-9]*\) tries, \(.*\)$/fuzzed: \1 (`scripts\/fuzz.sh`)|\2 tries|\3/p'
  lines 's/^mutants.sh: \([0-9]* mutants\), \([0-9]* caught ([0-9]*%)\), \(.*\) survive; [0-9]* s$/changes of the controller and of reconcile, one at a time (`scripts\/mutants.sh`)|\1|\2, \3 survive (docs\/mutants.md)/p'
  lines 's/^bench: soak of \([0-9]* min\): \(.*\); \(at rest .*\)$/churn at 5,000 (`scripts\/bench.sh --soak 30`)|\1: \2|\3/p'
  lines 's/^test.sh: lane \([a-z]*\) \([a-z]*\) after \([0-9]* s\): \(.*\)$/lane \1 (`scripts\/test.sh`)|\3|\4/p'
}

# lines SED: what it prints of the log, once each, as rows.
lines() { sed -n "$1" "$WORK/log" | sort -u | sed 's/^/| /; s/|\([^|]*\)|\([^|]*\)$/ | \1 | \2 |/'; }

# Each says how often it was asked and what that cost the operator.
hostile_servers() {
  sed -n 's/^.*: [0-9]* connections in [0-9]* s (at most [0-9]*), \(-\{0,1\}[0-9]*\) kB more memory$/\1/p' "$WORK/log" | awk '
    { if (NR == 1 || $1 > most) most = $1 }
    END { if (NR > 0) printf "| servers that are none: slow, HTML, redirects, without end, of another name (`tests/faults/hostile.rs`) | %d cases | no storm, at most %d kB more memory, and all is well again after it |\n", NR, most }'
}

main "$@"
