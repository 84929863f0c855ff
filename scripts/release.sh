#!/usr/bin/env bash
# Everything of a release into dist/: programs, images, manifests, chart, bill of materials, notes, checksums.
# Called by people and the workflow of a tag. Must never upload anything, nor release what is not committed.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"

# In the order of applying them.
MANIFESTS=(namespace crd rbac networkpolicy operator)

usage() {
  cat <<'END'
Makes a release in dist/; uploads nothing.

usage: scripts/release.sh VERSION

VERSION must be that of Cargo.toml and have a section in CHANGELOG.md, and all must be committed.
Beside what scripts/image.sh leaves there:

  inference-operator-VERSION.yaml   all manifests in one, for kubectl apply -f and k3s' manifests folder
  inference-operator-VERSION.tgz    the Helm chart
  NOTES.md                          the section of CHANGELOG.md
END
}

main() {
  local version=${1:-}
  case $version in -h | --help) usage && exit ;; esac
  [ $# = 1 ] || die "expected one VERSION (see --help)"
  cd "$HERE/.."
  check "$version"
  rm -rf dist
  mkdir dist
  notes "$version" >dist/NOTES.md
  manifests >"dist/inference-operator-$version.yaml"
  "$("$HERE/control-plane/build.sh" helm)/helm" package charts/inference-operator --destination dist >&2
  "$HERE/image.sh"
  say "dist/ holds $version:"
  ls -l dist >&2
}

check() {
  [ "$1" = "$(project_version)" ] || die "Cargo.toml has version $(project_version), not '$1'"
  grep -qx "## $1" CHANGELOG.md || die "CHANGELOG.md has no section '## $1'"
  grep -q "image: inference-operator:$1\$" k3s-manifests/operator.yaml || die "k3s-manifests/operator.yaml has another image than inference-operator:$1"
  [ -z "$(git status --porcelain)" ] || die "not all is committed: $(git status --porcelain | head -n 1)"
}

notes() { awk -v head="## $1" '/^## / {inside = $0 == head; next} inside' CHANGELOG.md; }

manifests() {
  local name
  for name in "${MANIFESTS[@]}"; do
    echo ---
    cat "k3s-manifests/$name.yaml"
  done
}

main "$@"
