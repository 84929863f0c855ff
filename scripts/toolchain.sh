# shellcheck shell=bash
# What it takes to build a static program for ARCHITECTURE: Rust's target, a C compiler, a linker.
# Sourced by build-static.sh and test-qemu.sh. Must never bring anything that this ARCHITECTURE does not need.

# shellcheck disable=SC2034 # read by who sources this
ZIG=no

# Sets TARGET, GNU, CC and ZIG; installs what is missing.
need_toolchain() {
  choose_target
  if ! has_target; then
    need_zig
  elif [ "$ARCHITECTURE" = "$(own_architecture)" ]; then
    need_musl
  else
    need_cross_compiler
  fi
}

# emulator: the program that runs those of ARCHITECTURE here; empty where this machine does.
emulator() {
  [ "$ARCHITECTURE" != "$(own_architecture)" ] || return 0
  case $ARCHITECTURE in
    amd64) echo qemu-x86_64 ;;
    arm64) echo qemu-aarch64 ;;
    armv7) echo qemu-arm ;;
  esac
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
  # shellcheck disable=SC2034
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
