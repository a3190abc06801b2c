#!/usr/bin/env bash
# deb-test.sh [--programs DIR]: build the Debian packages, install them, use them, and remove them.
#
# The programs are those in DIR, or in target/debug, where the tests have built them. Everything happens in a
# mount namespace, in which /usr and /var have a writable layer in memory: nothing of the machine changes,
# however the script ends. Checked are: equal packages from two runs; both programs; mkfs.erofs beside
# erofs-utils, or beside a stand-in for it where that is not installed, in both orders; that the original is
# back after the removal, and that no file, diversion or package stays.
#
# A machine that cannot do this is named on stderr and added to the file that EROFS_ABSENT_LIST names; with
# EROFS_INTEROP=require it is a failure. Needs root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"

die() {
    printf 'deb-test.sh: %s\n' "$1" >&2
    exit 1
}

# skip REASON: ends the script, because this machine cannot try it.
skip() {
    printf 'SKIPPED Debian packages (absent: %s)\n' "$1" | tee -a "${EROFS_ABSENT_LIST:-/dev/null}" >&2
    [ "${EROFS_INTEROP:-}" != require ] || exit 1
    exit 0
}

programs=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}/debug")
case ${1:-} in
'') ;;
--programs) programs=$(realpath -e "${2:?deb-test.sh: --programs: want a directory}") ;;
*) die "found $1, want --programs DIR" ;;
esac
for program in mkfs-erofs erofs-ishare; do
    [ -x "$programs/$program" ] || die "$programs/$program: found no program, want one"
    [ ! -e "/usr/bin/$program" ] || skip "a machine without $program in /usr/bin"
done
command -v dpkg >/dev/null || skip dpkg
[ "$(id -u)" = 0 ] || skip root
if [ -z "${EROFS_DEB_NAMESPACE:-}" ]; then
    unshare --mount true 2>/dev/null || skip 'mount namespaces'
    exec env EROFS_DEB_NAMESPACE=1 unshare --mount "$here/deb-test.sh" "$@"
fi

work=$(mktemp -d)
mount -t tmpfs tmpfs "$work"
trap 'umount --lazy "$work"; rmdir "$work"' EXIT
mkdir "$work"/{original,first,second,stand-in,tree}

# The packages are made before anything changes. Their compression is not looked at here.
export DPKG_DEB_COMPRESSOR_LEVEL=0
"$here/deb.sh" --programs "$programs" --output "$work/first"
"$here/deb.sh" --programs "$programs" --output "$work/second" >/dev/null
diff -r "$work/first" "$work/second" || die 'two runs made different packages'
main=$(echo "$work"/first/mkfs-erofs_*.deb)
compat=$(echo "$work"/first/mkfs-erofs-compat_*.deb)

mount --bind /usr "$work/original"
for directory in usr var; do
    mkdir -p "$work/layer/$directory" "$work/overlay/$directory"
    mount -t overlay overlay "/$directory" \
        -o "lowerdir=/$directory,upperdir=$work/layer/$directory,workdir=$work/overlay/$directory" ||
        skip "a file system of layers over /$directory"
done

install() { dpkg --install "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && die "dpkg --install $*"; }; }
purge() { dpkg --purge "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && die "dpkg --purge $*"; }; }

# What dpkg knows of packages and diversions.
known() {
    # shellcheck disable=SC2016 # dpkg-query's own variables
    dpkg-query --show --showformat '${binary:Package} ${Version} ${Status}\n'
    dpkg-divert --list
}

# is_ours, is_theirs: whose program the name mkfs.erofs starts.
is_ours() {
    [ "$(readlink /usr/bin/mkfs.erofs)" = mkfs-erofs ] &&
        [ "$(mkfs.erofs --version)" = "$(mkfs-erofs --as-mkfs-erofs --version)" ]
}
is_theirs() { cmp --quiet "$1" "$work/theirs"; }

known >"$work/known"
theirs=$(dpkg-query --search /usr/bin/mkfs.erofs 2>/dev/null | sed 's/:.*//') || theirs=''
if [ -z "$theirs" ]; then
    mkdir -p "$work"/stand-in/{DEBIAN,usr/bin,usr/share/man/man1}
    printf '#!/bin/sh\necho stand-in\n' >"$work/stand-in/usr/bin/mkfs.erofs"
    chmod 755 "$work/stand-in/usr/bin/mkfs.erofs"
    gzip --no-name <<<'stand-in' >"$work/stand-in/usr/share/man/man1/mkfs.erofs.1.gz"
    printf '%s\n' 'Package: erofs-utils-stand-in' 'Version: 1' 'Architecture: all' 'Description: stand-in' \
        'Maintainer: nobody <nobody@localhost>' >"$work/stand-in/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$work/stand-in" "$work/stand-in.deb" >/dev/null
    install "$work/stand-in.deb"
fi
cp /usr/bin/mkfs.erofs "$work/theirs"

install "$main"
is_theirs /usr/bin/mkfs.erofs || die 'mkfs-erofs alone takes the name mkfs.erofs'
install "$compat"
is_ours || die 'mkfs.erofs is not mkfs-erofs'
is_theirs /usr/bin/mkfs.erofs.distrib || die 'mkfs.erofs.distrib is not the program of erofs-utils'
printf 'hello\n' >"$work/tree/file"
mkfs.erofs --quiet "$work/image" "$work/tree"
erofs-ishare verify "$work/image"
[ "$(erofs-ishare cat "$work/image" /file)" = hello ] || die 'the image has another content'
install "$compat"
is_ours || die 'mkfs.erofs is not mkfs-erofs after the package was installed again'
if [ -z "$theirs" ]; then
    install "$work/stand-in.deb"
    is_ours || die 'mkfs.erofs is not mkfs-erofs after erofs-utils was installed again'
fi
purge mkfs-erofs-compat
is_theirs /usr/bin/mkfs.erofs || die 'the program of erofs-utils is not back'

# The other order: erofs-utils comes later.
if [ -z "$theirs" ]; then
    purge erofs-utils-stand-in
    install "$compat"
    is_ours || die 'mkfs.erofs is not mkfs-erofs without erofs-utils'
    install "$work/stand-in.deb"
    is_ours || die 'mkfs.erofs is not mkfs-erofs after erofs-utils was installed'
    purge mkfs-erofs-compat
    is_theirs /usr/bin/mkfs.erofs || die 'the program of erofs-utils that came later is not in its place'
    purge erofs-utils-stand-in
fi
purge mkfs-erofs

known | diff "$work/known" - || die 'dpkg knows of something that stayed'
cd "$work/layer/usr"
find . -mindepth 1 | while read -r path; do
    if [ -d "$path" ]; then
        [ -d "$work/original/$path" ]
    else
        [ -f "$path" ] && cmp --quiet "$path" "$work/original/$path"
    fi || die "/usr/${path#./}: stayed, or is not as it was"
done
printf 'Debian packages: installed, used and removed.\n'
