# measure.sh: what the scripts that compare builders have in common. To be sourced, behind tools/beside.sh.
#
# Sources and outputs are in memory and warm; each output is removed before the next run. Tools take turns, in an order that
# changes from round to round, so that whatever else the machine does meets all of them alike.

# prepare NAME: what every comparison of builders needs: peers, trees and a folder in memory. Sets target, peers, key,
# corpora, work and EROFS_MKFS; the folder is removed when the script ends.
prepare() {
    [ "$(id -u)" = 0 ] || die "trusted. attributes and mounts need root"
    corpora=${EROFS_CORPORA:-/dev/shm/erofs-corpora}
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    key=trusted.erofs.fingerprint
    need_time
    peers=${EROFS_PEERS:-$target/peers}
    [ -n "${EROFS_PEERS:-}" ] || tools/erofs-utils.sh "$peers" >/dev/null
    if [ -z "${EROFS_MKFS:-}" ]; then
        cargo build --release --quiet --bin mkfs-erofs
        EROFS_MKFS=$target/release/mkfs-erofs
    fi
    benches/corpora.sh "$corpora"
    work=$(mktemp -d "/dev/shm/erofs-$1-XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# peers_version: which mkfs.erofs it is.
peers_version() {
    cat "$peers/version" 2>/dev/null || "$peers/bin/mkfs.erofs" --version 2>&1 | head -n 1
}

# need_time: GNU time is what measures memory; a shell built-in knows only seconds.
need_time() {
    [ -x /usr/bin/time ] || die "GNU time is not on this machine: install the package time"
}

# measure LOG OUT COMMAND...: runs the command, which makes OUT, and appends a line to LOG: wall and CPU seconds, peak KiB,
# bytes of the output. With keep=yes OUT stays.
measure() {
    local log=$1 out=$2 start end bytes
    shift 2
    start=${EPOCHREALTIME/,/.}
    /usr/bin/time -q -f '%U %S %M' -o "$log.cost" "$@" >/dev/null || die "failed: $*"
    end=${EPOCHREALTIME/,/.}
    bytes=$(du --summarize --apparent-size --block-size=1 "$out" | cut -f 1)
    [ "${keep:-no}" = yes ] || rm -rf "$out"
    awk -v start="$start" -v end="$end" -v bytes="$bytes" \
        '{ printf "%.4f %.2f %d %d\n", end - start, $1 + $2, $3, bytes }' "$log.cost" >>"$log"
}

# touch_memory FILE MIB: the first use of memory is slow on some virtual machines, so as much as is needed later is used once.
touch_memory() {
    head -c "$2M" /dev/zero >"$1"
    rm "$1"
}

# median COLUMN < LINES
median() {
    awk -v column="$1" '{ print $column }' | sort -n | awk '{ value[NR] = $1 }
        END { middle = int((NR + 1) / 2); print NR % 2 ? value[middle] : (value[middle] + value[middle + 1]) / 2 }'
}

# ratio LOG OTHER COLUMN: the median of the ratios within each round.
ratio() {
    paste -d ' ' "$1" "$2" | awk -v column="$3" '{ print $column / $(column + 4) }' | median 1
}

# machine: what the figures were measured on.
machine() {
    printf '%s, %s cores, Linux %s' "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)"
}
