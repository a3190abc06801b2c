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
#   EROFS_PEERS     where bin/mkfs.erofs is (default: fetched to target/peers)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
cd "$here/.."
# shellcheck source=tools/beside.sh
source tools/beside.sh
# shellcheck source=benches/measure.sh
source benches/measure.sh

runs=${1:-5}
[ "$runs" -ge 5 ] 2>/dev/null || die "RUNS: found $runs, want a number of at least 5"
read -ra trees <<<"${EROFS_TREES:-tf linux debian}"
prepare compare
tools=(mkfs-erofs mkfs.erofs tar cp)

# Makes output $2 of tree $1 with tool $3.
make() {
    local tree=$1 out=$2
    case $3 in
    mkfs-erofs) "$EROFS_MKFS" --quiet "--ishare-key=$key" "$out" "$tree" ;;
    mkfs.erofs) "$peers/bin/mkfs.erofs" --quiet "--xattr-inode-digest=$key" "$out" "$tree" ;;
    tar) tar --create --file "$out" --directory "$tree" . ;;
    cp) cp --archive "$tree" "$out" ;;
    esac
}

export -f make
export EROFS_MKFS peers key

# Measures tool $2 on tree $1.
once() {
    measure "$work/$1.$2" "$work/out" bash -c 'make "$@"' make "$corpora/$1" "$work/out" "$2"
}

largest=$(du --summarize --block-size=1M "${trees[@]/#/$corpora/}" | sort -rn | head -n 1 | cut -f 1)
touch_memory "$work/touch" "$((largest + 256))"

for tree in "${trees[@]}"; do
    for tool in "${tools[@]}"; do once "$tree" "$tool"; done
    rm "$work/$tree".*
    for ((round = 0; round < runs; round++)); do
        for ((at = 0; at < ${#tools[@]}; at++)); do
            if ((round % 2)); then once "$tree" "${tools[${#tools[@]} - 1 - at]}"; else once "$tree" "${tools[at]}"; fi
        done
    done
done

printf '%s; %s; %s; medians of %s rounds\n\n' \
    "$(machine)" "$("$EROFS_MKFS" --version | head -n 1)" "$(peers_version)" "$runs"
printf '| tree | tool | wall s | ratio | user+sys s | peak MB | bytes |\n|---|---|--:|--:|--:|--:|--:|\n'
for tree in "${trees[@]}"; do
    for tool in "${tools[@]}"; do
        log=$work/$tree.$tool
        printf '| %s | %s | %.2f | %.2f | %.2f | %.0f | %s |\n' "$tree" "${tool/#cp/cp -a}" "$(median 1 <"$log")" \
            "$(ratio "$log" "$work/$tree.mkfs.erofs" 1)" "$(median 2 <"$log")" "$(median 3 <"$log" | awk '{ print $1 / 1024 }')" "$(median 4 <"$log" |
                awk '{ printf "%.0f", $1 }')"
    done
done
