#!/usr/bin/env bash
# squashfs-tools.sh DIR: fetch the newest squashfs-tools that Debian has, beside the system: DIR/bin/mksquashfs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# = 1 ] || die "usage: squashfs-tools.sh DIR"

# mksquashfs says its version and ends with an error code.
program_version() {
    local version
    version=$("$1" -version 2>&1 | head -n 1 || true)
    [[ $version == "mksquashfs version "* ]] || die "mksquashfs does not run: $version"
    printf '%s\n' "$version"
}

programs_beside "$1" squashfs-tools mksquashfs
