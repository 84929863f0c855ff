#!/usr/bin/env bash
# The same commit gives the same bytes, wherever it is built: builds a copy of this checkout in another folder,
# with another target folder, and compares. Called by people and by test.sh as its lane reproducible.
# Must never leave the copy behind.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

main() {
  local here there copy
  case ${1:-} in
    '') ;;
    -h | --help) echo "usage: scripts/test-reproducible.sh: builds the static program in two folders and compares" && exit ;;
    *) die "no such option: $1 (see --help)" ;;
  esac
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-copy.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  cd "$HERE/.."
  copy="$WORK/another folder"
  mkdir "$copy"
  # What git knows, as it is now.
  git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --create | tar --extract --directory "$copy"
  here=$(DIST=$WORK/here scripts/build-static.sh)
  there=$(unset CARGO_TARGET_DIR && DIST=$WORK/there "$copy/scripts/build-static.sh")
  cmp "$here" "$there" || die "the same sources gave other bytes in another folder"
  echo "reproducible: $(sha256 <"$here" | cut -d' ' -f1) in both folders"
}

main "$@"
