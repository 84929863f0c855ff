#!/usr/bin/env bash
# Changes controller, reconcile and watch in every small way that cargo-mutants knows, one at a time, and looks whether
# the fast tests notice. Called by people. Must never change the checkout: cargo-mutants works on a copy.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
cd "$HERE/.."

# Another version would make other mutants.
VERSION=27.1.0
# Of those that build, so many in a hundred have to be caught.
WANTED=90
FILES=('src/controller.rs' 'src/controller/**' 'src/reconcile.rs' 'src/reconcile/**' 'src/model/task.rs' 'src/model/status.rs' 'src/model/hashes.rs' 'src/accept.rs' 'src/accept/**'
  'src/model/instance.rs' 'src/kubernetes/watch.rs' 'src/kubernetes/watch/**' 'src/kubernetes/backoff.rs')
# What the unit tests let through has these to pass: all others that need no cluster are of other files.
TESTS=(budgets corpus crd golden properties simulation)
PAGE=docs/mutants.md

usage() {
  cat <<END
Tries every mutant of controller, reconcile and watch against the tests that need no cluster.

usage: scripts/mutants.sh [--iterate]

  --iterate   only those that the last run did not catch, and those that are new since

First against the unit tests, which takes seconds for each; what survives, against ${TESTS[*]}. A mutant for which the
tests never end is caught. It is an error if fewer than $WANTED% are caught, or if one survives that $PAGE does not
give a reason for. Differences and logs of each are in target/mutants/mutants.out.
END
}

main() {
  local begun=$SECONDS iterate=no name arguments=()
  case ${1:-} in
    '') ;;
    --iterate) iterate=yes ;;
    -h | --help) usage && exit ;;
    *) die "no such option: $1 (see --help)" ;;
  esac
  need_cc "to link Rust programs"
  need_rust "to build the operator and its tests"
  need_cargo_mutants
  OUT=${CARGO_TARGET_DIR:-$PWD/target}/mutants
  # Each job has a copy of the tree, and in one folder would take the other's program for its own.
  unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR
  mkdir -p "$OUT"
  rm -f "$OUT/endless"
  [ "$iterate" = yes ] || rm -rf "$OUT/mutants.out" "$OUT/mutants.out.old" "$OUT/unviable"
  # Hundreds of times the linker is most of the wait.
  for name in mold lld; do
    if command -v "$name" >/dev/null; then
      export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-fuse-ld=$name"
      break
    fi
  done

  try --lib
  for name in "${TESTS[@]}"; do arguments+=(--test "$name"); done
  [ ! -s "$OUT/mutants.out/missed.txt" ] || try "${arguments[@]}"
  judge $((SECONDS - begun))
}

need_cargo_mutants() {
  PATH=$CACHE/cargo-mutants/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  [ "$(cargo-mutants mutants --version 2>/dev/null)" != "cargo-mutants $VERSION" ] || return 0
  say "installing cargo-mutants $VERSION into $CACHE/cargo-mutants"
  cargo install --locked --quiet --root "$CACHE/cargo-mutants" "cargo-mutants@$VERSION" ||
    die "cargo install cargo-mutants failed"
}

mutants() {
  local file arguments=()
  for file in "${FILES[@]}"; do arguments+=(--file "$file"); done
  nice -n 19 cargo-mutants mutants --profile mutants "${arguments[@]}" "$@"
}

# try ARGUMENT...: all that was not caught before, against the tests that these arguments of `cargo test` name.
try() {
  local argument code=0 arguments=()
  for argument in --locked "$@"; do arguments+=("--cargo-arg=$argument"); done
  say "against $*"
  mutants --iterate --output "$OUT" --colors never --no-times "${arguments[@]}" || code=$?
  # 2: some were missed; 3: for some the tests did not end.
  [[ " 0 2 3 " == *" $code "* ]] || die "cargo-mutants failed (exit code $code)"
  cat "$OUT/mutants.out/unviable.txt" >>"$OUT/unviable"
  cat "$OUT/mutants.out/timeout.txt" >>"$OUT/endless"
}

# judge SECONDS: what survives must have its reason on the page.
judge() {
  local viable survived caught unlisted
  mutants --list | sort >"$OUT/all"
  viable=$(sort -u "$OUT/unviable" | comm -13 - "$OUT/all" | wc -l)
  sort -u "$OUT/endless" -o "$OUT/endless"
  # Without line and column, which move with every change above.
  sort "$OUT/mutants.out/missed.txt" | comm -23 - "$OUT/endless" | sed 's/^\([^:]*\):[0-9]*:[0-9]*: /\1: /' | sort >"$OUT/survived"
  # shellcheck disable=SC2016 # backticks are Markdown's
  sed -n 's/^- `\(src\/.*\)`$/\1/p' "$PAGE" | sort >"$OUT/listed"
  unlisted=$(comm -23 "$OUT/survived" "$OUT/listed")
  survived=$(wc -l <"$OUT/survived")
  caught=$((viable - survived))
  comm -13 "$OUT/survived" "$OUT/listed" | sed "s|^|caught, and yet in $PAGE: |" >&2
  say "$viable mutants, $caught caught ($((caught * 100 / viable))%), $(wc -l <"$OUT/endless") of them because a test did not end; $survived survive; $1 s"
  [ -z "$unlisted" ] || die "FAILED: without a reason in $PAGE:"$'\n'"$unlisted"
  [ $((caught * 100)) -ge $((viable * WANTED)) ] || die "FAILED: fewer than $WANTED% are caught"
}

main "$@"
