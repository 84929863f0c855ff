#!/usr/bin/env bash
# Fuzzes every decoder of bytes from outside with libFuzzer, on any Rust toolchain: no cargo-fuzz, no nightly.
# Called by people. What must hold is in fuzz/checks/; must never change the committed corpus.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
cd "$HERE/../fuzz"

ALL_TARGETS=(watch list answer credentials settings telemetry)

usage() {
  cat <<END
Makes up bytes from outside and looks whether what must hold does hold.

usage: scripts/fuzz.sh [--seconds COUNT] [--address-sanitizer] [TARGET...]

  --seconds COUNT       for each target (default 60); building comes before and takes minutes the first time
  --address-sanitizer   finds wrong uses of memory too, which can only be in dependencies' unsafe code; several times slower
  TARGET                of ${ALL_TARGETS[*]} (default: all)

What is found is written to fuzz/artifacts/. Put the file into fuzz/corpus/TARGET/ under a name that says
what was wrong: 'cargo test --test corpus' tries it from then on.
END
}

main() {
  local seconds=60 targets=() target host failed=()
  SANITIZER=
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --seconds) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--seconds expects a number; got '${2:-}'" && seconds=$2 && shift ;;
      --address-sanitizer) SANITIZER=address ;;
      *)
        [[ " ${ALL_TARGETS[*]} " == *" $1 "* ]] || die "no such option or target: $1 (see --help)"
        targets+=("$1")
        ;;
    esac
    shift
  done
  [ "${#targets[@]}" -gt 0 ] || targets=("${ALL_TARGETS[@]}")
  need_cc "to link Rust programs"
  need_cxx "to build libFuzzer"
  need_rust "to build what is fuzzed"
  host=$(rustc -vV | sed -n 's/^host: //p')
  # What is built with it is of no use without.
  BUILT=${CARGO_TARGET_DIR:-$PWD/target}${SANITIZER:+/$SANITIZER}
  say "building ${targets[*]}"
  build "$host" || die "the build failed"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-fuzz.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  mkdir -p artifacts
  for target in "${targets[@]}"; do
    fuzz "$BUILT/$host/release/$target" "$target" "$seconds" || failed+=("$target")
  done
  [ "${#failed[@]}" = 0 ] || die "FAILED: ${failed[*]} (the bytes are in fuzz/artifacts/)"
}

need_cxx() {
  local package=g++
  command -v c++ >/dev/null || {
    case $(package_manager) in
      dnf) package=gcc-c++ ;;
      pacman) package=gcc ;;
    esac
    install_packages "$1" "$package"
  }
}

# build HOST: what cargo-fuzz would pass, by default without a sanitizer: the package itself has no unsafe code. That
# a target is named keeps the flags away from build scripts.
build() {
  local flag flags=-Cpasses=sancov-module
  for flag in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$flag"
  done
  if [ -n "$SANITIZER" ]; then
    flags+=" -Zsanitizer=$SANITIZER"
    # The stable toolchain has the sanitizer's library; only the flag is not stable.
    export RUSTC_BOOTSTRAP=1
  fi
  RUSTFLAGS="$flags -Ccodegen-units=1 --cfg fuzzing" CARGO_TARGET_DIR=$BUILT cargo build --locked --release --target "$1"
}

# fuzz PROGRAM TARGET SECONDS: what it collects goes, the committed corpus is only read.
fuzz() {
  local program=$1 target=$2 seconds=$3 log=$WORK/$2.log memory=1024 code=0
  # It keeps what was freed for a while.
  [ -z "$SANITIZER" ] || memory=4096
  mkdir "$WORK/$target"
  say "$target: $seconds s"
  "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb="$memory" -print_final_stats=1 \
    -artifact_prefix="artifacts/$target-" "$WORK/$target" "corpus/$target" >"$log" 2>&1 || code=$?
  if [ "$code" != 0 ]; then
    grep -v '^#' "$log" | cut -c1-1000 | tail -n 50
    say "$target FAILED (exit code $code)"
    return 1
  fi
  say "$target${SANITIZER:+ with $SANITIZER sanitizer}: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") tries, $(sed -n 's/^#.*DONE *\(cov: [0-9]*\) \(ft: [0-9]*\).*/\1 \2/p' "$log")"
}

main "$@"
