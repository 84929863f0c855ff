#!/usr/bin/env bash
# Makes a node image of kind's without any registry, into the cache, and prints the path of its archive: Debian's
# packages, the files of kind's module, the programs of control-plane/build.sh. Called by ../kind.sh; does nothing when
# the cache has it. Must never pull an image, nor leave the engine that it makes it with.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$HERE/lib.sh"

# Those of kind's own image; curl and socat are for people who look around in a node.
SUITE=trixie
PACKAGES=systemd,systemd-sysv,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,pigz,e2fsprogs
PACKAGES+=,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins,socat
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
ROOT=inference-operator/kind-root:$SUITE
TOOLS=(kubernetes etcd kubelet kubeadm images kind)

main() {
  local tool image root
  if [ "${1:-}" = --make ]; then
    make "$2" "$3"
    return
  fi
  image=$CACHE/kind/image-$(key_of_image)
  if [ ! -d "$image" ]; then
    for tool in mmdebstrap jq zstd; do need "$tool" "for a node image of kind's"; done
    command -v musl-gcc >/dev/null || install_packages "for a node image of kind's" musl-tools
    [ -f "$KEYRING" ] || install_packages "for a node image of kind's" debian-archive-keyring
    for tool in "${TOOLS[@]}"; do "$HERE/control-plane/build.sh" "$tool" >/dev/null; done
    root=$CACHE/kind/root-$(key_of_root)
    cached_build "$root" "kind's root file system" build_root
    cached_build "$image" "kind's node image" build_image "$root/root.tar.zst"
  fi
  echo "$image/image.tar.zst"
}

# --- what decides on it ---

key_of_root() { { echo "$SUITE $PACKAGES" && declare -f bootstrap && uname -m; } | sha256 | cut -c 1-16; }

key_of_image() {
  {
    key_of_root
    find "$HERE/kind"/{image.sh,set-up-node.sh,files} "$HERE/control-plane"/{build.sh,kubernetes,etcd,images,kind} -type f -print0 |
      LC_ALL=C sort -z | xargs -0 cat
  } | sha256 | cut -c 1-16
}

# --- the two builds ---

build_root() {
  with_progress "kind's root file system" "Debian's packages" 'about 2 minutes' "$CACHE/kind/root.log" bootstrap
}

bootstrap() {
  local suite sources=()
  for suite in "$MIRROR $SUITE" "$MIRROR $SUITE-updates" "$MIRROR-security $SUITE-security"; do
    sources+=("deb [signed-by=$KEYRING] $suite main")
  done
  mmdebstrap --variant=minbase --mode=root "--include=$PACKAGES" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' "$SUITE" - "${sources[@]}" | zstd --quiet -o "$BUILDING/root.tar.zst"
}

build_image() {
  with_progress "kind's node image" "these and the programs" 'about a minute' "$CACHE/kind/image.log" \
    "$HERE/kind/image.sh" --make "$1" "$BUILDING"
}

# --- inside of build_image: a process of its own, which ends what it starts ---

# make ROOT_ARCHIVE FOLDER
make() {
  local tool
  ENGINE=$(mktemp -d "${TMPDIR:-/tmp}/kind-image.XXXXXX")
  trap '"$HERE/kind/engine.sh" down "$ENGINE"; rm -rf "$ENGINE"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  BIN=$ENGINE/bin
  mkdir "$BIN"
  for tool in "${TOOLS[@]}"; do ln -s "$("$HERE/control-plane/build.sh" "$tool")"/* "$BIN"; done
  VERSION=$("$BIN/kubeadm" version --output short)
  musl-gcc -static -Os -s -o "$BIN/pause" "$HERE/control-plane/images/pause.c"
  "$HERE/kind/engine.sh" up "$ENGINE" "${ENGINE##*/}" "$2/docker"
  zstd --quiet --decompress --stdout "$1" | docker import - "$ROOT"
  system_images "$ENGINE/system.tar"
  node_image "$ENGINE/system.tar"
  docker save "inference-operator/kind-node:$VERSION" | zstd --quiet --threads 0 -o "$2/image.tar.zst"
}

docker() { "$HERE/kind/engine.sh" exec "$ENGINE" docker "$@"; }

# --- what kubeadm runs in pods ---

# system_images ARCHIVE: by the names under which kubeadm and kind's containerd look for them.
system_images() {
  local image name images=()
  while read -r image; do
    name=${image##*/} name=${name%%:*}
    case $name in
      kube-proxy) proxy_image "$image" ;;
      coredns) program_image "$image" coredns '' 'ENTRYPOINT ["/coredns"]' ;;
      pause)
        image=$(sed -n 's/^ *sandbox_image = "\(.*\)"/\1/p' "$BIN/node-files/etc/containerd/config.toml")
        program_image "$image" pause '' 'ENTRYPOINT ["/pause"]'
        ;;
      *) program_image "$image" "$name" usr/local/bin/ ;;
    esac
    images+=("$image")
  done < <("$BIN/kubeadm" config images list --kubernetes-version "$VERSION")
  docker save --output "$1" "${images[@]}"
}

# program_image IMAGE PROGRAM FOLDER [CHANGE]: nothing but a program.
program_image() {
  archive --dereference --directory "$BIN" --transform "s#^#$3#" "$2" | docker import ${4:+--change "$4"} - "$1"
}

archive() { tar --create --owner 0 --group 0 --file - "$@"; }

# It runs iptables, nft and conntrack: these out of Debian's packages, with their libraries and those of iptables'
# extensions (without libm a Service of two endpoints stops it).
proxy_image() {
  local root=$ENGINE/kube-proxy
  mkdir -p "$root"/{usr/local/bin,run,tmp}
  # shellcheck disable=SC2016
  docker run --rm --pull never --network none "$ROOT" bash -ec '
    cd /
    programs="/usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /usr/sbin/nft /usr/sbin/conntrack /usr/bin/kmod /usr/bin/dash"
    extensions=$(echo /usr/lib/*/xtables/*.so)
    {
      printf "%s\n" $programs $extensions /usr/bin/sh /etc/protocols /lib /lib64 /sbin /bin
      ls -d /usr/sbin/ip{,6}tables{,-legacy,-nft}{,-save,-restore} /etc/alternatives/ip*tables*
      # /lib leads to /usr/lib, and so do the names of libraries in there.
      for library in $(ldd $programs $extensions | grep -o "/lib[^ :]*" | sort -u); do echo "/usr$library"; readlink -f "$library"; done
    } | sort -u | while read -r path; do [ ! -e "$path" ] || echo "${path#/}"; done | tar --create --no-recursion --files-from - --file -
    ' | tar --extract --directory "$root"
  cp "$BIN/kube-proxy" "$root/usr/local/bin/"
  archive --directory "$root" . | docker import - "$1"
}

# --- the node itself ---

# node_image ARCHIVE_OF_SYSTEM_IMAGES: as `kind build node-image` does it, a containerd in a container takes the images in,
# and the container becomes the image.
node_image() {
  local container
  container=$(docker run --detach --pull never --privileged --network none --stop-signal SIGRTMIN+3 --env container=docker \
    --entrypoint sleep "$ROOT" infinity)
  { archive --directory "$BIN/node-files/" . && archive --directory "$HERE/kind/files" .; } | unpack_in "$container" /
  archive --dereference --directory "$BIN" kubelet kubeadm kubectl | unpack_in "$container" /usr/bin
  docker exec --interactive "$container" bash -s - "$VERSION" <"$HERE/kind/set-up-node.sh"
  docker exec "$container" bash -c 'nohup containerd >/tmp/containerd.log 2>&1 &
    until ctr version >/dev/null 2>&1; do sleep 0.2; done'
  docker exec --interactive "$container" ctr --namespace k8s.io images import --all-platforms --no-unpack --digests - <"$1"
  docker exec "$container" bash -c 'kill $(pidof containerd); while pidof containerd >/dev/null; do sleep 0.1; done; rm -rf /tmp/*'
  docker commit --change 'CMD []' --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" \
    "inference-operator/kind-node:$VERSION"
}

# unpack_in CONTAINER FOLDER: from standard input. Folders that are there stay as they are.
unpack_in() { docker exec --interactive "$1" tar --extract --ignore-zeros --no-overwrite-dir --directory "$2" --file -; }

main "$@"
