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
mkdir -p "$new"
apt_beside_open "$new/apt" sid
apt_beside_fetch "$new/apt" erofs-utils
unpack_debs "$new/apt" "$new/root"

wrap_programs "$new" mkfs.erofs fsck.erofs dump.erofs
"$new/bin/mkfs.erofs" --version >"$new/version" 2>&1 || die "mkfs.erofs does not run: $(head -n 1 "$new/version")"
rm -rf "$new/apt"
"$new/bin/mkfs.erofs" --version 2>&1 | head -n 1 >"$new/version"
: >"$new/complete"
mv "$new" "$dir"
cat "$dir/version"
