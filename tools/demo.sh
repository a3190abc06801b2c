#!/usr/bin/env bash
# demo.sh [IMAGE]: build an image from the tree in testdata/ and show what is in it.
#
# The image is IMAGE, or target/demo.img. As root on a kernel with EROFS, it is also mounted for a moment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
cd "$here/.."

target=${CARGO_TARGET_DIR:-target}
image=${1:-$target/demo.img}
key=trusted.erofs.fingerprint
show() { printf '\n$ %s\n' "$*"; }

printf 'Building; the first time takes a few minutes.\n'
cargo build --release
PATH=$(realpath "$target")/release:$PATH

show mkfs-erofs "--ishare-key=$key" "$image" testdata/tree
mkfs-erofs "--ishare-key=$key" "$image" testdata/tree

show erofs-ishare inspect "$image"
erofs-ishare inspect "$image"

show erofs-ishare ls --long --xattrs "$image" /usr/lib/app
erofs-ishare ls --long --xattrs "$image" /usr/lib/app

cat <<TEXT

What you see: every file that is not empty carries the digest of its content in the attribute $key.
Linux 7.0 and newer keep one copy in memory of files with the same digest, whichever image they come from.
TEXT

if [ "$(id -u)" != 0 ]; then
    printf 'As root, this script also mounts the image and reads the digests through the kernel.\n'
    exit 0
fi
point=$(mktemp -d)
trap 'umount "$point" 2>/dev/null; rmdir "$point"' EXIT
show mount -t erofs -o ro,loop "$image" "$point"
if ! mount -t erofs -o ro,loop "$image" "$point"; then
    printf 'This kernel does not mount EROFS, or there are no loop devices; the image is whole nevertheless.\n'
    exit 0
fi
digest() {
    if command -v getfattr >/dev/null; then
        getfattr --absolute-names --only-values --name "$key" "$1" | od -An -v -tx1 -j 7 | tr -d ' \n'
    elif command -v python3 >/dev/null; then
        python3 -c 'import os, sys; print(os.getxattr(sys.argv[1], sys.argv[2])[7:].hex(), end="")' "$1" "$key"
    fi
}
for file in usr/lib/app/core.bin usr/lib/app/plugins/core.bin etc/hostname; do
    printf '%s\n  attribute %s\n  sha256sum %s\n' "$file" "$(digest "$point/$file")" "$(sha256sum <"$point/$file" | cut -d ' ' -f 1)"
done
printf 'The kernel (Linux %s) mounts it. Two of these files are equal: the image holds one copy of their content.\n' "$(uname -r)"
