#!/usr/bin/env bash
# install.sh: install the programs as users do, each way from a copy of what is committed, and try them.
#
#   with --locked, and without: the newest versions of the crates that Cargo.toml allows
#   with musl, linked statically, where rustup has the target and there is a C compiler for it
#
# A way that this machine lacks the means for is named at the end, and appended to the file that EROFS_ABSENT_LIST names,
# which tools/test.sh prints; with EROFS_INTEROP=require it is a failure. The programs are built without optimisation. Takes ten
# minutes and as many GiB in the target directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
--help | -h)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit 0
    ;;
esac

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/copy" "$work/tree"
git archive HEAD | tar -x -C "$work/copy"
printf 'hello\n' >"$work/tree/file"
absent=0

# try NAME ARGUMENT...: installs with these arguments of cargo, and builds and checks an image.
try() {
    local name=$1 root=$work/$1
    shift
    CARGO_TARGET_DIR=$target/install-$name cargo install --quiet --debug --path "$work/copy" --root "$root" --no-track "$@"
    "$root/bin/mkfs-erofs" --quiet -T0 --all-root --ishare-key "$work/$name.img" "$work/tree"
    "$root/bin/erofs-ishare" verify "$work/$name.img"
    cmp "$work/$name.img" "$work/locked.img"
    printf 'installed: %s\n' "$name"
}

# skip NAME REASON: names a way that could not be tried.
skip() {
    printf 'SKIPPED installing %s (absent: %s)\n' "$1" "$2" | tee -a "${EROFS_ABSENT_LIST:-/dev/null}" >&2
    absent=1
}

try locked --locked
try newest
machine=$(uname -m)
musl=$machine-unknown-linux-musl
if ! rustc --print target-libdir --target "$musl" 2>/dev/null | xargs -r test -d; then
    skip "with musl" "the target $musl: rustup target add $musl"
elif ! command -v musl-gcc "$machine-linux-musl-gcc" >/dev/null; then
    skip "with musl" "a C compiler for musl: package musl-tools"
else
    try static --locked --target "$musl"
    # A program with an interpreter is not static.
    if readelf --program-headers "$work/static/bin/mkfs-erofs" | grep -q INTERP; then
        printf 'the programs with musl are not static\n' >&2
        exit 1
    fi
fi
if [ "$absent" = 1 ] && [ "${EROFS_INTEROP:-}" = require ]; then
    exit 1
fi
