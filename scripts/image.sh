#!/usr/bin/env bash
# The images from the static programs in dist/: one multi-arch OCI archive, one archive an architecture for
# k3s' images folder, a bill of materials, checksums. Called by people, release.sh and node.sh.
# Must never pull anything, nor touch the images of this machine.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

ALL=(amd64 arm64 armv7)
NAME=docker.io/library/inference-operator

usage() {
  cat <<'END'
Makes the images of Dockerfile.scratch, with buildah: no container engine runs, nothing is pulled.

usage: scripts/image.sh [--no-sbom] [ARCH...]

ARCH is any of amd64, arm64, armv7 (default: all three). The programs are built by scripts/build-static.sh.
Into dist/, with VERSION from Cargo.toml:

  inference-operator-VERSION.oci.tar        all ARCHs in one, for a registry (skopeo copy oci-archive:...)
  inference-operator-VERSION-ARCH.tar.zst   for /var/lib/rancher/k3s/agent/images/ of a node
  inference-operator-VERSION.cdx.json       the bill of materials (CycloneDX); not with --no-sbom
  SHA256SUMS                                of these and the programs
END
}

main() {
  local sbom=yes architectures=() architecture
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit ;;
      --no-sbom) sbom=no ;;
      *)
        [[ " ${ALL[*]} " == *" $1 "* ]] || die "expected any of ${ALL[*]}; got '$1' (see --help)"
        architectures+=("$1")
        ;;
    esac
    shift
  done
  [ "${#architectures[@]}" -gt 0 ] || architectures=("${ALL[@]}")
  cd "$HERE/.."
  [ "$(uname -s)" = Linux ] || die "buildah makes images on Linux: this is $(uname -s)"
  need buildah "to make images without a container engine"
  need zstd "to compress images as k3s takes them"
  VERSION=$(project_version)
  for architecture in "${architectures[@]}"; do
    "$HERE/build-static.sh" "$architecture" >/dev/null
  done

  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-image.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  images "${architectures[@]}"
  [ "$sbom" = no ] || bill_of_materials
  checksums
}

platform() {
  case $1 in
    armv7) echo linux/arm/v7 ;;
    *) echo "linux/$1" ;;
  esac
}

images() {
  local architecture revision file
  revision=$(git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null || echo unknown)
  run_buildah "$WORK" manifest create all >/dev/null
  for architecture in "$@"; do
    say "image for $architecture"
    # Nothing is run in it, so that chroot is all it takes. Without a date, the same program makes the same image.
    run_buildah "$WORK" build --isolation chroot --timestamp 0 --platform "$(platform "$architecture")" \
      --build-arg BINARY=prebuilt --build-arg "VERSION=$VERSION" --build-arg "REVISION=$revision" \
      --file Dockerfile.scratch --manifest all --iidfile "$WORK/id" . >"$WORK/log" 2>&1 ||
      die "no image for $architecture: $(tail -n 1 "$WORK/log")"
    file=dist/inference-operator-$VERSION-$architecture.tar
    rm -f "$file"
    run_buildah "$WORK" push --quiet "$(cat "$WORK/id")" "docker-archive:$file:$NAME:$VERSION"
    zstd --quiet --force --rm -19 "$file" -o "$file.zst"
    say "$file.zst: $(stat -c %s "$file.zst") bytes"
  done
  file=dist/inference-operator-$VERSION.oci.tar
  rm -f "$file"
  run_buildah "$WORK" manifest push --quiet --all all "oci-archive:$file:$NAME:$VERSION" >/dev/null
  say "$file: $(stat -c %s "$file") bytes"
}

# Of what is linked into the edge build, by cargo's own resolution.
bill_of_materials() {
  local tool=$CACHE/cargo-cyclonedx
  need_rust "to list what is linked into the operator"
  if [ ! -x "$tool/bin/cargo-cyclonedx" ]; then
    say "installing cargo-cyclonedx into $tool: once, about 2 minutes"
    cargo install --quiet --locked --root "$tool" cargo-cyclonedx >&2 || die "cargo-cyclonedx could not be installed"
  fi
  PATH=$tool/bin:$PATH cargo cyclonedx --quiet --format json --no-default-features --override-filename bill
  mv bill.json "dist/inference-operator-$VERSION.cdx.json"
  say "dist/inference-operator-$VERSION.cdx.json: the bill of materials"
}

checksums() {
  (cd dist && sha256sum inference-operator-* >SHA256SUMS)
  say "dist/SHA256SUMS: of all of them"
}

main "$@"
