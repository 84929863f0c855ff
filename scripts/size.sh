#!/usr/bin/env bash
# Where the bytes of the program are, crate by crate, as tables in Markdown: the same build with its
# symbols kept, read by nm. Must never leave that build in dist/.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

usage() {
  cat <<'END'
The size of the program's code by crate, and of its sections, as tables in Markdown.

usage: scripts/size.sh [--top N]

N crates are told apart (default 16); the rest is one line.
END
}

main() {
  local top=16 program
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --top) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--top expects a number; got '${2:-}'" && top=$2 && shift ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift
  done
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-size.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  # A target folder of its own, or the next build would have to begin anew.
  program=$(DIST=$WORK CARGO_TARGET_DIR=$HERE/../target/size CARGO_PROFILE_EDGE_STRIP=none "$HERE/build-static.sh")
  by_crate "$program" "$top"
  echo
  by_section "$program"
}

# A symbol's crate is the first word of its path, behind what an impl or a type puts before it.
by_crate() {
  echo '| crate | kB of code |'
  echo '|---|---:|'
  nm --print-size --radix=d --demangle=auto "$1" | awk '$3 ~ /^[tTwW]$/ {
      size = $2
      name = $0
      sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", name)
      gsub(/^[<&*( ]+|^(dyn|mut|const) /, "", name)
      gsub(/^[<&*( ]+/, "", name)
      crate = name ~ /^[a-z_][a-z0-9_]*::/ ? substr(name, 1, index(name, "::") - 1) : "C: musl, ring"
      sizes[crate] += size
    }
    END { for (crate in sizes) print sizes[crate], crate }' | sort -rn |
    awk -v top="$2" '{
      size = $1
      $1 = ""
      total += size
      if (NR <= top) printf "|%s | %.0f |\n", $0, size / 1000
      else rest += size
    }
    END { printf "| all others | %.0f |\n| **all** | **%.0f** |\n", rest / 1000, total / 1000 }'
}

by_section() {
  echo '| section | kB |'
  echo '|---|---:|'
  size -A "$1" | awk '$2 ~ /^[0-9]+$/ && $2 > 1000 && $3 > 0 {printf "| %s | %.0f |\n", $1, $2 / 1000}'
}

main "$@"
