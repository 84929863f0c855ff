# shellcheck shell=bash
# Network, mount and process namespaces that end with their first process, and what is in them from the start.
# Sourced by ../node.sh and ../kind/engine.sh, and by what they run in there. Must never kill a process that is not
# surely such a first one of theirs.

# --- from outside ---

# begin_namespaces COMMAND...: runs it as their first process, and returns when that has made the file $DIR/ready.
begin_namespaces() {
  local unshared
  setsid unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
    "$@" </dev/null >"$DIR/logs/init.log" 2>&1 8>&- 9>&- &
  unshared=$!
  until [ -e "$DIR/ready" ]; do
    kill -0 "$unshared" 2>/dev/null || die "no namespaces: $(tail -n 1 "$DIR/logs/init.log")"
    sleep 0.05
  done
  tr -d ' ' <"/proc/$unshared/task/$unshared/children" >"$DIR/init"
}

namespaces_are_up() { [ -s "$DIR/init" ] && [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$DIR/init")/cmdline") == *"$DIR"* ]]; }

end_namespaces() {
  local init
  namespaces_are_up || return 0
  init=$(cat "$DIR/init")
  kill -KILL "$init"
  while [ -d "/proc/$init" ]; do sleep 0.05; done
}

in_namespaces() { nsenter --target "$(cat "$DIR/init")" --net --mount --pid -- "$@"; }

# --- inside ---

# A pair of devices, both here: an address that is not loopback and a way out that leads nowhere.
set_up_network() {
  ip link set lo up
  ip link add name edge0 type veth peer name edge1
  ip address add "$1/24" dev edge0
  ip link set edge0 up
  ip link set edge1 up
  ip route add default via "${1%.*}.254"
}

# cover_folders FOLDER...: folders that programs use wherever they are told to put theirs are empty ones, gone with the
# namespaces.
cover_folders() {
  local folder
  for folder in "$@"; do
    make_folder "$folder"
    mount -t tmpfs tmpfs "$folder"
  done
}

# One that has to be there, on the machine itself. $DIR/folders says which to remove: that which another made as well, who
# leaves it while it is needed here.
make_folder() {
  if [ ! -d "$1" ] || grep -Fqsx "$1" "$RUN"/*.node/folders "$RUN"/*.kind/engine/folders; then
    mkdir -p "$1"
    echo "$1" >>"$DIR/folders"
  fi
}
