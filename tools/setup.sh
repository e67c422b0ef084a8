#!/bin/sh
# Installs what octet needs to build, from Debian's packages, and nothing else. Works as root or with sudo; does not call apt-get
# when everything is there. The one place that lists the packages.
set -eu

packages="g++ cmake ninja-build git ca-certificates python3 libxbyak-dev libcpuinfo-dev libprotobuf-dev protobuf-compiler
libonnx-dev libonnx-testdata libgtest-dev libbenchmark-dev libcli11-dev nlohmann-json3-dev libfmt-dev libstb-dev"

missing=""
for package in $packages; do
  if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then
    missing="$missing $package"
  fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  sudo=""
elif command -v sudo >/dev/null; then
  sudo="sudo"
else
  echo "tools/setup.sh: not root and no sudo; as root: apt-get install$missing" >&2
  exit 1
fi
echo "tools/setup.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
