#!/usr/bin/env bash
# lab.sh SCENARIO.toml... [OPTION...]: run scenarios of page cache sharing on a real kernel and print what they cost.
# lab.sh conformance [OPTION...]: run those of testdata/scenarios on a real kernel and in the model, and compare; with
#                                 `--write docs/conformance.md` make the table of all rows anew.
#
# Fetches a kernel beside the system (tools/kernel.sh) and starts it in a virtual machine, emulated in software. The
# arguments are those of `erofs-lab run` and `erofs-lab conformance`. Needs the program qemu-system-x86_64 (Debian: the
# package qemu-system-x86).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

[ $# -gt 0 ] || die "usage: lab.sh SCENARIO.toml... [--json] [--memory MIB] [--timeout SECONDS], or: lab.sh conformance"
command -v qemu-system-x86_64 >/dev/null ||
    die "qemu-system-x86_64 is not on this machine: install the package qemu-system-x86"
root=$(realpath "$here/..")
target=${CARGO_TARGET_DIR:-$root/target}
# Paths of scenarios are relative to the caller's directory, so it is not left.
cargo build --quiet --release --manifest-path "$root/Cargo.toml" --package erofs-lab
if [ "$1" != conformance ]; then
    exec "$target/release/erofs-lab" run --dir "$target/lab" "$@"
fi
shift
cargo build --quiet --release --manifest-path "$root/Cargo.toml" --package mkfs-erofs --bin mkfs-erofs
if [ -z "${EROFS_PEERS:-}" ]; then
    EROFS_PEERS=$target/peers
    "$here/erofs-utils.sh" "$EROFS_PEERS"
fi
exec "$target/release/erofs-lab" conformance --dir "$target/lab" --mkfs "$target/release/mkfs-erofs" \
    --peer "$EROFS_PEERS/bin/mkfs.erofs" "$root/testdata/scenarios" "$@"
