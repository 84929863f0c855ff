#!/usr/bin/env bash
# Measures this operator beside its peers: builds what that takes and hands over to the harness in
# benches/harness, which knows the options (--help). Must never decide what a number is.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

ROOT=$(cd "$HERE/.." && pwd)

main() {
  local harness operators operator path problem binaries=()
  WHERE=elsewhere
  [ "$(uname -s)" = Linux ] || die "measures what Linux tells of a process: this is $(uname -s)"
  need_cc "to link the harness and the operators"
  need_rust "to build the harness and the operators"
  command -v ss >/dev/null || install_packages "to count bytes on the wire" iproute2
  harness=$(build_harness)

  case " $* " in
    *' --help '* | *' -h '* | *' --readme '* | *' --readme='* | *' --render '* | *' --render='*)
      exec "$harness" --repository "$ROOT" "$@"
      ;;
    *' --node '*) WHERE=node ;;
    *' --kind '*) WHERE=kind ;;
    *' --context '* | *' --context='*) ;;
    *) WHERE=here ;;
  esac
  # Refuses what cannot work, before anything is built for it.
  operators=$("$harness" --list-operators --repository "$ROOT" "$@")
  if [ "$WHERE" = here ]; then
    for path in kubernetes etcd kwok; do "$HERE/control-plane/build.sh" "$path" >/dev/null; done
  elif [ "$WHERE" != elsewhere ] && ! problem=$("$HERE/$WHERE.sh" check); then
    die "$problem"
  fi
  NOTE=
  for operator in $operators; do
    if [ "$operator" = ours ]; then build_ours; else build_peer "$operator"; fi
    binaries+=(--binary "$operator=$BUILT")
  done
  set -- "$harness" --repository "$ROOT" ${NOTE:+--build-note "$NOTE"} ${binaries[@]+"${binaries[@]}"} "$@"
  [[ $WHERE =~ ^(node|kind)$ ]] || exec "$@"
  need buildah "to make images of the operators"
  trap '"$HERE/$WHERE.sh" down --name "bench-$$"' EXIT
  "$HERE/$WHERE.sh" up --name "bench-$$"
  "$HERE/$WHERE.sh" exec --name "bench-$$" "$@"
}

build_harness() {
  say "building the harness"
  (cd "$ROOT/benches/harness" && cargo build --release --locked --quiet) >&2 || die "the harness cannot be built"
  echo "${CARGO_TARGET_DIR:-$ROOT/benches/harness/target}/release/bench-harness"
}

# Sets BUILT, NOTE.
build_ours() {
  say "building the operator"
  BUILT=$(cd "$ROOT" && build_operator) || die "the operator could not be built: see above"
  case $BUILT in
    "$ROOT"/dist/*) NOTE="This operator is the static program that ships (scripts/build-static.sh)." ;;
    *) NOTE="This operator is the edge build for this machine's C library, because rustup is not here: the static program that ships is smaller." ;;
  esac
}

# Its last line is the program's path. Sets BUILT.
build_peer() {
  [ -x "$ROOT/benches/peers/build.sh" ] || die "no benches/peers/build.sh, which builds $1"
  say "building $1"
  BUILT=$("$ROOT/benches/peers/build.sh" "$1" | tail -n 1)
  [ -x "$BUILT" ] || die "benches/peers/build.sh $1 printed no program: '$BUILT'"
}

main "$@"
