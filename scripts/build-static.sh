#!/usr/bin/env bash
# The operator as it ships: dist/inference-operator-ARCH, static, stripped, and the same bytes from
# the same commit in whatever folder. Must never leave a program in dist/ that does not run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

ROOT=$(cd "$HERE/.." && pwd)
ZIG=no

usage() {
  cat <<EOF
Builds the operator as a static program for Linux, dist/inference-operator-ARCH, and prints its path.

usage: scripts/build-static.sh [ARCH]

ARCH is amd64, arm64 or armv7 (default: this machine's own).

Where rustup can bring Rust's sources, the standard library is built along for size (about a quarter
smaller). Else, or with PLAIN=1 in the environment, it is the one that rustup brings. DIST in the
environment is another folder than dist/.
EOF
}

main() {
  local own
  case ${1:-} in -h | --help) usage && exit ;; esac
  [ $# -le 1 ] || die "expected at most one ARCH: see --help"
  [ "$(uname -s)" = Linux ] || die "builds on Linux: this is $(uname -s)"
  own=$(own_architecture)
  ARCHITECTURE=${1:-$own}
  need_cc "to build the build scripts"
  need_rust "to build the operator"
  choose_target
  if ! has_target; then
    need_zig
  elif [ "$ARCHITECTURE" = "$own" ]; then
    need_musl
  else
    need_cross_compiler
  fi
  cd "$ROOT"
  build
  install_as "${DIST:-$ROOT/dist}/inference-operator-$ARCHITECTURE"
  echo "${DIST:-$ROOT/dist}/inference-operator-$ARCHITECTURE"
}

# Sets TARGET, and GNU: the name that distributions give to its C compiler.
choose_target() {
  case $ARCHITECTURE in
    amd64) TARGET=x86_64-unknown-linux-musl GNU=x86_64-linux-gnu ;;
    arm64) TARGET=aarch64-unknown-linux-musl GNU=aarch64-linux-gnu ;;
    armv7) TARGET=armv7-unknown-linux-musleabihf GNU=arm-linux-gnueabihf ;;
    *) die "expected ARCH amd64, arm64 or armv7; got '$ARCHITECTURE'" ;;
  esac
  command -v rustup >/dev/null || die "rustup is missing, which brings Rust's $TARGET: https://rustup.rs"
}

# Some mirrors have not all targets.
has_target() {
  mkdir -p "$CACHE"
  rustup target list --installed | grep -qx "$TARGET" || rustup target add "$TARGET" >"$CACHE/rustup.log" 2>&1
}

# Then zig has what the target lacks: a C library, a compiler and a linker for all of them.
need_zig() {
  local folder=$CACHE/zig
  ZIG=yes
  has_sources || die "rustup brings neither the target $TARGET nor Rust's sources: $(tail -n 1 "$CACHE/rustup.log")"
  if [ ! -x "$folder/bin/cargo-zigbuild" ]; then
    from_pypi zig "rustup has no $TARGET here" ziglang cargo-zigbuild
  fi
  PATH=$folder/bin:$PATH
}

# A C compiler for ring's parts in C. Rust brings the C library to link with.
need_musl() {
  CC=musl-gcc
  command -v $CC >/dev/null || case $(package_manager) in
    apt-get) install_packages "to build ring for musl" musl-tools ;;
    dnf) install_packages "to build ring for musl" musl-gcc ;;
    pacman) install_packages "to build ring for musl" musl ;;
    *) die "musl-gcc is missing, which builds ring for musl" ;;
  esac
}

# Of ring's C only what any C library has is used: that of glibc's headers is as good.
need_cross_compiler() {
  local name=${TARGET//-/_}
  CC=$GNU-gcc
  command -v "$CC" >/dev/null || case $(package_manager)/$ARCHITECTURE in
    apt-get/arm64) install_packages "to build for arm64" gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    apt-get/armv7) install_packages "to build for armv7" gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ;;
    apt-get/amd64) install_packages "to build for amd64" gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    *) die "$CC is missing, which builds and links for $ARCHITECTURE" ;;
  esac
  export "CARGO_TARGET_${name^^}_LINKER=$CC"
}

has_sources() {
  [ "${PLAIN:-}" != 1 ] || return 1
  [ -f "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ] || rustup component add rust-src >&2
}

# What the flags brought, on amd64: no unwinding tables 0.27 MB, RELR 0.07 MB; the standard library built for
# size about 0.5 MB. Not taken: a panic without a word (-Zpanic-immediate-abort, smaller still, not measured
# apart), because whoever looks for the reason at night has nothing else; a fixed address (non-PIE), because
# with RELR it saves nothing.
build() {
  local name=${TARGET//-/_} command=build options flags cflags
  options=(--profile edge --no-default-features --locked --target "$TARGET")
  flags=(
    # Nothing unwinds: a panic ends the process. So the tables for it are left out, of Rust and of C.
    -C force-unwind-tables=no
    # The same bytes wherever it is built.
    -C "link-arg=-Wl,--build-id=none"
    "--remap-path-prefix=$ROOT=/build"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    "--remap-path-prefix=$(rustc --print sysroot)=/rust"
  )
  cflags="-fno-unwind-tables -fno-asynchronous-unwind-tables -ffile-prefix-map=$ROOT=/build"
  if has_sources; then
    say "building for $TARGET, the standard library along with it, for size"
    export RUSTC_BOOTSTRAP=1
    options+=("-Zbuild-std=std,panic_abort" -Zbuild-std-features=optimize_for_size)
  else
    say "building for $TARGET with the standard library as rustup brings it"
  fi
  if [ "$ZIG" = yes ]; then
    command=zigbuild
    flags+=(-C link-self-contained=no)
  else
    # Relocations as a bit map (RELR), which musl's start-up code reads.
    flags+=(-C "link-arg=-Wl,-z,pack-relative-relocs")
    export "CC_$name=$CC"
  fi
  # Separated by 0x1f, so that a folder may have spaces.
  CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
  CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
  export CARGO_ENCODED_RUSTFLAGS "CFLAGS_$name=$cflags"
  cargo "$command" "${options[@]}" >&2 || die "the operator could not be built: see above"
  BUILT=${CARGO_TARGET_DIR:-target}/$TARGET/edge/inference-operator
}

install_as() {
  runs "$BUILT" || die "the program that was built does not run: $BUILT"
  mkdir -p "${1%/*}"
  cp "$BUILT" "$1.new"
  mv "$1.new" "$1"
  say "$1: $(stat -c %s "$1") bytes, sha256 $(sha256 <"$1" | cut -d' ' -f1)"
}

# Of another architecture it can be known only where qemu is.
runs() {
  local qemu
  case $ARCHITECTURE in
    "$(own_architecture)") qemu= ;;
    amd64) qemu="qemu-x86_64" ;;
    arm64) qemu="qemu-aarch64" ;;
    armv7) qemu="qemu-arm" ;;
  esac
  if [ -n "$qemu" ] && ! command -v "$qemu" >/dev/null; then return; fi
  ${qemu:+"$qemu"} "$1" --version >/dev/null
}

main "$@"
