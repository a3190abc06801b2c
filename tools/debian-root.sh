#!/usr/bin/env bash
# debian-root.sh DIR: unpack a Debian root file system into DIR, for tests and measurements.
#
# The stable suite's required and important packages with everything they depend on, and a few larger ones, unpacked but
# not configured: about 340 MB and 13,000 paths with the owners, modes, links and times of real packages. DIR appears
# whole or not at all, a second call finds it and does nothing, and calls at the same time wait for each other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# = 1 ] || die "usage: debian-root.sh DIR"
[ "$(id -u)" = 0 ] || die "only root can unpack packages with their owners"
dir=$(realpath -m "$1")
lock_dir "$dir"
[ -e "$dir.complete" ] && [ -d "$dir" ] && exit 0

new=$dir.new
work=$dir.apt
trap 'rm -rf "$new" "$work"' EXIT
rm -rf "$new" "$work" "$dir"
apt_beside_open "$work" stable
mapfile -t packages < <(apt-get "${APT[@]}" indextargets --format '$(FILENAME)' 'Created-By: Packages' |
    while read -r list; do /usr/lib/apt/apt-helper cat-file "$list"; done |
    awk '/^Package:/ { name = $2 } /^(Priority: (required|important)|Essential: yes)$/ { print name }' | sort -u)
[ "${#packages[@]}" -gt 20 ] || die "the suite stable lists only ${#packages[@]} packages of a base system"
apt_beside_fetch "$work" "${packages[@]}" perl python3 git locales
unpack_debs "$work" "$new"
rm -rf "$work"
mv "$new" "$dir"
: >"$dir.complete"
