#!/usr/bin/env bash
# compare.sh [RUNS]: measure mkfs-erofs against mkfs.erofs, and against tar and cp -a, on three trees, in one run.
#
# Both builders give every file a SHA-256 fingerprint. Sources and outputs are in memory and warm; each output is removed
# before the next run. The tools take turns, in an order that changes from round to round, so that whatever else the machine
# does meets all of them alike. Printed are medians of RUNS rounds (at least and by default 5) as a Markdown table; the
# ratio is the median of the ratios to mkfs.erofs within a round.
#
#   EROFS_CORPORA   where the trees are made and kept (default /dev/shm/erofs-corpora)
#   EROFS_TREES     which of them to measure (default "tf linux debian")
#   EROFS_MKFS      the builder to measure (default: a release build of this workspace)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
# shellcheck source=tools/beside.sh
source tools/beside.sh

runs=${1:-5}
[ "$runs" -ge 5 ] 2>/dev/null || die "RUNS: found $runs, want a number of at least 5"
[ "$(id -u)" = 0 ] || die "trusted. attributes and cp -a need root"
corpora=${EROFS_CORPORA:-/dev/shm/erofs-corpora}
read -ra trees <<<"${EROFS_TREES:-tf linux debian}"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
key=trusted.erofs.fingerprint

# GNU time is what measures memory: a shell built-in knows only seconds.
if [ ! -x /usr/bin/time ]; then
    apt-get -qq update && apt-get -qq -y install time >/dev/null || die "cannot install GNU time"
fi
tools/erofs-utils.sh "$target/peers" >/dev/null
if [ -z "${EROFS_MKFS:-}" ]; then
    cargo build --release --quiet --bin mkfs-erofs
    EROFS_MKFS=$target/release/mkfs-erofs
fi
benches/corpora.sh "$corpora"

work=$(mktemp -d /dev/shm/erofs-compare-XXXXXX)
trap 'rm -rf "$work"' EXIT
tools=(mkfs-erofs mkfs.erofs tar cp)

# Makes output $2 of tree $1 with tool $3.
make() {
    local tree=$1 out=$2
    case $3 in
    mkfs-erofs) "$EROFS_MKFS" --quiet "--ishare-key=$key" "$out" "$tree" ;;
    mkfs.erofs) "$target/peers/bin/mkfs.erofs" --quiet "--xattr-inode-digest=$key" "$out" "$tree" ;;
    tar) tar --create --file "$out" --directory "$tree" . ;;
    cp) cp --archive "$tree" "$out" ;;
    esac
}

# Appends one line to the file of tree $1 and tool $2: wall and CPU seconds, peak KiB, bytes of the output.
measure() {
    local tree=$corpora/$1 out=$work/out log=$work/$1.$2 start end bytes
    export -f make
    export EROFS_MKFS target key
    start=${EPOCHREALTIME/,/.}
    /usr/bin/time -q -f '%U %S %M' -o "$work/cost" bash -c 'make "$@"' make "$tree" "$out" "$2" >/dev/null ||
        die "$2 failed on $1"
    end=${EPOCHREALTIME/,/.}
    bytes=$(du --summarize --apparent-size --block-size=1 "$out" | cut -f 1)
    rm -rf "$out"
    awk -v start="$start" -v end="$end" -v bytes="$bytes" \
        '{ printf "%.4f %.2f %d %d\n", end - start, $1 + $2, $3, bytes }' "$work/cost" >>"$log"
}

# The first use of memory is slow on some virtual machines, so as much as the largest output takes is used once before.
largest=$(du --summarize --block-size=1M "${trees[@]/#/$corpora/}" | sort -rn | head -n 1 | cut -f 1)
head -c "$((largest + 256))M" /dev/zero >"$work/touch"
rm "$work/touch"

for tree in "${trees[@]}"; do
    for tool in "${tools[@]}"; do measure "$tree" "$tool"; done
    rm "$work/$tree".*
    for ((round = 0; round < runs; round++)); do
        for ((at = 0; at < ${#tools[@]}; at++)); do
            if ((round % 2)); then measure "$tree" "${tools[${#tools[@]} - 1 - at]}"; else measure "$tree" "${tools[at]}"; fi
        done
    done
done

# median COLUMN < LINES
median() {
    awk -v column="$1" '{ print $column }' | sort -n | awk '{ value[NR] = $1 }
        END { middle = int((NR + 1) / 2); print NR % 2 ? value[middle] : (value[middle] + value[middle + 1]) / 2 }'
}

printf '%s, %s cores, Linux %s; %s; %s; medians of %s rounds\n\n' \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" \
    "$("$EROFS_MKFS" --version | head -n 1)" "$(cat "$target/peers/version")" "$runs"
printf '| tree | tool | wall s | ratio | user+sys s | peak MB | bytes |\n|---|---|--:|--:|--:|--:|--:|\n'
for tree in "${trees[@]}"; do
    for tool in "${tools[@]}"; do
        log=$work/$tree.$tool
        ratio=$(paste -d ' ' "$log" "$work/$tree.mkfs.erofs" | awk '{ print $1 / $5 }' | median 1)
        printf '| %s | %s | %.2f | %.2f | %.2f | %.0f | %s |\n' "$tree" "${tool/#cp/cp -a}" "$(median 1 <"$log")" \
            "$ratio" "$(median 2 <"$log")" "$(median 3 <"$log" | awk '{ print $1 / 1024 }')" "$(median 4 <"$log" |
                awk '{ printf "%.0f", $1 }')"
    done
done
