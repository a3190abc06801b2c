#!/bin/busybox sh
# The first program of the virtual machine of tests/verity.rs: has the kernel open hash trees, check signatures and mount in
# a domain. Each line that begins with RESULT is a name and what came of it. /dev/vda is the image with its tree behind it,
# /dev/vdb and those behind it the same with a bit flipped somewhere; the words of the command line of dm-verity are in
# /offset and /root.
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
mkdir -p /run/cryptsetup
while read -r module; do
    case $module in
        # The keyring for certificates has to be open until they are in.
        dm_verity.ko) insmod "/modules/$module" keyring_unsealed=1 ;;
        *) insmod "/modules/$module" ;;
    esac
done </modules/order
offset=$(cat /offset) root=$(cat /root)

# try NAME COMMAND...: tells whether the command succeeds.
try() {
    local name=$1
    shift
    if "$@"; then echo "RESULT $name yes"; else echo "RESULT $name no"; fi
}
# open DISK NAME [OPTION...]: opens the tree of a disk.
open() {
    local disk=$1 name=$2
    shift 2
    veritysetup open --hash-offset="$offset" "$@" "$disk" "$name" "$disk" "$root"
}
# content DISK: mounts an opened disk, reads everything, and unmounts it.
content() {
    mount -t erofs -o ro "/dev/mapper/$1" /mnt && tar -cf - -C /mnt . >/run/tar && status=0 || status=1
    umount /mnt
    return $status
}
# every NAME: reads every block of an opened disk.
every() {
    cat "/dev/mapper/$1" >/run/every
}
# whole DISK: opens it, and reads every block of its data.
whole() {
    open "$1" bad && every bad
}
try open open /dev/vda good
try read content good
try every-block every good
for disk in /dev/vd[b-z]; do
    # The tree may be refused, or the blocks that it covers.
    try "flipped-${disk#/dev/}" whole "$disk"
    veritysetup close bad
done
veritysetup close good
try without-certificates open /dev/vda early --root-hash-signature=/rsa.p7s
keyring=$((0x$(grep -F ' .dm-verity' /proc/keys | cut -d ' ' -f 1)))
for certificate in /*.der; do keyctl padd asymmetric '' $keyring <"$certificate"; done
keyctl restrict_keyring $keyring
for signature in rsa p256 p384 stranger; do
    try "$signature" open /dev/vda "$signature" --root-hash-signature=/$signature.p7s
    [ -e /dev/mapper/$signature ] && veritysetup close $signature
done
# shared: whether the mount is there, shares, and does not show the domain.
shared() {
    erofs-ishare domain mount --domain-file /domain -o nosuid /dev/vda /mnt && grep ' /mnt erofs ro,nosuid.*,inode_share ' /proc/mounts &&
        ! grep -F -f /domain /proc/mounts /proc/self/mountinfo
}
try domain shared
echo RESULT done yes
poweroff -f
