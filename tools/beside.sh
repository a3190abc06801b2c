# shellcheck shell=bash
# beside.sh: fetch Debian packages beside the system. Sourced by the scripts of this folder and of benches/.
#
# Nothing is installed and no list of the system is touched: apt runs with lists, cache and an empty package status of
# its own. The mirror is the one that the machine's own apt configuration names, so that a machine which reaches its
# packages through a proxy or a local mirror keeps doing so.

# Prints one line on stderr and ends the script.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# Tries a command up to three times, because a mirror may be in the middle of an update.
retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        [ "$attempt" = 3 ] || sleep $((attempt * 2))
    done
    return 1
}

# Takes the lock of directory $1 for the rest of the script. A second script that wants the same directory waits, then
# finds it complete.
lock_dir() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1.lock"
    flock 9
}

# Prints the archive roots that the machine's apt is configured for, best candidate first. `--print-uris` works from
# the configuration alone, so it does not matter that a fresh machine has no lists.
archive_roots() {
    local empty
    empty=$(mktemp -d)
    mkdir -p "$empty/partial"
    apt-get -o Dir::State::Lists="$empty" update --print-uris 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/\([^/]*\)/InRelease'.*|\2 \1|p" |
        awk '$1 !~ /security|updates|backports/ && !seen[$2]++ { print $2 }'
    rm -rf "$empty"
}

# apt_beside_open WORK SUITE: prepares an apt of its own under WORK for one suite of the Debian archive and updates its
# lists. Sets APT, the options that every later apt call needs.
apt_beside_open() {
    local work=$1 suite=$2 root keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=''
    command -v apt-get >/dev/null || die "apt-get is not on this machine, so packages cannot be fetched"
    mkdir -p "$work"/{lists/partial,cache/archives/partial}
    : >"$work/status"
    [ -e "$keyring" ] && signed="[signed-by=$keyring] "
    APT=(-o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status"
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
        -o Acquire::Retries=1 -o Acquire::Languages=none -o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60
        -o APT::Install-Recommends=false -o Debug::NoLocking=true -qq)
    while read -r root; do
        printf 'deb %s%s %s main\n' "$signed" "$root" "$suite" >"$work/sources.list"
        if retry apt-get "${APT[@]}" --error-on=any update >"$work/update.log" 2>&1; then
            return 0
        fi
    done < <(archive_roots)
    [ -e "$work/update.log" ] || die "the apt configuration of this machine names no archive"
    die "no archive of this machine's apt configuration has the suite $suite: $(tail -n 1 "$work/update.log")"
}

# apt_beside_fetch WORK PACKAGE...: downloads the packages with everything they depend on to WORK/cache/archives.
apt_beside_fetch() {
    local work=$1
    shift
    retry apt-get "${APT[@]}" --download-only install "$@" >"$work/fetch.log" 2>&1 ||
        die "cannot download $*: $(grep -m 1 '^E:' "$work/fetch.log" || tail -n 1 "$work/fetch.log")"
}

# apt_beside_fetch_only WORK PACKAGE...: downloads just these packages, for those of which only the files are wanted.
apt_beside_fetch_only() {
    local work=$1
    shift
    (cd "$work/cache/archives" && retry apt-get "${APT[@]}" download "$@") >"$work/fetch.log" 2>&1 ||
        die "cannot download $*: $(grep -m 1 '^E:' "$work/fetch.log" || tail -n 1 "$work/fetch.log")"
}

# unpack_debs WORK ROOT: unpacks every downloaded package into ROOT. base-files comes first: it makes /bin, /lib and
# /sbin links into /usr, and a package unpacked before it would make them folders.
unpack_debs() {
    local work=$1 root=$2 deb
    mkdir -p "$root"
    for deb in "$work"/cache/archives/base-files_*.deb "$work"/cache/archives/*.deb; do
        [ -e "$deb" ] || continue
        dpkg-deb --extract "$deb" "$root" || die "cannot unpack ${deb##*/}"
    done
}

# wrap_programs DIR PROGRAM...: makes DIR/bin/PROGRAM for programs of the packages that were unpacked into DIR/root. The
# machine's own C library may be older than the one that they need, so they start through their own loader.
wrap_programs() {
    local dir=$1 loader libraries name program folder
    shift
    loader=$(cd "$dir/root" && find . -name 'ld-linux*.so.*' -o -name 'ld64.so.*' | head -n 1)
    [ -n "$loader" ] || die "the packages hold no dynamic loader for $(dpkg --print-architecture)"
    libraries=$(cd "$dir/root" && find . -name '*.so.*' -printf '%h\n' | sort -u)
    mkdir -p "$dir/bin"
    for name in "$@"; do
        program=$(cd "$dir/root" && find . -name "$name" -type f -perm -1 | head -n 1)
        [ -n "$program" ] || die "the packages hold no $name"
        {
            printf '#!/bin/sh\nroot=${0%%/*}/../root\nlibraries=\n'
            while read -r folder; do
                printf 'libraries=$libraries:$root/%s\n' "${folder#./}"
            done <<<"$libraries"
            printf 'exec "$root/%s" --library-path "${libraries#:}" "$root/%s" "$@"\n' "${loader#./}" "${program#./}"
        } >"$dir/bin/$name"
        chmod 755 "$dir/bin/$name"
    done
}

# programs_beside DIR PACKAGE PROGRAM...: leaves DIR/bin/PROGRAM, which run the newest programs that Debian has of a package with
# the libraries they were built with, and DIR/version, the first line that the first of them prints when `program_version` asks
# it. Nothing is installed. DIR appears whole or not at all, a second call finds it and does nothing, and calls at the same
# time wait for each other.
programs_beside() {
    local dir package=$2
    dir=$(realpath -m "$1")
    shift 2
    lock_dir "$dir"
    [ -e "$dir/complete" ] && return 0
    new=$dir.new
    trap 'rm -rf "$new"' EXIT
    rm -rf "$new" "$dir"
    mkdir -p "$new"
    apt_beside_open "$new/apt" sid
    apt_beside_fetch "$new/apt" "$package"
    unpack_debs "$new/apt" "$new/root"
    wrap_programs "$new" "$@"
    program_version "$new/bin/$1" >"$new/version"
    rm -rf "$new/apt"
    : >"$new/complete"
    mv "$new" "$dir"
    cat "$dir/version"
}
