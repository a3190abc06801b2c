#!/usr/bin/env bash
# erofs-utils.sh DIR: fetch the newest erofs-utils that Debian has, beside the system: DIR/bin/{mkfs,fsck,dump}.erofs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# = 1 ] || die "usage: erofs-utils.sh DIR"

program_version() {
    "$1" --version 2>&1 | head -n 1 || die "${1##*/} does not run"
}

programs_beside "$1" erofs-utils mkfs.erofs fsck.erofs dump.erofs
