#!/usr/bin/env bash
# compress.sh [RUNS] [MODE...]: measure compressing with mkfs-erofs against mkfs.erofs, on three trees, in one run.
#
# A MODE is what stands behind -z, with words of -E behind a plus sign: lz4, zstd,3, lz4+dedupe. Both builders get the same
# mode, pclusters of 65,536 bytes and a SHA-256 fingerprint for every file, on all processors. Sources and outputs are in
# memory and warm. Printed are medians of RUNS rounds (default 3) as a Markdown table; ratios are ours to theirs, the median
# over the rounds.
#
#   EROFS_CORPORA   where the trees are made and kept (default /dev/shm/erofs-corpora)
#   EROFS_TREES     which of them to measure (default "tf linux debian")
#   EROFS_MKFS      the builder to measure (default: a release build of this workspace)
#   EROFS_PEERS     where bin/mkfs.erofs is (default: fetched to target/peers)
#   EROFS_PCLUSTER  another pcluster size
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
modes=("$@")
[ ${#modes[@]} -gt 0 ] || modes=(lz4 lz4hc,9 zstd,3 libdeflate,1 lzma,6 lz4+dedupe zstd,3+dedupe zstd,3+fragments zstd,3+48bit)
pcluster=${EROFS_PCLUSTER:-65536}
read -ra trees <<<"${EROFS_TREES:-tf linux debian}"
prepare compress

# Builds tree $1 in mode $2 with tool $3.
once() {
    local flags=("-z${2%%+*}" "-C$pcluster") log="$work/$1.$2.$3"
    case $2 in *+*) flags+=("-E${2#*+}") ;; esac
    case $3 in
    ours) measure "$log" "$work/out" "$EROFS_MKFS" --quiet "--ishare-key=$key" "${flags[@]}" "$work/out" "$corpora/$1" ;;
    theirs) measure "$log" "$work/out" "$peers/bin/mkfs.erofs" --quiet "--xattr-inode-digest=$key" "${flags[@]}" \
        "$work/out" "$corpora/$1" ;;
    esac
}

largest=$(du --summarize --block-size=1M "${trees[@]/#/$corpora/}" | sort -rn | head -n 1 | cut -f 1)
touch_memory "$work/touch" "$((largest + 256))"
printf '%s; %s; %s; -C%s, fingerprints; medians of %s rounds\n\n' "$(machine)" \
    "$("$EROFS_MKFS" --version | head -n 1)" "$(peers_version)" "$pcluster" "$runs"
printf '| mode | tree | wall s, ours / theirs | ratio | peak MB | image bytes | size ratio |\n|---|---|--:|--:|--:|--:|--:|\n'
for mode in "${modes[@]}"; do
    for tree in "${trees[@]}"; do
        for ((round = 0; round < runs; round++)); do
            if ((round % 2)); then order=(theirs ours); else order=(ours theirs); fi
            for tool in "${order[@]}"; do once "$tree" "$mode" "$tool"; done
        done
        ours=$work/$tree.$mode.ours theirs=$work/$tree.$mode.theirs
        megabytes() { median 3 <"$1" | awk '{ printf "%.0f", $1 / 1024 }'; }
        printf '| %s | %s | %.2f / %.2f | %.2f | %s / %s | %.0f / %.0f | %.4f |\n' "$mode" "$tree" \
            "$(median 1 <"$ours")" "$(median 1 <"$theirs")" "$(ratio "$ours" "$theirs" 1)" \
            "$(megabytes "$ours")" "$(megabytes "$theirs")" \
            "$(median 4 <"$ours")" "$(median 4 <"$theirs")" "$(ratio "$ours" "$theirs" 4)"
    done
done
