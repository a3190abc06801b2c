#!/bin/sh
# Fuzzes each target for SECONDS (60 if none are given), or only the targets named behind: fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs cargo with a stable Rust, and a C++ compiler for libFuzzer; no nightly and no cargo-fuzz, which works on this folder
# as well. Seeds are images made by the builder, and those in testdata/hostile; they and what is found stay in
# target/fuzz. Exit status: 0 nothing found, 1 something found, 3 the fuzzer cannot be built here.
set -eu

case ${1:-} in
-h | --help)
    awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
seconds=${1:-60}
[ $# -eq 0 ] || shift
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$target"
target=$(CDPATH= cd -- "$target" && pwd)
work=$target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
all="open_walk_read records dirent_block chunk_map compressed_map decoders encoders tar"

build() {
    # What `cargo fuzz build --sanitizer none` passes: coverage counters in every block, and comparisons as hints.
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
        CARGO_TARGET_DIR="$work/build" \
        cargo build --quiet --release --target "$host" --manifest-path "$root/fuzz/Cargo.toml"
}

seed() {
    (cd "$root" && CARGO_TARGET_DIR=$target cargo build --quiet --bin mkfs-erofs)
    tree=$work/tree
    rm -rf "$tree"
    mkdir -p "$tree/d/e" "$work/corpus/open_walk_read"
    printf 1 >"$tree/d/one"
    ln "$tree/d/one" "$tree/same"
    ln -s d/one "$tree/link"
    : >"$tree/empty"
    mkfifo "$tree/d/pipe"
    head -c 1300 /dev/zero | tr '\0' x >"$tree/d/e/block"
    cp "$tree/d/e/block" "$tree/d/e/copy"
    number=0
    while [ $number -lt 30 ]; do
        : >"$tree/d/e/name$number"
        number=$((number + 1))
    done
    number=0
    while IFS= read -r options; do
        # shellcheck disable=SC2086 # Several options stand on a line.
        "$target/debug/mkfs-erofs" --quiet -T0 $options "$work/corpus/open_walk_read/seed$number" "$tree"
        number=$((number + 1))
    done <<EOF
-b512
-b512 --ishare-key -x0
-b512 --ishare-key=trusted.fp --chunksize=4096 -Eforce-chunk-indexes
-b512 --chunksize=512 -Eforce-chunk-indexes
-b1024 --chunksize=1024 -x-1
-b512 -Eforce-inode-extended -E^inline_data
-b4096 --ishare-key
EOF
    cp "$root"/testdata/hostile/*.img "$work/corpus/open_walk_read/"
    # The maps and decoders of compressed files make their own: the first bytes say which form or algorithm it is.
    mkdir -p "$work/corpus/compressed_map" "$work/corpus/decoders"
    # 40,000 bytes in blocks of 4096: a full index, a compact one, and extent records of 16 bytes.
    entry='\001\000\000\000\020\000\000\000'
    printf "\\000\\003\\000\\100\\234\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000$entry$entry$entry$entry$entry$entry$entry$entry$entry$entry" \
        >"$work/corpus/compressed_map/full"
    printf "\\001\\003\\000\\100\\234\\000\\000\\000\\000\\000\\000\\000\\001\\000\\000\\000$entry$entry$entry$entry$entry$entry" \
        >"$work/corpus/compressed_map/compact"
    printf '\000\003\000\100\234\000\000\000\002\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000\000\020\000\020\000\000\001\000\000\000\000\000\000\000\000\000\000\020\000\040\000\000\002\000\000\000\000\000\000\120\000\000' \
        >"$work/corpus/compressed_map/records"
    # A byte of literals, of a stored block, of a raw block, and of LZMA.
    printf '\000\004\020x' >"$work/corpus/decoders/lz4"
    printf '\002\004\001\001\000\376\377x' >"$work/corpus/decoders/deflate"
    printf '\003\004\050\265\057\375\040\001\011\000\000x' >"$work/corpus/decoders/zstd"
    printf '\001\004\242\074\000\000\000\000' >"$work/corpus/decoders/lzma"
    # The first three bytes say algorithm, level and size; words and an image follow.
    mkdir -p "$work/corpus/encoders"
    for name in 0 2 4 6 7; do
        { printf "\\00$name\\011\\004" && head -qc 10000 "$root/docs/architecture.md" "$root/docs/layout-1.md" "$root/docs/usage.md" && head -c 20000 "$work/corpus/open_walk_read/seed5"; } \
            >"$work/corpus/encoders/text$name"
    done
    # The first byte says how the archive is read.
    mkdir -p "$work/corpus/tar"
    for format in v7 ustar gnu posix; do
        # The old format has no pipes.
        left=none && [ "$format" != v7 ] || left=pipe
        { printf '\003' && tar -cf - --format=$format --exclude=$left -C "$tree" .; } >"$work/corpus/tar/$format"
    done
    # The decoders of records see pieces of the same images: from the superblock, and from later 32-byte slots on.
    for name in records dirent_block chunk_map; do
        mkdir -p "$work/corpus/$name"
        for slot in 32 36 38 48 52 64; do
            dd if="$work/corpus/open_walk_read/seed1" of="$work/corpus/$name/slot$slot" bs=32 skip=$slot count=20 2>/dev/null
        done
    done
}

mkdir -p "$work"
if ! build >"$work/build.log" 2>&1; then
    echo "fuzz: the targets cannot be built here, so nothing was fuzzed; the last lines of $work/build.log:" >&2
    tail -n 5 "$work/build.log" >&2
    exit 3
fi
seed

found=0
for name in ${*:-$all}; do
    mkdir -p "$work/corpus/$name" "$work/found"
    echo "fuzz: $name for $seconds seconds"
    if ! "$work/build/$host/release/$name" "$work/corpus/$name" -artifact_prefix="$work/found/$name-" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        >"$work/$name.log" 2>&1; then
        found=1
        echo "fuzz: $name found something; the last lines of $work/$name.log:" >&2
        tail -n 12 "$work/$name.log" >&2
    fi
    sed -n 's/^stat::number_of_executed_units: */fuzz: runs: /p' "$work/$name.log"
done
exit $found
