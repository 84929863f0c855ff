#!/usr/bin/env bash
# The linker of build-static.sh: $LINK_WITH and the lld of the folder $LLD, with the functions of hot-functions.txt beside
# each other; their symbols are in $ORDER. The kernel maps a program in pieces of 64 kB around what is touched: functions
# that never run, between those that do, would be resident with them. For the same reason the program is loaded at a
# multiple of 64 kB: else other pieces would be mapped at each start. Called by rustc. Must never change what is linked,
# only its order and its place.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=function-names.sh
. "$HERE/function-names.sh"

objects=()
for argument in "$@"; do
  case $argument in *.o | *.rlib) objects+=("$argument") ;; esac
done

# In an archive is more than objects. Of the C library, which is found later, names and symbols are the same.
{ nm --defined-only --format=posix "${objects[@]}" 2>/dev/null || true; } | awk '$2 ~ /^[tTwW]$/ { print $1 }' | named |
  awk -F '\t' 'NR == FNR { is_hot[$0]; if (/^[A-Za-z0-9_]+$/) print; next } $2 in is_hot { print $1 }' "$HERE/hot-functions.txt" - |
  sort -u >"$ORDER"
exec "$LINK_WITH" "$@" "-B$LLD" -fuse-ld=lld "-Wl,-z,max-page-size=65536,--symbol-ordering-file=$ORDER,--no-warn-symbol-ordering"
