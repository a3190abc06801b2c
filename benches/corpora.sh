#!/usr/bin/env bash
# corpora.sh DIR: make the three trees that compare.sh measures on, 3.6 GB in all; DIR is best in memory (/dev/shm).
#
#   DIR/tf      1.4 GB, 9,000 files: an unpacked release of TensorFlow, mostly one shared library of 1.05 GB
#   DIR/linux   1.8 GB, 101,000 paths: Debian's newest package of the Linux source
#   DIR/debian  340 MB, 13,000 paths: a Debian root file system
#
# Each tree appears whole or not at all; a second call finds them and does nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
# shellcheck source=tools/beside.sh
source "$here/../tools/beside.sh"

[ $# = 1 ] || die "usage: corpora.sh DIR"
mkdir -p "$1"
dir=$(realpath "$1")
lock_dir "$dir/trees"
work=$dir/work
trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir "$work"

# The release is pinned, because a comparison from one year to the next needs the same bytes.
tf() {
    local wheel
    retry python3 -m pip --quiet download --no-deps --python-version 3.10 --platform manylinux2014_x86_64 \
        --only-binary=:all: --dest "$work/wheel" tensorflow==2.11.0 || die "cannot download tensorflow 2.11.0"
    wheel=$(echo "$work"/wheel/*.whl)
    python3 -m zipfile -e "$wheel" "$work/tree"
    rm -rf "$work/wheel"
}

linux() {
    local package
    apt_beside_open "$work/apt" sid
    package=$(apt-cache "${APT[@]}" depends --no-recommends --no-suggests linux-source |
        sed -n 's/^ *Depends: \(linux-source-[0-9.]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || die "the package linux-source names no source package"
    apt_beside_fetch_only "$work/apt" "$package"
    mkdir "$work/tree"
    dpkg-deb --fsys-tarfile "$work/apt/cache/archives/$package"_*.deb |
        tar --extract --to-stdout --wildcards '*/linux-source-*.tar.xz' |
        tar --extract --xz --directory "$work/tree" --strip-components=1
    rm -rf "$work/apt"
}

debian() {
    "$here/../tools/debian-root.sh" "$dir/debian"
}

for tree in tf linux; do
    if [ ! -d "$dir/$tree" ]; then
        "$tree"
        mv "$work/tree" "$dir/$tree"
    fi
done
debian
