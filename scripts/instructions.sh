#!/usr/bin/env bash
# What one InferenceService costs from creation to Ready, in instructions of the operator's own, by crate: a figure that
# does not depend on what else the machine does. Called by people. Must never measure another code than what ships.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=observed.sh
. "$HERE/observed.sh"

# So many of a first life are subtracted from a second one, so that start-up and the first connections are not counted.
FIRST=20
COUNT=300

usage() {
  cat <<END
Counts the operator's instructions for each InferenceService from creation to Ready, with valgrind, as a table in
Markdown. The kernel's are not among them.

usage: scripts/instructions.sh [COUNT]

COUNT is the number of InferenceServices (default $COUNT). Two runs differ by some percent: how answers are cut into
packets is up to the network.
END
}

main() {
  case ${1:-} in -h | --help) usage && exit ;; esac
  COUNT=${1:-$COUNT}
  [[ $COUNT =~ ^[1-9][0-9]*$ ]] || die "expected a number of InferenceServices; got '$COUNT'"
  need_cc "to link the operator"
  need_rust "to build the operator"
  need valgrind "to count instructions"
  cd "$HERE/.."
  # The same code, with the names of its functions.
  OPERATOR=$(CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/symbols DIST=$PWD/target/symbols/dist \
    CARGO_PROFILE_EDGE_STRIP=none CARGO_PROFILE_EDGE_DEBUG=1 "$HERE/build-static.sh") || die "the operator could not be built: see above"
  open_cluster
  count 0 "$FIRST"
  count "$FIRST" $((2 * FIRST + COUNT))
  tell
}

# count FROM TO: what an operator has executed in its whole life, in which it has made those InferenceServices Ready.
count() {
  # shellcheck disable=SC2034 # observed.sh starts the operator with it
  WRAPPER=(valgrind --quiet --tool=callgrind "--callgrind-out-file=$WORK/profile-$1")
  start_operator
  create "$1" "$2"
  stop_operator
}

tell() {
  {
    functions 0 -1
    functions "$FIRST" 1
  } | awk -v count="$COUNT" '
    {
      sign = $1
      instructions = $2
      gsub(",", "", instructions)
      name = $0
      sub(/^[^)]*\)  [^:]*:/, "", name)
      gsub(/^[<&*( ]+|^(dyn|mut|const) /, "", name)
      gsub(/^[<&*( ]+/, "", name)
      crate = name ~ /^[a-z_][a-z0-9_]*::/ ? substr(name, 1, index(name, "::") - 1) : "C: musl, ring"
      by[crate] += sign * instructions / count
      all += sign * instructions / count
    }
    END { for (crate in by) print by[crate], crate }' | sort -rn | awk '
    {
      instructions = $1
      $1 = ""
      total += instructions
      if (NR <= 12) printf "|%s | %d |\n", $0, instructions
      else rest += instructions
    }
    BEGIN { print "| crate | instructions an InferenceService |\n|---|---:|" }
    END { printf "| all others | %d |\n| **all** | **%d** |\n", rest, total }'
}

# functions FIRST SIGN: "SIGN INSTRUCTIONS (PERCENT)  FILE:FUNCTION" of one profile.
functions() {
  callgrind_annotate --auto=no --threshold=100 "$WORK/profile-$1" | grep -v 'PROGRAM TOTALS' | sed -n "s/^ *[0-9][0-9,]* ( *[0-9.]*%)  /$2 &/p"
}

main "$@"
