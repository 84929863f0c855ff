#!/usr/bin/env bash
# Shows the operator at work on a real control plane, from a fresh machine on: for people, and with
# --once for scripts. Its pieces are in demo/. Must never print what it did not see, run the operator
# as admin, or leave behind anything that it started or made.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
# shellcheck source-path=SCRIPTDIR source=demo/clusters.sh
. "$HERE/demo/clusters.sh"
# shellcheck source-path=SCRIPTDIR source=demo/process.sh
. "$HERE/demo/process.sh"
# shellcheck source-path=SCRIPTDIR source=demo/pod.sh
. "$HERE/demo/pod.sh"
# shellcheck source-path=SCRIPTDIR source=demo/table.sh
. "$HERE/demo/table.sh"
cd "$HERE/.."

PATIENCE=300 # seconds that --once waits; here it takes a few
# AS: what the operator runs as, process or pod.
ONCE=no CLUSTER=local CONTEXT='' AS=process

usage() {
  cat <<'END'
Builds the operator, runs it on a real control plane and shows what it does with samples of k3s-manifests/samples/.

usage: scripts/demo.sh [--once] [--context NAME | --kind]

  --once           end by itself: exit code 0 when all that should be Ready is and what should be
                   refused is, 1 when it is not so after 5 minutes
  --context NAME   use the cluster of this context of your kubeconfig, instead of a local control
                   plane with simulated GPU nodes. It must have nothing of the operator yet; all that
                   is made there is removed at the end. Samples go to the namespace inference-demo;
                   those for whose GPU type the cluster has no node cannot become Ready
  --kind           on a kind cluster of four nodes, which is made for it and removed at the end (see
                   scripts/kind.sh): the operator is a pod, installed as the README says, and so are
                   the models, with a stand-in for their engines

What is missing is installed. But for --kind, the operator runs as a process on this machine, with a
token of its ServiceAccount. Ctrl-C ends all that was started.
END
}

main() {
  local option
  while [ $# -gt 0 ]; do
    option=$1
    case $option in
      --once) ONCE=yes ;;
      --context | --kind)
        [ "$CLUSTER" = local ] || die "--context and --kind exclude each other (see --help)"
        CLUSTER=${option#--}
        [ "$option" = --context ] || AS=pod
        [ "$option" = --kind ] || { [ -n "${2:-}" ] && CONTEXT=$2 && shift; } || die "--context expects a name: one of 'kubectl config get-contexts'"
        ;;
      -h | --help) usage && exit ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift
  done

  mkdir -p "$CACHE"
  lock "$CACHE/demo.lock" 0 || die "another demo runs: process $(cat "$CACHE/demo.lock")"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-demo.XXXXXX")
  trap 'clean_up $?' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM

  "check_$CLUSTER"
  "build_$AS"
  "open_$CLUSTER"
  "start_$AS"
  apply_samples
  watch_samples until_settled
  echo "All is as $(what_should_be), $((SECONDS - APPLIED)) s after the samples were applied, $SECONDS s after the demo began."
  "tell_memory_of_$AS"
  [ "$ONCE" = no ] || exit 0
  tell_how_to_go_on
  watch_samples for_ever
}

# The samples name a namespace, which on a cluster of the user's must not be it.
apply_samples() {
  local sample
  say "applying k3s-manifests/samples/{a100,h100,l40s,unknown-gpu}.yaml to the namespace $NAMESPACE"
  for sample in k3s-manifests/samples/{a100,h100,l40s,unknown-gpu}.yaml; do
    sed "s/^  namespace: default$/  namespace: $NAMESPACE/" "$sample" | kube apply -f -
    expect "$sample"
  done
  APPLIED=$SECONDS
  echo
}

tell_how_to_go_on() {
  local kubectl=kubectl
  [ "$CLUSTER" != context ] || kubectl+=" --context $(printf %q "$CONTEXT")"
  [ "$NAMESPACE" = default ] || kubectl+=" -n $NAMESPACE"
  printf '\nTo go on by hand, in another terminal:\n\n'
  [ "$CLUSTER" != kind ] || printf '  scripts/kind.sh exec --name %q bash     # a shell in which kubectl finds the cluster\n' "$KIND_NAME"
  [ -z "${KUBECONFIG:-}" ] || printf '  export KUBECONFIG=%q\n' "$KUBECONFIG"
  # shellcheck disable=SC2016
  [ "$CLUSTER" != local ] || printf '  export PATH=%q:"$PATH"\n' "${KUBECTL%/*}"
  cat <<END
  $kubectl get isvc
  $kubectl scale isvc/phi-4 --replicas 3
  $kubectl describe isvc/unknown-gpu
  $kubectl patch isvc/unknown-gpu --type merge -p '{"spec":{"gpuType":"L40S"}}'
  $kubectl delete deployment/qwen-7b      # comes back
  $kubectl delete isvc/qwen-72b
  $("log_of_$AS")

Ctrl-C here ends the operator and removes $(what_is_made).

END
}

mib() { awk -v kib="$1" 'BEGIN { printf "%.1f", kib / 1024 }'; }

# clean_up CODE: the operator first, so that it does not complain that its cluster goes.
clean_up() {
  trap '' HUP INT TERM
  [ "$1" -le 128 ] || { echo && say "ending what was started"; } >&2 # below the terminal's ^C
  "stop_$AS"
  "close_$CLUSTER" || say "not all could be removed: see above"
  rm -rf "$WORK"
  exit "$1"
}

main "$@"
