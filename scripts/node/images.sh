# shellcheck shell=bash
# The images of a node, made FROM scratch, and how images get into its container runtime.
# Sourced by inside.sh. Must never pull anything.

make_images() {
  musl-gcc -static -Os -s -o "$DIR/pause" "$HERE/control-plane/images/pause.c"
  mkdir -p "$DIR/images"
  scratch_image pause "$DIR/pause"
  scratch_image coredns "$IMAGES_BIN/coredns"
  scratch_image model-server "$IMAGES_BIN/model-server"
  rm -rf "$DIR/image-store"
}

# scratch_image NAME PROGRAM
scratch_image() {
  local name=$1
  scratch_archive "$DIR/image-store" "$name" "$2" "/$name" "$DIR/images/$name.tar" >"$DIR/logs/image-$name.log" 2>&1 ||
    die "no image $name: $(tail -n 1 "$DIR/logs/image-$name.log")"
}

# From standard input.
import_images() { runtime_ctl images import --all-platforms - >/dev/null; }

runtime_ctl() { ctr --address "$DIR/containerd/containerd.sock" --namespace k8s.io "$@"; }
