#!/usr/bin/env bash
# Looks at every dependency with cargo-deny: licences, sources, duplicates in what ships, and known
# vulnerabilities. Called by people and by test.sh as its lane dependencies. Must never call checked what was not.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
cd "$HERE/.."

VERSION=0.20.2
ADVISORIES=https://github.com/rustsec/advisory-db
# As cargo-deny calls its own clone of that: with a hash of the address.
CLONE=advisory-db-3157b0e258782691

usage() {
  cat <<'END'
Checks the dependencies of all packages here with cargo-deny, by deny.toml.

usage: scripts/dependencies.sh [--advisories FOLDER]

  --advisories FOLDER   a clone of RustSec's database (default: it is fetched, and where it cannot be
                        reached, a line says that vulnerabilities were not looked for)
END
}

main() {
  local advisories='' package looked=() offline=() vulnerabilities='not looked for: the database cannot be reached'
  case ${1:-} in
    -h | --help) usage && exit ;;
    --advisories)
      [ -d "${2:-}" ] || die "--advisories expects a folder; got '${2:-}'"
      advisories=$(realpath "$2")
      ;;
    '') ;;
    *) die "no such option: $1 (see --help)" ;;
  esac
  need_rust "to read what the packages depend on"
  need_cargo_tool cargo-deny "$VERSION" "to check the dependencies"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-dependencies.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  cp deny.toml "$WORK/deny.toml"

  deny Cargo.toml --exclude-dev --no-default-features -- licenses sources bans
  for package in Cargo.toml fuzz/Cargo.toml benches/harness/Cargo.toml benches/peers/kube-rs/Cargo.toml; do
    deny "$package" --all-features -- licenses sources
    looked+=("$package")
  done
  if [ -n "$advisories" ] || git ls-remote --quiet --exit-code "$ADVISORIES" HEAD >/dev/null 2>&1; then
    [ -z "$advisories" ] || use_clone "$advisories"
    for package in "${looked[@]}"; do
      deny "$package" --all-features "${offline[@]}" -- advisories
    done
    vulnerabilities='none known'
  fi
  echo "dependencies: ${#looked[@]} packages, licences and sources as deny.toml has them, no crate twice in the program; vulnerabilities: $vulnerabilities"
}

# use_clone FOLDER: in place of the one that cargo-deny would fetch.
use_clone() {
  offline=(--offline)
  git clone --quiet "$1" "$WORK/advisories/$CLONE"
  touch "$WORK/advisories/$CLONE/.git/FETCH_HEAD"
  sed -i "s|^\[advisories\]|&\ndb-path = \"$WORK/advisories\"|" "$WORK/deny.toml"
}

# deny MANIFEST OPTION... -- CHECK...
deny() {
  local manifest=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1") && shift; done
  shift
  cargo deny --manifest-path "$manifest" --config "$WORK/deny.toml" --locked "${options[@]}" check --hide-inclusion-graph "$@" ||
    die "$manifest: see above (cargo deny check $*)"
}

main "$@"
