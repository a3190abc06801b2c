#!/usr/bin/env bash
# squashfs-tools.sh DIR: fetch the newest squashfs-tools that Debian has, beside the system.
#
# Leaves DIR/bin/mksquashfs. Nothing is installed. DIR appears whole or not at all, a second call finds it and does nothing,
# and calls at the same time wait for each other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# = 1 ] || die "usage: squashfs-tools.sh DIR"
dir=$(realpath -m "$1")
lock_dir "$dir"
[ -e "$dir/complete" ] && exit 0

new=$dir.new
trap 'rm -rf "$new"' EXIT
rm -rf "$new" "$dir"
mkdir -p "$new"
apt_beside_open "$new/apt" sid
apt_beside_fetch "$new/apt" squashfs-tools
unpack_debs "$new/apt" "$new/root"
wrap_programs "$new" mksquashfs
# mksquashfs says its version and ends with an error code.
version=$("$new/bin/mksquashfs" -version 2>&1 | head -n 1 || true)
[[ $version == "mksquashfs version "* ]] || die "mksquashfs does not run: $version"
printf '%s\n' "$version" >"$new/version"
rm -rf "$new/apt"
: >"$new/complete"
mv "$new" "$dir"
cat "$dir/version"
