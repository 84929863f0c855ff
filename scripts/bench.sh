#!/usr/bin/env bash
# Measures this operator beside its peers: builds what that takes and hands over to the harness in
# benches/harness, which knows the options (--help). Must never decide what a number is.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

ROOT=$(cd "$HERE/.." && pwd)
MUSL=$(uname -m)-unknown-linux-musl

main() {
  local harness operators operator path where=elsewhere binaries=()
  [ "$(uname -s)" = Linux ] || die "measures what Linux tells of a process: this is $(uname -s)"
  need_cc "to link the harness and the operators"
  need_rust "to build the harness and the operators"
  command -v ss >/dev/null || install_packages "to count bytes on the wire" iproute2
  harness=$(build_harness)

  case " $* " in
    *' --help '* | *' -h '* | *' --readme '* | *' --readme='* | *' --render '* | *' --render='*)
      exec "$harness" --repository "$ROOT" "$@"
      ;;
    # For test.sh, which wants what is measured before others need the machine, and to test just that.
    *' --check --build-only '*)
      build_ours
      echo "$BUILT"
      return
      ;;
    *' --kind '* | *' --context '* | *' --context='*) ;;
    *) where=here ;;
  esac
  # Refuses what cannot work, before anything is built for it.
  operators=$("$harness" --list-operators --repository "$ROOT" "$@")
  if [ "$where" = here ]; then
    for path in kubernetes etcd kwok; do "$HERE/control-plane/build.sh" "$path" >/dev/null; done
  fi
  NOTE=
  for operator in $operators; do
    if [ "$operator" = ours ]; then build_ours; else build_peer "$operator"; fi
    binaries+=(--binary "$operator=$BUILT")
  done
  exec "$harness" --repository "$ROOT" ${NOTE:+--build-note "$NOTE"} ${binaries[@]+"${binaries[@]}"} "$@"
}

build_harness() {
  say "building the harness"
  (cd "$ROOT/benches/harness" && cargo build --release --locked --quiet) >&2 || die "the harness cannot be built"
  echo "${CARGO_TARGET_DIR:-$ROOT/benches/harness/target}/release/bench-harness"
}

# What ships: static where Rust has the target, else with the machine's C library. Sets BUILT, NOTE.
build_ours() {
  local options=(--profile edge --no-default-features --locked --quiet)
  say "building the operator"
  cd "$ROOT"
  if has_musl; then
    CC_x86_64_unknown_linux_musl=musl-gcc CC_aarch64_unknown_linux_musl=musl-gcc cargo build "${options[@]}" --target "$MUSL" >&2
    BUILT=${CARGO_TARGET_DIR:-$ROOT/target}/$MUSL/edge/inference-operator
    NOTE="This operator is the edge build, static, for $MUSL."
  else
    cargo build "${options[@]}" >&2
    BUILT=${CARGO_TARGET_DIR:-$ROOT/target}/edge/inference-operator
    NOTE="This operator is the edge build for this machine's C library, because Rust's target $MUSL is not to be had here: the static one that ships is smaller."
  fi
}

# The target's standard library, and a C compiler for its C library: ring has parts in C.
has_musl() {
  command -v rustup >/dev/null || return 1
  rustup target list --installed 2>/dev/null | grep -qx "$MUSL" || rustup target add "$MUSL" >&2 || return 1
  command -v musl-gcc >/dev/null && return
  case $(package_manager) in
    apt-get) install_packages "to build the static operator" musl-tools ;;
    dnf) install_packages "to build the static operator" musl-gcc ;;
    pacman) install_packages "to build the static operator" musl ;;
    *) return 1 ;;
  esac
  command -v musl-gcc >/dev/null
}

# Its last line is the program's path. Sets BUILT.
build_peer() {
  [ -x "$ROOT/benches/peers/build.sh" ] || die "no benches/peers/build.sh, which builds $1"
  say "building $1"
  BUILT=$("$ROOT/benches/peers/build.sh" "$1" | tail -n 1)
  [ -x "$BUILT" ] || die "benches/peers/build.sh $1 printed no program: '$BUILT'"
}

main "$@"
