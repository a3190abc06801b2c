#!/usr/bin/env bash
# install.sh [WAY...]: install the programs with `cargo install` from a copy of the last commit, and try them.
#
# Ways, all of them by default:
#   locked   with --locked: the versions of Cargo.lock
#   newest   without --locked: the newest versions that Cargo.toml allows
#   musl     with --locked, linked statically with musl; needs the target (rustup target add) and a C compiler
#            for it
#
# Of each way, mkfs-erofs builds an image and erofs-ishare verifies it; all images must be equal. A way that
# this machine cannot try is named on stderr and added to the file that EROFS_ABSENT_LIST names; with
# EROFS_INTEROP=require it is a failure. The programs are built without optimisation, in the target directory.
# The first time a way takes up to ten minutes of CPU time.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
cd "$here/.."

ways=("$@")
[ ${#ways[@]} -gt 0 ] || ways=(locked newest musl)
for way in "${ways[@]}"; do
    case $way in
    locked | newest | musl) ;;
    *)
        printf 'install.sh: found %s, want locked, newest or musl\n' "$way" >&2
        exit 2
        ;;
    esac
done

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$target/install-copy
rm -rf "$copy"
mkdir -p "$copy" "$work/tree"
git archive HEAD | tar -x -C "$copy"
printf 'hello\n' >"$work/tree/file"
status=0

# try WAY ARGUMENT...: installs with these arguments of cargo, then builds and verifies an image.
try() {
    local way=$1 root=$work/$1
    shift
    # What the tests have compiled of other crates is used again.
    CARGO_TARGET_DIR=$target \
        cargo install --quiet --debug --path "$copy" --root "$root" --no-track "$@"
    "$root/bin/mkfs-erofs" --quiet -T0 --all-root --ishare-key "$work/$way.img" "$work/tree"
    "$root/bin/erofs-ishare" verify "$work/$way.img"
    [ -e "$work/first.img" ] || cp "$work/$way.img" "$work/first.img"
    cmp "$work/$way.img" "$work/first.img"
    printf 'installed: %s\n' "$way"
}

# skip WAY REASON: names a way that this machine cannot try.
skip() {
    printf 'SKIPPED installing, %s (absent: %s)\n' "$1" "$2" | tee -a "${EROFS_ABSENT_LIST:-/dev/null}" >&2
    [ "${EROFS_INTEROP:-}" != require ] || status=1
}

# Installs with musl, if the target and a C compiler for it are there.
try_musl() {
    local machine musl libraries
    machine=$(uname -m)
    musl=$machine-unknown-linux-musl
    libraries=$(rustc --print target-libdir --target "$musl" 2>/dev/null) || libraries=
    if [ ! -d "$libraries" ]; then
        skip musl "the target $musl: rustup target add $musl"
    elif ! command -v musl-gcc >/dev/null && ! command -v "$machine-linux-musl-gcc" >/dev/null; then
        skip musl 'a C compiler for musl: package musl-tools'
    else
        try musl --locked --target "$musl"
        # A static program names no interpreter.
        if readelf --program-headers "$work/musl/bin/mkfs-erofs" | grep -q INTERP; then
            printf 'install.sh: mkfs-erofs with musl is not static\n' >&2
            status=1
        fi
    fi
}

for way in "${ways[@]}"; do
    case $way in
    locked) try locked --locked ;;
    newest) try newest ;;
    musl) try_musl ;;
    esac
done
exit "$status"
