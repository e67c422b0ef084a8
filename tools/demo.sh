#!/bin/sh
# The main job, from a fresh checkout, with no download: the embedded digits model on its held-out images, then ResNet-50 with seeded
# weights, each in FP32 and INT8. Prints the tables, writes JSON and HTML, and says where. Arguments go to `octet bench`.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/tools/build.sh" octet_program >&2

octet="$root/build/release/tools/octet"
results="$root/build/demo"
mkdir -p "$results"
"$octet" bench "$root/tools/digits/digits.onnx" --data "$root/tools/digits/digits.json" \
  --json "$results/digits.json" --html "$results/digits.html" "$@"
echo
"$octet" bench zoo:resnet50 --json "$results/resnet50.json" --html "$results/resnet50.html" "$@"
echo
echo "written: $results/digits.json $results/digits.html $results/resnet50.json $results/resnet50.html"
