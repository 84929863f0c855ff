#!/usr/bin/env bash
# Nights of simulation: the whole operator against an API server in memory, seed after seed, built with
# optimization. Must never do more than choose the seeds: what is simulated is in crates/simulation/ and tests/simulation/.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

usage() {
  cat <<'END'
Simulates the operator under faults, with one seed after the other.

usage: scripts/simulate.sh [--seeds COUNT] [--from SEED] [--count] [--tolerate NAME[,NAME...]]
                           [--trace LINES]

  --seeds COUNT   how many (default 10000)
  --from SEED     the first (default 0)
  --count         try all seeds, also after some have failed, and print in how many each violation was found
  --tolerate NAMES  leave these violations out (crates/simulation/src/oracle/violation.rs has all names)
  --trace LINES   so many of the end of what happened are printed (default 60)

A seed that fails prints what was wrong and how to run it again.
END
}

main() {
  local count=10000 from=0
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --count) export COUNT=1 ;;
      --tolerate) export TOLERATE=${2:?--tolerate expects names} && shift ;;
      --seeds | --from | --trace) [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1 expects a number; got '${2:-}'" ;;&
      --seeds) count=$2 && shift ;;
      --from) from=$2 && shift ;;
      --trace) export TRACE=$2 && shift ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift
  done
  need_cc "to link Rust programs"
  need_rust "to build the simulation"
  cd "$HERE/.."
  SEEDS=$from..$((from + count)) cargo test --profile simulation --locked --test simulation -- --nocapture
}

main "$@"
