#!/usr/bin/env bash
# The programs of other architectures, run under qemu: --version of what ships, and the unit tests. Called by
# people and by test.sh as its lane qemu. Must never need more than this machine.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=toolchain.sh
. "$HERE/toolchain.sh"

usage() {
  cat <<'END'
Builds for other architectures and runs under qemu: the program's --version, and the unit tests.

usage: scripts/test-qemu.sh [ARCH...]

ARCH is arm64 or armv7 (default: both).
END
}

main() {
  local architectures=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      arm64 | armv7) architectures+=("$1") ;;
      *) die "expected arm64 or armv7; got '$1' (see --help)" ;;
    esac
    shift
  done
  [ "${#architectures[@]}" -gt 0 ] || architectures=(arm64 armv7)
  need_cc "to build the build scripts"
  need_rust "to build the operator"
  need file "to see that the programs are static"
  cd "$HERE/.."
  for ARCHITECTURE in "${architectures[@]}"; do
    need_toolchain
    need_emulator
    ships
    unit_tests
  done
}

need_emulator() {
  QEMU=$(emulator)
  [ -z "$QEMU" ] || command -v "$QEMU" >/dev/null || case $(package_manager) in
    apt-get | dnf) install_packages "to run programs for $ARCHITECTURE" qemu-user ;;
    *) die "$QEMU is missing, which runs programs for $ARCHITECTURE" ;;
  esac
}

ships() {
  local program version
  program=$("$HERE/build-static.sh" "$ARCHITECTURE")
  version=$(${QEMU:+"$QEMU"} "$program" --version)
  [ "$version" = "inference-operator $(project_version)" ] || die "$program says '$version'"
  file "$program" | grep -Eq 'static(ally|-pie) linked' || die "not static: $(file "$program")"
  echo "qemu: $ARCHITECTURE: $(stat -c %s "$program") bytes, static, says $version"
}

# Of what decides and decodes: numbers are of other sizes there, and pointers.
unit_tests() (
  local name=${TARGET//-/_} command=(cargo test) flags=() sources=()
  export "CARGO_TARGET_${name^^}_RUNNER=$QEMU"
  if [ "$ZIG" = yes ]; then
    command=(cargo-zigbuild test)
    flags=(-C link-self-contained=no)
    sources=("-Zbuild-std=std,test")
    export RUSTC_BOOTSTRAP=1
  else
    export "CC_$name=$CC"
  fi
  RUSTFLAGS="${flags[*]}" "${command[@]}" --locked --lib --target "$TARGET" "${sources[@]}" || die "the unit tests failed for $ARCHITECTURE"
)

main "$@"
