#!/usr/bin/env bash
# Sets itself up, then checks and tests everything, up to the promises on real control planes.
# Called by people and .ci/run. Must never leave a cluster behind, nor touch one that it did not start.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$HERE/lib.sh"
cd "$HERE/.."

# A lane is a control plane of its own. kine and pages are of another kind, and run the tests that could
# tell a difference; quiet, which mostly waits, is apart from etcd only to save time; faults has tests of
# its own; budgets is no test but the bench, which counts.
ALL_LANES=(etcd quiet kine pages faults budgets)
# These take a machine for themselves: they run after the others, one at a time, with --all or by name.
LONG_LANES=(node engine kind dependencies reproducible qemu)
SOME_TESTS=(lifecycle:: drift:: foreign:: quiet:: faults::an_api_server_that_is_killed)
# Of the tests of the chart, of clients that wait, and of observability/.
CLIENTS=(helm helm-controller kstatus argocd prometheus)
LANES=() FILTERS=()
# The lanes that run, by name: the process group of each.
declare -A RUNNING=()
FAILED=()

usage() {
  cat <<'END'
Formatting, lints, unit and golden tests, and the cluster tests on real control planes.

usage: scripts/test.sh [--fast | --all | --with NAME | --lane NAME] [-- FILTER...]

  --all         the long lanes too, which take 35 minutes more
  --with NAME   this long lane too; may be repeated
  --lane NAME   only this lane; may be repeated:
                  etcd    all but what quiet has, on the control plane as it comes
                  quiet   what mostly waits (the modules quiet, unlucky and catalog_absent), on the same
                  kine    a part, on k3s's datastore (kine with SQLite)
                  pages   a part, with the API server's WatchList feature off and an issuer of its own
                  faults  what goes wrong on the way to the API server, and servers that are none
                  budgets scripts/bench.sh --check: requests, writes and binary size
                and, long:
                  node    the image as it is installed, on a real node (scripts/node.sh; Linux, root)
                  engine  a real engine on such a node: llama.cpp's server, built once from its sources
                  kind    installed by the commands of the docs on a kind cluster of three nodes, which are
                          restarted, drained and lost (scripts/kind.sh)
                  dependencies  licences, sources, duplicates and known vulnerabilities, by cargo-deny
                  reproducible  the same bytes from a build in another folder
                  qemu    the programs for arm64 and armv7 and their unit tests, under qemu
  --fast        all but the cluster tests and the 10,000 seeds of the simulation
  FILTER        run only those cluster tests whose names hold any of these words, in all
                lanes of the cluster tests but quiet and faults, and in node and kind

What is missing is installed. CI=true: a linter that cannot be had is an error.
END
}

main() {
  local fast=no more=() begun=$SECONDS
  while [ $# -gt 0 ]; do
    case $1 in
      --lane)
        [[ " ${ALL_LANES[*]} ${LONG_LANES[*]} " == *" ${2:-none} "* ]] ||
          die "--lane expects one of ${ALL_LANES[*]} ${LONG_LANES[*]}; got '${2:-}'"
        LANES+=("$2") && shift
        ;;
      --fast) fast=yes ;;
      --all) more=("${LONG_LANES[@]}") ;;
      --with)
        is_long "${2:-none}" || die "--with expects one of ${LONG_LANES[*]}; got '${2:-}'"
        more+=("$2") && shift
        ;;
      -h | --help) usage && exit ;;
      --) shift && FILTERS=("$@") && break ;;
      *) die "no such option: $1 (see --help)" ;;
    esac
    shift
  done
  [ "$fast" = no ] || [ $((${#LANES[@]} + ${#more[@]})) = 0 ] || die "--fast runs no lane: leave out --lane, --with and --all"
  if [ "${#LANES[@]}" = 0 ] && [ "${#FILTERS[@]}" = 0 ]; then
    LANES=("${ALL_LANES[@]}")
  elif [ "${#LANES[@]}" = 0 ]; then
    LANES=(etcd kine pages)
  fi
  [ "${#more[@]}" = 0 ] || LANES=("${ALL_LANES[@]}" "${more[@]}")

  need_cc "to link Rust programs"
  need_rust "to build and test the operator"
  need shellcheck "to check the shell scripts"
  need_linters
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/inference-operator-test.XXXXXX")
  trap 'clean_up $?' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM

  check
  [ "$fast" = yes ] || step "the simulation" "$HERE/simulate.sh"
  [ "$fast" = yes ] || run_lanes
  [ "${#FAILED[@]}" = 0 ] || { echo_panics && die "FAILED after $((SECONDS - begun)) s: $(join "${FAILED[@]}")"; }
  say "all passed in $((SECONDS - begun)) s"
}

join() {
  local text
  text=$(printf ', %s' "$@")
  echo "${text:2}"
}

# --- everything that needs no cluster ---

check() {
  local scripts
  mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
  [ "$LINTERS" = no ] || {
    step formatting cargo fmt --all --check
    step clippy cargo clippy --locked --workspace --all-targets -- -D warnings
    step "clippy (cluster tests)" cargo clippy --locked --test cluster --test differential --test faults --test kind --test node --test rights -- -D warnings
    step "clippy (edge)" cargo clippy --locked --no-default-features -- -D warnings
  }
  step shellcheck shellcheck --external-sources "${scripts[@]}"
  step "cargo test" cargo test --locked --no-fail-fast
  step "the bench harness" check_harness
}

# A package of its own. Its tests are built as the bench itself is, so that it is built once.
check_harness() (
  cd benches/harness
  [ "$LINTERS" = no ] || { cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings; } || return
  cargo test --locked --release --no-fail-fast
)

# step NAME COMMAND...: goes on where it fails, so that one run tells all that is wrong.
step() {
  local name=$1 begun=$SECONDS
  shift
  say "$name: $*"
  if "$@"; then
    say "$name passed in $((SECONDS - begun)) s"
  else
    say "$name FAILED"
    FAILED+=("$name")
    return 0
  fi
}

# Rust's packages bring its formatter and linter apart, each distribution under names of its own.
need_linters() {
  local packages=() why="to check the Rust code"
  LINTERS=yes
  if has_linters; then return; fi
  if command -v rustup >/dev/null; then
    say "installing rustfmt and clippy with rustup: $why"
    rustup component add rustfmt clippy >&2 || true
  else
    case $(package_manager) in
      apt-get) if dpkg --status cargo-web >/dev/null 2>&1; then packages=(rustfmt-web rust-web-clippy); else packages=(rustfmt rust-clippy); fi ;;
      dnf) packages=(rustfmt clippy) ;;
      apk) packages=(rustfmt rust-clippy) ;;
      *) packages=(rust) ;;
    esac
    (install_packages "$why" "${packages[@]}") || true
  fi
  if has_linters; then return; fi
  [ "${CI:-}" != true ] || die "cargo fmt or cargo clippy is missing ($why), and could not be installed"
  LINTERS=no
  say "WARNING: cargo fmt or cargo clippy is missing and could not be installed: formatting and lints are NOT checked"
}

has_linters() { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1

# --- the cluster tests ---

run_lanes() {
  local lane tool used
  build || {
    FAILED+=("the build for the cluster tests")
    return
  }
  # Here and not by the lanes, which would go on side by side with it.
  for tool in kubernetes etcd kwok kine; do
    [[ $tool == kine && " ${LANES[*]} " != *" kine "* ]] || "$HERE/control-plane/build.sh" "$tool" >/dev/null
  done
  # One that is asked for by name builds what it needs itself.
  if [[ " ${LANES[*]} " == *" etcd "* ]] && [ "${#FILTERS[@]}" = 0 ]; then
    for tool in "${CLIENTS[@]}"; do "$HERE/control-plane/build.sh" "$tool" >/dev/null; done
  fi
  say "lanes $(join "${LANES[@]}"): the long ones one after the other, the rest side by side; 'tail -f $WORK/*.log' follows them"
  for lane in "${LANES[@]}"; do
    is_long "$lane" || begin "$lane"
  done
  for lane in "${LANES[@]}"; do
    is_long "$lane" || finish "$lane"
  done
  for lane in "${LANES[@]}"; do
    if is_long "$lane"; then begin "$lane" && finish "$lane"; fi
  done
  # All of them, or some right may not have been used.
  if [[ "${LANES[*]}" == "${ALL_LANES[*]}"* ]] && [ "${#FILTERS[@]}" = 0 ]; then
    used=$(echo "$WORK"/*.audit)
    AUDIT_LOGS=$used step "the rights that were used" "$WORK/rights-tests"
  fi
}

is_long() { [[ " ${LONG_LANES[*]} " == *" $1 "* ]]; }

begin() {
  set -m # a process group of its own, which can be ended whole
  lane "$1" </dev/null >"$WORK/$1.log" 2>&1 &
  set +m
  RUNNING[$1]=$!
}

# The edge build and the tests, each as a copy: a build in this checkout must not change them meanwhile.
build() {
  local operator
  say "building the operator as it ships, and the cluster tests"
  operator=$(build_operator) &&
    cargo test --locked --no-run --test cluster --test differential --test faults --test kind --test node --test rights &&
    copy_test cluster && copy_test differential && copy_test faults && copy_test kind && copy_test node && copy_test rights &&
    cp "$operator" "$WORK/inference-operator"
}

# copy_test NAME: the program of its tests, as it was built.
copy_test() {
  local program
  program=$(cargo test --locked --quiet --no-run --test "$1" --message-format json | sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p') &&
    cp "$program" "$WORK/$1-tests"
}

# lane NAME: the tests on a control plane of their own. Runs in a process of its own.
lane() {
  local cluster=test-$$-$1 options=() tests=cluster threads=1 filters=("${SOME_TESTS[@]}") kubeconfig code=0 begun=$SECONDS
  case $1 in
    budgets | node | engine | kind | dependencies | reproducible | qemu)
      "$1_lane" "$cluster" || code=$?
      echo "after $((SECONDS - begun)) s" >"$WORK/$1.took"
      return "$code"
      ;;
    etcd) filters=(--skip quiet:: --skip unlucky:: --skip catalog_absent::) ;;
    quiet) filters=(quiet:: unlucky:: catalog_absent::) ;;
    kine) options=(--datastore kine) ;;
    # `list` is for such a server. And no API server of k3s': a token for that one's audience is not taken.
    pages) options=(--feature-gates WatchList=false --issuer https://elsewhere.example) filters+=(rights:: audience:: standby::without) ;;
    # Those that need the cluster wait for each other; the others mostly wait.
    faults) tests=faults threads=32 filters=() ;;
  esac
  [ "${#FILTERS[@]}" = 0 ] || filters=("${FILTERS[@]}")
  "$HERE/cluster.sh" up --name "$cluster" "${options[@]}"
  kubeconfig=$("$HERE/cluster.sh" kubeconfig --name "$cluster")
  # shellcheck disable=SC1091
  . "${kubeconfig%/*}/env"
  mkdir "$WORK/$1.tmp"
  # One after the other they run anyway: they count requests.
  TMPDIR=$WORK/$1.tmp CLUSTER_NAME=$cluster OPERATOR=$WORK/inference-operator \
    "$WORK/$tests-tests" --test-threads "$threads" --show-output "${filters[@]}" || code=$?
  grep -F system:serviceaccount:inference-operator: "$AUDIT_LOG" >"$WORK/$1.audit" || true
  # Where there are streaming lists and where there are none.
  if [[ $1 =~ ^(pages|faults)$ ]] && [ "${#FILTERS[@]}" = 0 ]; then
    # The Deployment controller first; then alone with the API server: nobody else may change what is compared.
    "$WORK/differential-tests" --show-output rollouts:: || code=$?
    "$HERE/cluster.sh" stop controller-manager --name "$cluster"
    STREAMS_LISTS=$([ "$1" = pages ] && echo false || echo true) \
      "$WORK/differential-tests" --show-output --skip rollouts:: || code=$?
  fi
  "$HERE/cluster.sh" down --name "$cluster"
  echo "after $((SECONDS - begun)) s" >"$WORK/$1.took"
  return "$code"
}

budgets_lane() { "$HERE/bench.sh" --check; }

dependencies_lane() { "$HERE/dependencies.sh"; }

reproducible_lane() { "$HERE/test-reproducible.sh"; }

qemu_lane() { "$HERE/test-qemu.sh"; }

node_lane() { on_node "$1" node --skip engine:: "${FILTERS[@]}"; }

engine_lane() { on_node "$1" engine engine::; }

# on_node NAME LANE FILTER...: a kubelet is not to be had everywhere, and then this says why.
on_node() {
  local node=$1 lane=$2 problem architecture code=0
  shift 2
  if ! problem=$("$HERE/node.sh" check); then
    echo "$lane: skipped: $problem"
    return
  fi
  architecture=$(own_architecture)
  "$HERE/image.sh" --no-sbom "$architecture"
  [ "$lane" != node ] || "$HERE/control-plane/build.sh" helm >/dev/null # the node's network has no way out
  "$HERE/node.sh" up --name "$node"
  "$HERE/node.sh" import --name "$node" "dist/inference-operator-$(project_version)-$architecture.tar.zst"
  # For the upgrade: the same, by another name.
  "$HERE/node.sh" exec --name "$node" ctr images tag "docker.io/library/inference-operator:$(project_version)" \
    docker.io/library/inference-operator:next
  if [ "$lane" = engine ]; then
    "$HERE/node.sh" import --name "$node" "$("$HERE/engine/build.sh" image)"
    ENGINE_MODEL=$("$HERE/engine/build.sh" model) && export ENGINE_MODEL
  fi
  "$HERE/node.sh" exec --name "$node" "$WORK/node-tests" --test-threads 1 --show-output "$@" || code=$?
  "$HERE/node.sh" down --name "$node"
  return "$code"
}

kind_lane() {
  local problem code=0 in=("$HERE/kind.sh" exec --name "$1")
  if ! problem=$("$HERE/kind.sh" check); then
    echo "kind: skipped: $problem"
    return
  fi
  mkdir "$WORK/kind"
  # The architecture is that of the README's commands. The nodes' network has no way out to build Helm by.
  "$HERE/image.sh" --no-sbom amd64 && "$HERE/control-plane/build.sh" helm >/dev/null &&
    "$HERE/kind.sh" up --name "$1" --nodes 3 --audit "$WORK/kind" && equip_kind "$1" &&
    KUBECTL=$("${in[@]}" bash -c 'command -v kubectl') AUDIT_LOG=$WORK/kind/audit.log \
      "${in[@]}" "$WORK/kind-tests" --test-threads 1 --show-output "${FILTERS[@]}" || code=$?
  "$HERE/kind.sh" down --name "$1"
  return "$code"
}

# equip_kind NAME: the images, the operator's also by the name that the upgrade has; and GPUs that only a scheduler counts.
equip_kind() {
  local in=("$HERE/kind.sh" exec --name "$1") image=docker.io/library/inference-operator version node
  version=$(project_version)
  "$HERE/kind.sh" load --name "$1" "dist/inference-operator-$version-amd64.tar.zst" model-server || return
  for node in $("${in[@]}" kubectl get nodes -o 'jsonpath={.items[*].metadata.name}'); do
    "${in[@]}" docker exec "$node" ctr -n k8s.io images tag "$image:$version" "$image:next" &&
      "${in[@]}" kubectl label node "$node" nvidia.com/gpu.product=NVIDIA-L40S &&
      "${in[@]}" kubectl patch node "$node" --subresource status --type merge \
        -p '{"status": {"capacity": {"nvidia.com/gpu": "8"}}}' || return
  done
}

# finish LANE: waits for it and shows what it printed.
finish() {
  local lane=$1 code=0 result=passed tests
  wait "${RUNNING[$lane]}" || code=$?
  unset "RUNNING[$lane]"
  tests=$(sed -n -e 's/^test result: [a-zA-Z]*\. \([0-9]* passed; [0-9]* failed\).*/\1/p' \
    -e "s/^$lane: //p" "$WORK/$lane.log")
  tests=${tests//$'\n'/, and }
  if [ "$code" != 0 ]; then
    result="FAILED (exit code $code)"
  elif [[ ${tests:-0 passed} == "0 passed"* ]]; then
    result="FAILED: no test ran (filters: ${FILTERS[*]:-none})"
  fi
  [ "$result" = passed ] || FAILED+=("lane $lane")
  printf '\n--- lane %s ---\n' "$lane"
  cat "$WORK/$lane.log"
  say "lane $lane $result $(cat "$WORK/$lane.took" 2>/dev/null || true): ${tests:-no result}"
}

# Once more and last what failed in the lanes: the rest of their output is long.
echo_panics() {
  local lane
  for lane in "${LANES[@]}"; do
    [[ " ${FAILED[*]} " == *" lane $lane "* ]] || continue
    printf '\n--- lane %s: why it failed ---\n' "$lane"
    grep -E -A 4 '^thread .* panicked at ' "$WORK/$lane.log" | head -n 60 || tail -n 20 "$WORK/$lane.log"
  done
}

# clean_up CODE: a lane that is interrupted leaves operators and a cluster, so its group is ended, then its cluster.
clean_up() {
  local lane
  trap '' HUP INT TERM
  [ "$1" -le 128 ] || { echo && say "interrupted: ending what was started"; } >&2 # below the terminal's ^C
  for lane in "${!RUNNING[@]}"; do
    kill -TERM -- "-${RUNNING[$lane]}" 2>/dev/null || true
  done
  for lane in "${!RUNNING[@]}"; do
    wait "${RUNNING[$lane]}" 2>/dev/null || true
    if [[ $lane =~ ^(node|engine)$ ]]; then "$HERE/node.sh" down --name "test-$$-$lane" || true; fi
    [ "$lane" != kind ] || "$HERE/kind.sh" down --name "test-$$-$lane" || true
    "$HERE/cluster.sh" down --name "test-$$-$lane" || true
  done
  rm -rf "$WORK"
}

main "$@"
