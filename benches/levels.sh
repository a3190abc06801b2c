#!/usr/bin/env bash
# levels.sh [RUNS] [LINE...]: what each level costs and what it saves: mkfs-erofs, mkfs.erofs and mksquashfs on one tree.
#
# A LINE is the tool (ours, theirs or squashfs), a colon, and its compression: for the first two as benches/compress.sh
# has it (zstd,3+48bit), for the third ALGORITHM,LEVEL. Pclusters have 65,536 bytes, squashfs blocks 131,072, its default.
# The builders of EROFS write a SHA-256 fingerprint for every file. Reading is the time to read every file of the mounted
# image once, on one processor, with cold caches. All is in memory; printed are medians of RUNS rounds (default 3).
#
#   EROFS_CORPORA   where the trees are made and kept (default /dev/shm/erofs-corpora)
#   EROFS_TREE      the tree to measure (default debian)
#   EROFS_MKFS      the builder to measure (default: a release build of this workspace)
#   EROFS_PEERS     where bin/mkfs.erofs is (default: fetched to target/peers)
#   EROFS_CACHES    warm: read with warm caches, and leave those of the machine alone
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
cd "$here/.."
# shellcheck source=tools/beside.sh
source tools/beside.sh
# shellcheck source=benches/measure.sh
source benches/measure.sh

runs=${1:-3}
[ "$runs" -ge 1 ] 2>/dev/null || die "RUNS: found $runs, want a number of at least 1"
shift $(($# > 0))
lines=("$@")
[ ${#lines[@]} -gt 0 ] || lines=(ours:lz4 theirs:lz4 ours:lz4hc,9 theirs:lz4hc,9 ours:zstd,1 theirs:zstd,1
    ours:zstd,3 theirs:zstd,3 squashfs:zstd,3 ours:zstd,6 ours:zstd,9 theirs:zstd,9 squashfs:zstd,9
    ours:zstd,3+48bit ours:zstd,3+fragments theirs:zstd,3+fragments ours:zstd,9+fragments ours:zstd,9+48bit
    ours:zstd,12 ours:zstd,12+48bit ours:zstd,12+fragments ours:zstd,15+fragments squashfs:zstd,15 ours:zstd,19+fragments
    ours:libdeflate,6 theirs:libdeflate,6 squashfs:gzip,6 ours:lzma,6 theirs:lzma,6 squashfs:xz)
tree=${EROFS_TREE:-debian}
prepare levels
squashfs=
case " ${lines[*]}" in *' squashfs:'*)
    tools/squashfs-tools.sh "$target/squashfs" >/dev/null
    squashfs="$(cat "$target/squashfs/version"); "
    ;;
esac
trap 'mountpoint -q "$work/mnt" && umount "$work/mnt"; rm -rf "$work"' EXIT
mkdir "$work/mnt"

# Builds the tree by line $1 into $2.
build() {
    local mode=${1#*:} flags
    flags=("-z${mode%%+*}" -C65536)
    case $mode in *+*) flags+=("-E${mode#*+}") ;; esac
    case ${1%%:*} in
    ours) measure "$work/$1" "$2" "$EROFS_MKFS" --quiet "--ishare-key=$key" "${flags[@]}" "$2" "$corpora/$tree" ;;
    theirs) measure "$work/$1" "$2" "$peers/bin/mkfs.erofs" --quiet "--xattr-inode-digest=$key" "${flags[@]}" \
        "$2" "$corpora/$tree" ;;
    squashfs)
        flags=(-comp "${mode%%,*}")
        case $mode in *,*) flags+=(-Xcompression-level "${mode#*,}") ;; esac
        measure "$work/$1" "$2" "$target/squashfs/bin/mksquashfs" "$corpora/$tree" "$2" "${flags[@]}" -noappend -quiet -no-progress
        ;;
    *) die "$1: found the tool ${1%%:*}, want ours, theirs or squashfs" ;;
    esac
}

# Reads every file of image $2 of line $1 with cold caches and appends the seconds; a dash where this kernel cannot mount it.
read_all() {
    local type=erofs start end
    case $1 in squashfs:*) type=squashfs ;; esac
    if ! mount -t "$type" -o ro,loop "$2" "$work/mnt" 2>/dev/null; then
        echo - >>"$work/$1.read"
        return
    fi
    if [ "${EROFS_CACHES:-cold}" != warm ]; then
        sync
        echo 3 >/proc/sys/vm/drop_caches
    fi
    start=${EPOCHREALTIME/,/.}
    find "$work/mnt" -type f -exec cat {} + >/dev/null
    end=${EPOCHREALTIME/,/.}
    umount "$work/mnt"
    awk -v start="$start" -v end="$end" 'BEGIN { printf "%.3f\n", end - start }' >>"$work/$1.read"
}

touch_memory "$work/touch" "$(($(du --summarize --block-size=1M "$corpora/$tree" | cut -f 1) + 256))"
printf '%s; %s; %s; %sthe %s tree; medians of %s rounds\n\n' "$(machine)" "$("$EROFS_MKFS" --version | head -n 1)" \
    "$(peers_version)" "$squashfs" "$tree" "$runs"
printf '| tool | compression | wall s | image MB | peak MB | reading s |\n|---|---|--:|--:|--:|--:|\n'
for line in "${lines[@]}"; do
    for ((round = 0; round < runs; round++)); do
        keep=yes build "$line" "$work/out"
        read_all "$line" "$work/out"
        rm "$work/out"
    done
    log=$work/$line
    reading=$(median 1 <"$log.read")
    printf '| %s | %s | %.2f | %.1f | %.0f | %s |\n' "${line%%:*}" "${line#*:}" "$(median 1 <"$log")" \
        "$(median 4 <"$log" | awk '{ print $1 / 1e6 }')" "$(median 3 <"$log" | awk '{ print $1 / 1024 }')" "$reading"
done
