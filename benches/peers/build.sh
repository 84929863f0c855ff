#!/usr/bin/env bash
# Builds the peers, or the one that is named, into the cache, and prints the path of each program.
# Does nothing when the cache has them. Must never leave half a build under the final name.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
. "$HERE/../../scripts/lib.sh"

PEERS=(controller-runtime controller-runtime-tuned kube-rs)

main() {
  case ${1:-} in
    -h | --help) echo "usage: benches/peers/build.sh [${PEERS[*]}]..." && return ;;
  esac
  [ $# -gt 0 ] || set -- "${PEERS[@]}"
  local peer
  for peer in "$@"; do
    [[ " ${PEERS[*]} " == *" $peer "* ]] || die "no such peer: $peer (expected: ${PEERS[*]})"
  done
  for peer in "$@"; do build_once "$peer"; done
}

build_once() {
  local peer=$1 folder
  # Installs nothing when it is there, and its version is part of the key.
  case $peer in
    kube-rs) need_rust "to build the peer $peer" && need_cc "to build the peer $peer" ;;
    *) need_go "to build the peer $peer" ;;
  esac
  folder=$CACHE/peers/$peer-$(key "$peer")
  if [ ! -d "$folder" ]; then
    mkdir -p "$CACHE/peers"
    lock "$folder.lock" 0 || {
      say "waiting for another build of $peer"
      lock "$folder.lock" 3600 || die "another build of $peer holds $folder.lock since an hour"
    }
    [ -d "$folder" ] || build "$peer" "$folder"
    rm -f "$folder.lock"
    unlock "$folder.lock"
  fi
  echo "$folder/$peer"
}

# All that decides what is built.
key() {
  {
    "version_of_$(ecosystem "$1")" && declare -f build "build_$(ecosystem "$1")" && uname -sm
    sources "$1" | while read -r file; do echo "$file" && cat "$HERE/$file"; done
  } | sha256 | cut -c 1-16
}

ecosystem() { if [ "$1" = kube-rs ]; then echo rust; else echo go; fi; }

version_of_go() { (cd "$HERE" && GOWORK=off go env GOVERSION); }

version_of_rust() { (cd "$HERE/kube-rs" && cargo --version); }

sources() {
  cd "$HERE"
  case $(ecosystem "$1") in
    go) find go.mod go.sum api internal "$1" -type f ;;
    rust) find kube-rs/Cargo.toml kube-rs/Cargo.lock kube-rs/src -type f ;;
  esac | LC_ALL=C sort
}

build() {
  local peer=$1 folder=$2 log=$CACHE/peers/$1.log
  BUILDING=$folder.building
  trap 'rm -rf "$BUILDING" "${BUILDING%.building}.lock"' EXIT
  rm -rf "$BUILDING"
  mkdir "$BUILDING"
  say "building the peer $peer: once, one to three minutes on 2 cores"
  "build_$(ecosystem "$peer")" "$peer" >"$log" 2>&1 9>&- || die "building $peer failed: $(tail -n 1 "$log") (log: $log)"
  mv "$BUILDING" "$folder"
  trap - EXIT
}

build_go() {
  cd "$HERE"
  env GOWORK=off GOFLAGS= CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags '-s -w' -o "$BUILDING/$1" "./$1"
}

# The user's own flags and target folder would make another program, or put it elsewhere.
build_rust() {
  cd "$HERE/$1"
  env -u RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$CACHE/peers/target" cargo build --locked --release
  cp "$CACHE/peers/target/release/inference-operator-peer-$1" "$BUILDING/$1"
}

main "$@"
