#!/bin/sh
# tools/build.sh TARGET [CMAKE_OPTION...]: installs what is missing, configures, and builds TARGET into build/release.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
target=$1
shift
"$root/tools/setup.sh"
launcher=""
if command -v ccache >/dev/null; then launcher="-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"; fi
cmake -S "$root" -B "$root/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release $launcher "$@" >/dev/null
cmake --build "$root/build/release" --target "$target"
