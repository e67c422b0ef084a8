#!/bin/sh
# Installs, configures and builds into build/release; further arguments go to cmake. Prints nothing but progress.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/tools/setup.sh"
launcher=""
if command -v ccache >/dev/null; then launcher="-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"; fi
cmake -S "$root" -B "$root/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release $launcher "$@" >/dev/null
cmake --build "$root/build/release"
