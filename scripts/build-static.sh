#!/usr/bin/env bash
# The operator as it ships: dist/inference-operator-ARCH, static, stripped, and the same bytes from
# the same commit in whatever folder. Must never leave a program in dist/ that does not run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=toolchain.sh
. "$HERE/toolchain.sh"

ROOT=$(cd "$HERE/.." && pwd)

usage() {
  cat <<EOF
Builds the operator as a static program for Linux, dist/inference-operator-ARCH, and prints its path.

usage: scripts/build-static.sh [ARCH]

ARCH is amd64, arm64 or armv7 (default: this machine's own).

Where rustup can bring Rust's sources, the standard library is built along for size (about a quarter
smaller). Else, or with PLAIN=1 in the environment, it is the one that rustup brings. DIST in the
environment is another folder than dist/, FEATURES are cargo's (mimalloc).
EOF
}

main() {
  case ${1:-} in -h | --help) usage && exit ;; esac
  [ $# -le 1 ] || die "expected at most one ARCH: see --help"
  [ "$(uname -s)" = Linux ] || die "builds on Linux: this is $(uname -s)"
  ARCHITECTURE=${1:-$(own_architecture)}
  need_cc "to build the build scripts"
  need_rust "to build the operator"
  need_toolchain
  cd "$ROOT"
  build
  install_as "${DIST:-$ROOT/dist}/inference-operator-$ARCHITECTURE"
  echo "${DIST:-$ROOT/dist}/inference-operator-$ARCHITECTURE"
}

# What the flags brought, on amd64: no unwinding tables 0.27 MB, RELR 0.07 MB; the standard library built for
# size about 0.5 MB. Not taken: a panic without a word (-Zpanic-immediate-abort, smaller still, not measured
# apart), because whoever looks for the reason at night has nothing else; a fixed address (non-PIE), because
# with RELR it saves nothing.
build() {
  local name=${TARGET//-/_} command=build registry sysroot options flags cflags
  sysroot=$(rustc --print sysroot)
  options=(--profile edge --no-default-features --locked --target "$TARGET" ${FEATURES:+--features "$FEATURES"})
  flags=(
    # Nothing unwinds: a panic ends the process. So the tables for it are left out, of Rust and of C.
    -C force-unwind-tables=no
    # The same bytes wherever it is built.
    -C "link-arg=-Wl,--build-id=none"
    "--remap-path-prefix=$ROOT=/build"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    "--remap-path-prefix=$sysroot=/rust"
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust/library=/rust"
  )
  # The program names the file of each line that may panic, of hundreds of files: short names are 13 kB less. The folder
  # is there once the sources are.
  cargo fetch --locked >&2 || die "the sources could not be fetched: see above"
  for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=("--remap-path-prefix=$registry=/cargo")
  done
  cflags="-fno-unwind-tables -fno-asynchronous-unwind-tables '-ffile-prefix-map=$ROOT=/build'"
  export CC_SHELL_ESCAPED_FLAGS=1
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
    # mimalloc counts bits with a function of the C compiler's own library.
    [[ ${FEATURES:-} != *mimalloc* ]] || flags+=(-C link-arg=-lgcc)
    export "CC_$name=$CC"
    order
  fi
  # Separated by 0x1f, so that a folder may have spaces.
  CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
  CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
  export CARGO_ENCODED_RUSTFLAGS "CFLAGS_$name=$cflags"
  cargo "$command" "${options[@]}" >&2 || die "the operator could not be built: see above"
  [ -z "${ORDER:-}" ] || say "$(wc -l <"$ORDER") functions are linked side by side, by $(wc -l <"$HERE/hot-functions.txt") names"
  BUILT=${CARGO_TARGET_DIR:-target}/$TARGET/edge/inference-operator
}

# order: what runs is linked side by side, as link.sh says, where Rust brings its own linker (with zig it does not).
order() {
  local linker=CARGO_TARGET_${name^^}_LINKER
  LLD=$sysroot/lib/rustlib/$(rustc --print host-tuple)/bin/gcc-ld
  [ -x "$LLD/ld.lld" ] || { say "Rust's own linker is missing ($LLD): the functions that run are not put together" && return; }
  # Its name tells rustc nothing of its kind.
  flags+=(-C linker-flavor=gcc -C symbol-mangling-version=v0)
  mkdir -p "${CARGO_TARGET_DIR:-target}/$TARGET/edge/deps"
  ORDER=$(cd "${CARGO_TARGET_DIR:-target}/$TARGET/edge" && pwd)/hot-functions.order
  # Cargo does not know of the list.
  find "${CARGO_TARGET_DIR:-target}/$TARGET/edge/deps" -name 'inference_operator-*' ! -newer "$HERE/hot-functions.txt" -delete
  export LLD ORDER LINK_WITH=${!linker:-cc} "$linker=$HERE/link.sh"
}

install_as() {
  runs "$BUILT" || die "the program that was built does not run: $BUILT"
  mkdir -p "${1%/*}"
  # In pieces of 32 kB, as containerd unpacks an image. What is written in larger ones Linux 6.18 keeps in pieces of up
  # to megabytes, and maps those whole: the program would be resident to its last byte, which it is not in a pod.
  dd if="$BUILT" of="$1.new" bs=32k status=none
  chmod 755 "$1.new"
  mv "$1.new" "$1"
  say "$1: $(stat -c %s "$1") bytes, sha256 $(sha256 <"$1" | cut -d' ' -f1)"
}

# Of another architecture it can be known only where qemu is.
runs() {
  local qemu
  qemu=$(emulator)
  if [ -n "$qemu" ] && ! command -v "$qemu" >/dev/null; then return; fi
  ${qemu:+"$qemu"} "$1" --version >/dev/null
}

main "$@"
