#!/usr/bin/env bash
# pairs.sh DIR [PAIR...]: how much page cache two neighbouring versions of real software share: measured on a real kernel,
# predicted by erofs-ishare, and written to docs/pairs.md when all pairs were made.
#
# Each version of a pair is an image of its own: the package with everything it depends on and the essential packages of
# its suite, unpacked and not configured, as the root of a container image would be. The older one comes from the suite
# as it was released, the newer one from the suite with its security updates. TensorFlow is the wheel alone. DIR keeps
# what was fetched and built; a second call makes only what is missing. Runs as root.
#
#   EROFS_PROGRAMS  a folder with mkfs-erofs, erofs-ishare and erofs-lab (default: release builds of this workspace)
#   EROFS_TABLE     the document to write (default docs/pairs.md)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
# shellcheck source=tools/beside.sh
source "$here/../tools/beside.sh"

[ $# -ge 1 ] || die "usage: pairs.sh DIR [PAIR...]"
[ "$(id -u)" = 0 ] || die "only root can unpack packages with their owners"
mkdir -p "$1"
dir=$(realpath "$1")
shift
root=$(realpath "$here/..")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
programs=${EROFS_PROGRAMS:-$target/release}
[ -n "${EROFS_PROGRAMS:-}" ] ||
    cargo build --quiet --release --manifest-path "$root/Cargo.toml" --package mkfs-erofs --package erofs-lab
mkfs=$programs/mkfs-erofs ishare=$programs/erofs-ishare lab=$programs/erofs-lab

# Name, packages, the suites of the older version, those of the newer one. Names of security suites stand with a `+`.
pairs=(
    "redis        redis-server                 bookworm  bookworm+"
    "postgres     postgresql-15                bookworm  bookworm+"
    "nginx        nginx                        bookworm  bookworm+"
    "mysql        mariadb-server               bookworm  bookworm+"
    "tomcat       tomcat10                     bookworm  bookworm+"
    "tensorflow   tensorflow                   2.11.0    2.11.1"
)

# security_root: the archive of security updates that the machine's apt configuration names.
security_root() {
    local empty
    empty=$(mktemp -d)
    mkdir -p "$empty/partial"
    apt-get -o Dir::State::Lists="$empty" update --print-uris 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/[^/]*-security/InRelease'.*|\1|p" | head -n 1
    rm -rf "$empty"
}

# open_suite SUITE: an apt of its own for a suite, with its security updates behind a `+`.
open_suite() {
    local work=$dir/apt-$1 suite=${1%+} security
    apt_beside_open "$work" "$suite"
    if [ "$suite" != "$1" ]; then
        security=$(security_root)
        [ -n "$security" ] || die "the apt configuration of this machine names no security updates"
        sed "s| $suite main|&|; s|\(.*\) [^ ]* $suite main|\1 $security $suite-security main|" "$work/sources.list" \
            >"$work/security.list"
        cat "$work/security.list" >>"$work/sources.list"
        retry apt-get "${APT[@]}" --error-on=any update >"$work/update.log" 2>&1 ||
            die "cannot update the lists of $1: $(tail -n 1 "$work/update.log")"
    fi
    mapfile -t ESSENTIAL < <(apt-get "${APT[@]}" indextargets --format '$(FILENAME)' 'Created-By: Packages' |
        while read -r list; do /usr/lib/apt/apt-helper cat-file "$list"; done |
        awk '/^Package:/ { name = $2 } /^Essential: yes$/ { print name }' | sort -u)
}

# tree PACKAGE SUITE TREE: unpacks a version; TREE.packages lists the packages in it.
tree() {
    local package=$1 suite=$2 tree=$3 work
    [ -e "$tree.packages" ] && return 0
    rm -rf "$tree"
    if [ "$package" = tensorflow ]; then
        retry python3 -m pip --quiet download --no-deps --python-version 3.10 --platform manylinux2014_x86_64 \
            --only-binary=:all: --dest "$tree.wheel" "$package==$suite" || die "cannot download $package $suite"
        python3 -m zipfile -e "$tree.wheel"/*.whl "$tree"
        rm -rf "$tree.wheel"
        printf '%s %s\n' "$package" "$suite" >"$tree.packages"
        return 0
    fi
    open_suite "$suite"
    work=$dir/apt-$suite
    rm -f "$work"/cache/archives/*.deb
    apt_beside_fetch "$work" "${ESSENTIAL[@]}" "$package"
    unpack_debs "$work" "$tree"
    for deb in "$work"/cache/archives/*.deb; do
        dpkg-deb --show --showformat='${Package} ${Version}\n' "$deb"
    done | sort >"$tree.packages.new"
    rm -f "$work"/cache/archives/*.deb
    mv "$tree.packages.new" "$tree.packages"
}

# measure NAME: reads everything of both images, without sharing and with it, on a real kernel; and predicts it.
measure() {
    local name=$1 mode options
    [ -e "$dir/$name/predicted.json" ] ||
        "$ishare" simulate --json --domain one "$dir/$name/old.img" "$dir/$name/new.img" >"$dir/$name/predicted.json"
    [ -e "$dir/$name/measured.json" ] && return 0
    for mode in private shared; do
        options=''
        [ "$mode" = private ] || options=', domain = "one"'
        cat >"$dir/$name/$mode.toml" <<TOML
title = "$mode"
event = [
  { do = "mount", mount = "old", image = "old"$options },
  { do = "mount", mount = "new", image = "new"$options },
  { do = "read-all", mount = "old" },
  { do = "read-all", mount = "new" },
]

[images]
old = "old.img"
new = "new.img"
TOML
    done
    "$lab" run --dir "$target/lab" --memory "${LAB_MEMORY:-8192}" --timeout 1800 --json \
        "$dir/$name/private.toml" "$dir/$name/shared.toml" >"$dir/$name/measured.new"
    mv "$dir/$name/measured.new" "$dir/$name/measured.json"
}

wanted=("$@")
is_wanted() {
    local name
    [ ${#wanted[@]} = 0 ] && return 0
    for name in "${wanted[@]}"; do [ "$name" = "$1" ] && return 0; done
    return 1
}

for pair in "${pairs[@]}"; do
    read -r name package old new <<<"$pair"
    is_wanted "$name" || continue
    mkdir -p "$dir/$name"
    for version in old new; do
        tree "$package" "${!version}" "$dir/$name/$version"
        image=$dir/$name/$version.img
        if [ ! -e "$image" ]; then
            "$mkfs" --quiet --ishare-key -T0 "$image.part" "$dir/$name/$version"
            mv "$image.part" "$image"
        fi
        rm -rf "$dir/$name/$version"
    done
    measure "$name"
done
python3 "$here/pairs-table.py" "$dir" "${EROFS_TABLE:-$root/docs/pairs.md}"
