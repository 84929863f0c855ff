# shellcheck shell=bash
# What a node leaves outside of its namespaces, and how it is put back: cgroups, sysctls, places to mount on.
# Sourced by ../node.sh, inside.sh and ../kind/engine.sh. Must never remove a cgroup that is not the node's own.

# The kubelet's startup sets them for the whole machine (pkg/kubelet/cm, setupKernelTunables); the last two are systemd's,
# which runs in a node of kind's.
SYSCTLS=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes
  fs.file-max fs.nr_open)

# Where another cluster's kubelet has set them already, what that one has saved is the machine's own.
save_sysctls() {
  local name other
  for other in "$RUN"/*.node/sysctls "$RUN"/*.kind/engine/sysctls; do
    [ ! -f "$other" ] || { cp "$other" "$1" && return; }
  done
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

# Those that make_folder had to make; but for one that other namespaces have covered too: they would lose it.
remove_folders() {
  local folder
  [ -f "$1" ] || return 0
  while read -r folder; do
    grep -Fqs " $folder " /proc/[0-9]*/mounts || rmdir --ignore-fail-on-non-empty "$folder"
  done <"$1"
}

# Each hierarchy of cgroup v1 and the one of v2 beside them, where there is one; or the one of v2 alone.
hierarchies() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
  else
    awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts
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
