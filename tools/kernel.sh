#!/usr/bin/env bash
# kernel.sh DIR: fetch the newest Debian cloud kernel, which shares page cache between EROFS images, beside the system.
#
# Leaves in DIR:
#   vmlinuz, config, version   the kernel, its configuration and its release
#   modules/*.ko               the modules that the kernel lab loads, with those they depend on, decompressed
#   modules/order              their file names, each after those that it depends on
#   busybox                    a static busybox, a program to start in a guest
# Nothing is installed. DIR appears whole or not at all, a second call finds it and does nothing, and calls at the
# same time wait for each other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/beside.sh
source "$here/beside.sh"

# What the kernel must be able to do, and the modules that the lab uses.
feature=CONFIG_EROFS_FS_PAGE_CACHE_SHARE
modules=(virtio_blk loop erofs overlay dm-mod dm-verity)

[ $# = 1 ] || die "usage: kernel.sh DIR"
dir=$(realpath -m "$1")
lock_dir "$dir"
# One that was fetched for other modules is fetched again.
[ "$(cat "$dir/complete" 2>/dev/null)" = "${modules[*]}" ] && exit 0
command -v xz >/dev/null || die "xz, which unpacks kernel modules, is not on this machine (package xz-utils)"

new=$dir.new
trap 'rm -rf "$new"' EXIT
rm -rf "$new" "$dir"
mkdir -p "$new/modules"
apt_beside_open "$new/apt" sid

# depends PACKAGE: the names of the packages that a package depends on.
depends() { apt-cache "${APT[@]}" depends "$1" | sed -n 's/^ *Depends: *\([a-z0-9].*\)/\1/p'; }

meta=linux-image-cloud-$(dpkg --print-architecture)
image=$(depends "$meta" | grep -m 1 '^linux-image-[0-9]') || die "the suite sid has no kernel $meta"
release=${image#linux-image-}
# The files of a kernel are in the package itself or in those that carry the same release in their names.
mapfile -t parts < <(depends "$image" | grep -F -- "-$release" || true)
apt_beside_fetch_only "$new/apt" "$image" "${parts[@]}" busybox-static
unpack_debs "$new/apt" "$new/root"

# first NAME...: the first of these files that the packages hold.
first() {
    local name
    for name in "$@"; do
        [ -e "$new/root/$name" ] && printf '%s\n' "$new/root/$name" && return 0
    done
    die "the packages of $release hold none of: $*"
}
cp "$(first "boot/vmlinuz-$release" "usr/lib/modules/$release/vmlinuz")" "$new/vmlinuz"
cp "$(first "boot/config-$release" "usr/lib/modules/$release/config")" "$new/config"
cp "$(first usr/bin/busybox bin/busybox)" "$new/busybox"
printf '%s\n' "$release" >"$new/version"
grep -q "^$feature=y" "$new/config" || die "the kernel $release is built without $feature"

tree=$(first "usr/lib/modules/$release/kernel" "lib/modules/$release/kernel")
declare -A known=()
# add MODULE: unpacks a module after those that it depends on. One that is built into the kernel has no file.
add() {
    local name=${1//-/_} file need
    [ -z "${known[$name]:-}" ] || return 0
    known[$name]=1
    file=$(find "$tree" -name "${name//_/[-_]}.ko*" | head -n 1)
    [ -n "$file" ] || return 0
    case $file in
        *.xz) xz --decompress --stdout "$file" >"$new/modules/$name.ko" ;;
        *.ko) cp "$file" "$new/modules/$name.ko" ;;
        *) die "the module ${file##*/} is compressed in an unknown way" ;;
    esac
    for need in $(tr '\0' '\n' <"$new/modules/$name.ko" | sed -n 's/^depends=//p' | head -n 1 | tr , ' '); do
        add "$need"
    done
    printf '%s\n' "$name.ko" >>"$new/modules/order"
}
for module in "${modules[@]}"; do add "$module"; done
[ -e "$new/modules/erofs.ko" ] || grep -q '^CONFIG_EROFS_FS=y' "$new/config" ||
    die "the packages of $release hold no module erofs"

rm -rf "$new/apt" "$new/root"
printf '%s\n' "${modules[*]}" >"$new/complete"
mv "$new" "$dir"
cat "$dir/version"
