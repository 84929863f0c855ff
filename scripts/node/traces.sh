# shellcheck shell=bash
# What a node leaves outside of its namespaces, and how it is put back: cgroups, sysctls, places to mount on.
# Sourced by ../node.sh. Must never remove a cgroup that is not the node's own.

# The kubelet's startup sets them for the whole machine (pkg/kubelet/cm, setupKernelTunables).
SYSCTLS=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)

save_sysctls() {
  local name
  for name in "${SYSCTLS[@]}"; do
    echo "$name $(cat "/proc/sys/${name//.//}")"
  done >"$1"
}

restore_sysctls() {
  local name value
  [ -f "$1" ] || return 0
  while read -r name value; do
    [ "$(cat "/proc/sys/${name//.//}")" = "$value" ] || echo "$value" >"/proc/sys/${name//.//}"
  done <"$1"
}

# Those that inside.sh had to make.
remove_folders() {
  [ ! -f "$1" ] || xargs rmdir --ignore-fail-on-non-empty <"$1"
}

# Each hierarchy of cgroup v1, or the one of v2.
hierarchies() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
  else
    awk '$3 == "cgroup" {print $2}' /proc/mounts
  fi
}

cgroup_of() { echo "inference-operator-$1"; }

# A root of its own for the kubelet, so that it can be told from another kubelet's.
make_cgroups() {
  local hierarchy group file
  for hierarchy in $(hierarchies); do
    group=$hierarchy/$(cgroup_of "$1")
    mkdir -p "$group"
    for file in cpuset.cpus cpuset.mems; do # empty in a new group of v1, which then takes no process
      if [ -f "$hierarchy/$file" ] && [ -f "$group/$file" ]; then cat "$hierarchy/$file" >"$group/$file"; fi
    done
  done
}

remove_cgroups() {
  local hierarchy group attempt
  for hierarchy in $(hierarchies); do
    group=$hierarchy/$(cgroup_of "$1")
    # What was killed a moment ago may still be counted in.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      [ "$attempt" = 10 ] || sleep 0.3
    done
    [ ! -d "$group" ] || say "$group could not be removed"
  done
}
