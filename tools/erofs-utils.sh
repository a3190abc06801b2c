#!/usr/bin/env bash
# erofs-utils.sh DIR: fetch the newest erofs-utils that Debian has, beside the system.
#
# Leaves DIR/bin/{mkfs,fsck,dump}.erofs, which run the packaged programs with the libraries they were built with.
# Nothing is installed. DIR appears whole or not at all, a second call finds it and does nothing, and calls at the
# same time wait for each other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# = 1 ] || die "usage: erofs-utils.sh DIR"
dir=$(realpath -m "$1")
lock_dir "$dir"
[ -e "$dir/complete" ] && exit 0

new=$dir.new
trap 'rm -rf "$new"' EXIT
rm -rf "$new" "$dir"
mkdir -p "$new/bin"
apt_beside_open "$new/apt" sid
apt_beside_fetch "$new/apt" erofs-utils
unpack_debs "$new/apt" "$new/root"

# The machine's own C library may be older than the one that the programs need, so they start through their own loader.
loader=$(cd "$new/root" && find . -name 'ld-linux*.so.*' -o -name 'ld64.so.*' | head -n 1)
[ -n "$loader" ] || die "the packages hold no dynamic loader for $(dpkg --print-architecture)"
libraries=$(cd "$new/root" && find . -name '*.so.*' -printf '%h\n' | sort -u)
for tool in mkfs fsck dump; do
    program=$(cd "$new/root" && find . -name "$tool.erofs" -type f -perm -1 | head -n 1)
    [ -n "$program" ] || die "the package holds no $tool.erofs"
    {
        printf '#!/bin/sh\nroot=${0%%/*}/../root\nlibraries=\n'
        while read -r folder; do printf 'libraries=$libraries:$root/%s\n' "${folder#./}"; done <<<"$libraries"
        printf 'exec "$root/%s" --library-path "${libraries#:}" "$root/%s" "$@"\n' "${loader#./}" "${program#./}"
    } >"$new/bin/$tool.erofs"
    chmod 755 "$new/bin/$tool.erofs"
    "$new/bin/$tool.erofs" --version >"$new/version" 2>&1 || die "$tool.erofs does not run: $(head -n 1 "$new/version")"
done
rm -rf "$new/apt"
"$new/bin/mkfs.erofs" --version 2>&1 | head -n 1 >"$new/version"
: >"$new/complete"
mv "$new" "$dir"
cat "$dir/version"
