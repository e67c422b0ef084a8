#!/bin/sh
# All tests, from a fresh checkout: warnings are errors, tests run in parallel. Arguments go to ctest.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/tools/build.sh" all -DOCTET_WERROR=ON -DOCTET_BUILD_TESTS=ON -DOCTET_BUILD_BENCH=ON
exec ctest --test-dir "$root/build/release" --parallel "$(nproc)" --output-on-failure "$@"
