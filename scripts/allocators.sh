#!/usr/bin/env bash
# The allocators beside each other, as a table for ARCHITECTURE.md: builds the operator with each and lets
# memory.sh look at it. Must never leave one of these programs in dist/.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

usage() {
  cat <<'END'
Measures the operator's memory and its CPU time with musl's allocator, with mimalloc and with glibc's, as a table in Markdown.

usage: scripts/allocators.sh [COUNT]

COUNT is the number of InferenceServices (default 5000).
END
}

# Pages are given back at once and are never huge.
MIMALLOC=(MIMALLOC_PURGE_DELAY=0 MIMALLOC_ALLOW_THP=0 MIMALLOC_ALLOW_LARGE_OS_PAGES=0 MIMALLOC_ARENA_EAGER_COMMIT=0)
GLIBC=(MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_TOP_PAD_=0)

main() {
  case ${1:-} in -h | --help) usage && exit ;; esac
  COUNT=${1:-5000}
  cd "$HERE/.."
  need_rust "to build the operator"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-allocators.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  local musl mimalloc glibc
  musl=$(DIST=$WORK/musl "$HERE/build-static.sh")
  mimalloc=$(DIST=$WORK/mimalloc FEATURES=mimalloc "$HERE/build-static.sh")
  glibc=$(build_dynamic) || die "the operator could not be built for glibc"

  echo "| allocator | program, kB | RSS at start, kB | $COUNT created | peak of it | started again | CPU until they were, s |"
  echo '|---|---:|---:|---:|---:|---:|---:|'
  row "musl's own (what ships)" "$musl"
  row 'mimalloc, as it comes' "$mimalloc"
  row 'mimalloc, tuned' "$mimalloc" "${MIMALLOC[@]}"
  row "glibc's, as it comes (dynamic)" "$glibc"
  row "glibc's, tuned (dynamic)" "$glibc" "${GLIBC[@]}"
}

# row LABEL PROGRAM VARIABLE=VALUE...
row() {
  local label=$1 program=$2
  shift 2
  env "$@" "$HERE/memory.sh" --program "$program" "$COUNT" >"$WORK/table"
  awk -v label="$label" -v kb="$(($(stat -c %s "$program") / 1000))" -F '[|* ]+' '
    $2 == "all" { start = $3; created = $4; again = $5 }
    /at its peak/ { peak = $6 }
    /seconds of CPU/ { for (field = 1; field <= NF; field++) if ($field ~ /^\(/ && ++seen == 3) cpu = $(field - 1) }
    END { printf "| %s | %d | %d | %d | %d | %d | %s |\n", label, kb, start, created, peak, again, cpu }' "$WORK/table"
}

main "$@"
