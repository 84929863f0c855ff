#!/usr/bin/env bash
# Builds one tool of the control plane (kubernetes, etcd, kwok, kine), of a node (kubelet, images), of kind (kind,
# kubeadm), a client that waits (helm, kstatus, argocd), k3s' Helm resource (helm-controller) or the monitoring (prometheus)
# into the cache and prints the folder of its programs. Called by ../cluster.sh, ../node.sh, ../kind.sh, ../kind/image.sh
# and the tests; does nothing when the cache has it.
# Must never leave half a build under the final name, nor change the user's Go settings.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$HERE/../lib.sh"

# No C compiler is needed: kine's SQLite then is the one in Go.
GO_ENVIRONMENT=(CGO_ENABLED=0 GOWORK=off GOFLAGS= GOTOOLCHAIN=auto)
GO_FLAGS=(-mod=readonly -buildvcs=false -trimpath)
TOOLS=(kubernetes etcd kwok kine kubelet images kind kubeadm helm helm-controller kstatus argocd prometheus)

main() {
  local tool=${1:-} folder
  [[ " ${TOOLS[*]} " == *" ${tool:-none} "* ]] || die "expected one of ${TOOLS[*]}; got '$*'"
  folder=$CACHE/control-plane/$tool-$(key "$tool")
  [ -d "$folder" ] || need_go "to build $tool"
  cached_build "$folder" "$tool" build "$tool"
  echo "$folder"
}

# The kubelet and kubeadm are of the same module as the control plane, and so of the same version; but only nodes need
# them.
module_of() {
  case $1 in
    kubelet | kubeadm) echo "$HERE/kubernetes" ;;
    kstatus) echo "$HERE/../kstatus" ;;
    *) echo "$HERE/$1" ;;
  esac
}

# All that decides what is built, known without Go.
key() {
  { find "$(module_of "$1")" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat && declare -f "programs_of_$1" && uname -sm &&
    echo "${GO_ENVIRONMENT[@]}" "${GO_FLAGS[@]}" "$(linker_flags "$1")"; } | sha256 | cut -c 1-16
}

build() {
  local tool=$1 usual
  case $tool in
    kubernetes) usual='about 5 minutes' ;;
    etcd) usual='about half a minute' ;;
    kwok) usual='about a minute' ;;
    kine) usual='about 2 minutes' ;;
    kubelet) usual='about 2 minutes' ;;
    images) usual='about 2 minutes' ;;
    kind) usual='about 10 seconds' ;;
    kubeadm) usual='about a minute' ;;
    helm) usual='about 2 minutes' ;;
    helm-controller) usual='some seconds' ;;
    kstatus | argocd) usual='about 20 seconds' ;;
    prometheus) usual='about 4 minutes' ;;
  esac
  cd "$(module_of "$tool")"
  with_progress "$tool" "its Go module" "$usual" "$CACHE/control-plane/$tool.log" "programs_of_$tool"
}

programs_of_kubernetes() {
  local program
  for program in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    go_build "$program" "k8s.io/kubernetes/cmd/$program" || return
  done
}

programs_of_kubelet() {
  local program
  for program in kubelet kube-proxy; do
    go_build "$program" "k8s.io/kubernetes/cmd/$program" || return
  done
}

# What the images of a node hold: name server, model server.
programs_of_images() { go_build coredns ./coredns && go_build model-server ./model-server; }

programs_of_kubeadm() { go_build kubeadm k8s.io/kubernetes/cmd/kubeadm; }

# Of a node image's files some are in kind's module.
programs_of_kind() {
  local files
  go_build kind sigs.k8s.io/kind &&
    files=$(env "${GO_ENVIRONMENT[@]}" go list -mod=readonly -m -f '{{.Dir}}/images/base/files' sigs.k8s.io/kind) &&
    cp -R "$files" "$BUILDING/node-files" &&
    chmod -R u+w "$BUILDING/node-files" # Go's cache of modules is read-only
}

programs_of_helm() { go_build helm helm.sh/helm/v4/cmd/helm; }

# No program, but the CRD of k3s' HelmChart.
programs_of_helm-controller() {
  local module=github.com/k3s-io/helm-controller folder
  env "${GO_ENVIRONMENT[@]}" go mod download "$module" &&
    folder=$(env "${GO_ENVIRONMENT[@]}" go list -mod=readonly -m -f '{{.Dir}}' "$module") &&
    cp "$folder/pkg/crds/yaml/generated/helm.cattle.io_helmcharts.yaml" "$BUILDING/helmcharts.yaml" &&
    chmod u+w "$BUILDING/helmcharts.yaml"
}

# Each judges objects as that client does, a line each.
programs_of_kstatus() { go_build kstatus .; }

programs_of_argocd() { go_build argocd-health .; }

# Without the discovery of targets in other people's clouds: most of its dependencies, and minutes of the build.
programs_of_prometheus() {
  local program
  for program in prometheus promtool; do
    go_build "$program" "github.com/prometheus/prometheus/cmd/$program" -tags remove_all_sd || return
  done
  go_build check-schemas ./check-schemas
}

programs_of_etcd() { go_build etcd go.etcd.io/etcd/server/v3; }

programs_of_kine() { go_build kine github.com/k3s-io/kine; }

# kwok has no stages of its own: they are files of its module.
programs_of_kwok() {
  local stages
  go_build kwok sigs.k8s.io/kwok/cmd/kwok &&
    stages=$(env "${GO_ENVIRONMENT[@]}" go list -mod=readonly -m -f '{{.Dir}}/kustomize/stage' sigs.k8s.io/kwok) &&
    mkdir "$BUILDING/stages" &&
    cp "$stages"/{node/fast/node,node/heartbeat-with-lease/node,pod/fast/pod}-*.yaml "$BUILDING/stages"
}

# go_build PROGRAM PACKAGE [FLAG...]
go_build() {
  env "${GO_ENVIRONMENT[@]}" go build "${GO_FLAGS[@]}" "${@:3}" -ldflags "$(linker_flags "$tool")" -o "$BUILDING/$1" "$2"
}

# The API server refuses to tell its version, and clients to read it, unless it is stamped.
linker_flags() {
  local version package flags='-s -w'
  if [ "$(module_of "$1")" = "$HERE/kubernetes" ]; then
    version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" {print $3} $1 == "k8s.io/kubernetes" {print $2}' "$HERE/kubernetes/go.mod")
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      flags+=" -X $package.gitVersion=$version -X $package.gitTreeState=clean"
      flags+=" -X $package.gitMajor=$(cut -d. -f1 <<<"${version#v}") -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
    done
  fi
  echo "$flags"
}

main "$@"
