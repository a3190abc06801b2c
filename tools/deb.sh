#!/usr/bin/env bash
# deb.sh [--programs DIR] [--output DIR]: build the Debian packages.
#
#   mkfs-erofs_VERSION_ARCH.deb          both programs, manual pages, completions, documents
#   mkfs-erofs-compat_VERSION_all.deb    the name mkfs.erofs for mkfs-erofs, with its manual page; erofs-utils
#                                        stays installed, its program is then mkfs.erofs.distrib
#
# Options:
#   --programs DIR   take mkfs-erofs and erofs-ishare from DIR instead of building them for release
#   --output DIR     put the packages into DIR; by default target/deb
#
# The same programs give the same bytes: times are SOURCE_DATE_EPOCH or, without it, that of the last commit.
# DEBFULLNAME and DEBEMAIL name the maintainer. Needs dpkg-deb; with dpkg-shlibdeps (package dpkg-dev) the
# dependencies are those that it finds, else libc6 in the newest version that the programs ask for.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"

die() {
    printf 'deb.sh: %s\n' "$1" >&2
    exit 2
}

programs='' output=''
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$(realpath -e "${2:?deb.sh: --programs: want a directory}") ;;
    --output) output=$(realpath -m "${2:?deb.sh: --output: want a directory}") ;;
    *) die "found $1, want --programs DIR or --output DIR" ;;
    esac
    shift 2
done
command -v dpkg-deb >/dev/null || die 'dpkg-deb is not on this machine'
cd "$here/.."

target=${CARGO_TARGET_DIR:-target}
output=${output:-$(realpath -m "$target/deb")}
if [ -z "$programs" ]; then
    cargo build --release --locked --bin mkfs-erofs --bin erofs-ishare
    programs=$(realpath "$target/release")
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
maintainer="${DEBFULLNAME:-The erofs-ishare developers} <${DEBEMAIL:-mkfs-erofs@localhost}>"

umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$output" "$work/debian"

# compressed FILE DIR: FILE in DIR with gzip, without a name and a time.
compressed() {
    install -d "$2"
    gzip -9 --no-name <"$1" >"$2/${1##*/}.gz"
}

# dependencies: the packages with the libraries that the programs of mkfs-erofs are linked with.
dependencies() {
    local newest
    cd "$work"
    if command -v dpkg-shlibdeps >/dev/null; then
        : >debian/control
        dpkg-shlibdeps -O debian/mkfs-erofs/usr/bin/* | sed -n 's/^shlibs:Depends=//p'
    else
        newest=$(readelf --version-info debian/mkfs-erofs/usr/bin/* |
            grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
        printf 'libc6 (>= %s), libgcc-s1\n' "${newest#GLIBC_}"
    fi
}

# The licence of the project, with those of the crates in the programs.
copyright() {
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
    sed -n 's/^Copyright (c) /Copyright: /p' LICENSE-MIT
    printf 'License: Expat or Apache-2.0\n'
    printf 'Comment: The programs contain these Rust crates, with the licences that they state:\n'
    cargo tree --offline --locked --edges normal,no-proc-macro --prefix none --no-dedupe \
        --format '{p}|{l}' |
        sed -n 's/^\([^ ]*\) v\([^ |]*\)|/ \1 \2: /p' | LC_ALL=C sort -u
    printf '\nLicense: Expat\n'
    # The text begins two lines behind the copyright.
    sed '1,/^Copyright/d' LICENSE-MIT | sed '1d; s/^$/./; s/^/ /'
    printf '\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
}

# pack NAME ARCHITECTURE DEPENDS DESCRIPTION: makes a package of $work/debian/NAME. The description has a
# first line and a text.
pack() {
    local root=$work/debian/$1 file=$output/$1_${version}_$2.deb size
    size=$(find "$root" -type f -printf '%s\n' | awk '{ all += $1 } END { print int((all + 1023) / 1024) }')
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    cat >"$root/DEBIAN/control" <<TEXT
Package: $1
Version: $version
Architecture: $2
Maintainer: $maintainer
Installed-Size: $size
${3:+Depends: $3
}Section: admin
Priority: optional
Description: $4
TEXT
    dpkg-deb -Zxz --root-owner-group --build "$root" "$file" >/dev/null
    printf '%s\n' "$file"
}

main_package() {
    local root=$work/debian/mkfs-erofs share program depends
    share=$root/usr/share
    # dpkg-shlibdeps knows the root of a package by this folder.
    mkdir -p "$root/DEBIAN"
    for program in mkfs-erofs erofs-ishare; do
        install -D "$programs/$program" "$root/usr/bin/$program"
        install -m 644 -D "man/$program.bash" "$share/bash-completion/completions/$program"
        install -m 644 -D "man/_$program" "$share/zsh/vendor-completions/_$program"
        install -m 644 -D "man/$program.fish" "$share/fish/vendor_completions.d/$program.fish"
    done
    for page in man/*.1; do
        compressed "$page" "$share/man/man1"
    done
    install -m 644 -D -t "$share/doc/mkfs-erofs" README.md
    install -m 644 -D -t "$share/doc/mkfs-erofs/docs" docs/*.md
    gzip -9 --no-name <CHANGELOG.md >"$share/doc/mkfs-erofs/changelog.gz"
    copyright >"$share/doc/mkfs-erofs/copyright"
    depends=$(dependencies)
    pack mkfs-erofs "$(dpkg --print-architecture)" "$depends" \
        'EROFS images whose files share page cache
 mkfs-erofs builds EROFS images in which every file carries a fingerprint of its
 content, so that Linux keeps one copy in memory of files that many mounted
 images contain. erofs-ishare looks into such images without mounting them, and
 predicts, checks and measures what they share.'
}

# script NAME CASES OPERATION: a maintainer script that has dpkg-divert do OPERATION with both files, if its
# first argument is one of CASES.
script() {
    local name=$1 cases=$2 operation=$3
    cat >"$work/debian/mkfs-erofs-compat/DEBIAN/$name" <<TEXT
#!/bin/sh
# The files of erofs-utils make way for the links of this package, and come back with its removal.
set -e
case \$1 in
$cases)
    for name in bin/mkfs.erofs= share/man/man1/mkfs.erofs=.1.gz; do
        dpkg-divert --package mkfs-erofs-compat --rename $operation --quiet \\
            --divert "/usr/\${name%%=*}.distrib\${name#*=}" "/usr/\${name%%=*}\${name#*=}"
    done
    ;;
esac
TEXT
    chmod 755 "$work/debian/mkfs-erofs-compat/DEBIAN/$name"
}

compat_package() {
    local root=$work/debian/mkfs-erofs-compat
    mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/man/man1" "$root/usr/share/doc/mkfs-erofs-compat"
    ln -s mkfs-erofs "$root/usr/bin/mkfs.erofs"
    ln -s mkfs-erofs.1.gz "$root/usr/share/man/man1/mkfs.erofs.1.gz"
    cp "$work/debian/mkfs-erofs/usr/share/doc/mkfs-erofs/copyright" "$root/usr/share/doc/mkfs-erofs-compat"
    script preinst 'install | upgrade' --add
    script postrm 'remove | abort-install | disappear' --remove
    pack mkfs-erofs-compat all "mkfs-erofs (>= $version)" 'mkfs-erofs under the name mkfs.erofs
 This package gives mkfs-erofs the name mkfs.erofs, for programs and scripts that
 start it by that name. Where erofs-utils is installed, its program stays there
 as mkfs.erofs.distrib.'
}

main_package
compat_package
