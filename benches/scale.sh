#!/usr/bin/env bash
# scale.sh [IMAGESxFILES...]: measure erofs-ishare simulate on many synthetic images, by default 10, 100 and 1,000 images of
# 30,000 files each, and 10 images of 300,000.
#
# The images are made by crates/sim/examples/synthetic.rs, which says what is in them: everything but the file data, which is
# a hole. They take about 5 MB of space for 30,000 files, so 5 GB for 1,000 images, and are removed afterwards. The program
# runs on two cores with the images in the page cache. Printed are medians of ROUNDS rounds as a Markdown table. The exit code
# is 1 if 1,000 images of 30,000 files take more than 60 s or 2 GiB.
#
#   EROFS_SCALE     where the images are made (default: a new folder in /dev/shm)
#   EROFS_ISHARE    the program to measure (default: a release build of this workspace)
#   EROFS_SYNTHETIC the program that makes the images (default: a release build of the example)
#   ROUNDS          rounds (default 3)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/../tools/help.sh"
cd "$here/.."
# shellcheck source=tools/beside.sh
source tools/beside.sh
# shellcheck source=benches/measure.sh
source benches/measure.sh

sets=("$@")
[ ${#sets[@]} -gt 0 ] || sets=(10x30000 100x30000 1000x30000 10x300000)
rounds=${ROUNDS:-3}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
for set in "${sets[@]}"; do
    [[ $set =~ ^[1-9][0-9]*x[1-9][0-9]*$ ]] || die "$set: want IMAGESxFILES, such as 100x30000"
done
need_time
if [ -z "${EROFS_SYNTHETIC:-}" ]; then
    cargo build --release --quiet --package erofs-sim --example synthetic
    EROFS_SYNTHETIC=$target/release/examples/synthetic
fi
if [ -z "${EROFS_ISHARE:-}" ]; then
    cargo build --release --quiet --bin erofs-ishare
    EROFS_ISHARE=$target/release/erofs-ishare
fi
work=$(mktemp -d "${EROFS_SCALE:-/dev/shm}/erofs-scale-XXXXXX")
trap 'rm -rf "$work"' EXIT

# The first two cores that this shell may use; with one there is only that.
cores=$(taskset --cpu-list --pid $$ | sed 's/.*: //' | tr ',' '\n' | awk -F - '
    { for (core = $1; core <= ($2 == "" ? $1 : $2) && count < 2; core++) list = list (count++ ? "," : "") core }
    END { print list }')

printf '%s, cores %s, Linux %s; %s; medians of %s rounds\n\n' \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" "$cores" "$(uname -r)" \
    "$("$EROFS_ISHARE" --version | head -n 1)" "$rounds"
printf '| images | files each | space of images MB | wall s | µs per file | user+sys s | peak MB | saved |\n'
printf '|--:|--:|--:|--:|--:|--:|--:|--:|\n'
failed=
made=
for set in "${sets[@]}"; do
    images=${set%x*} files=${set#*x}
    # Images of one size are made once: the first of many are the same as few.
    if [ "$made" != "$files" ]; then rm -rf "$work/images"; fi
    mkdir -p "$work/images"
    made=$files
    "$EROFS_SYNTHETIC" "$work/images" "$images" "$files"
    mapfile -t paths < <(find "$work/images" -name '*.img' | sort -V | head -n "$images")
    space=$(du --summarize --block-size=1000000 --total "${paths[@]}" | tail -n 1 | cut -f 1)
    rm -f "$work/log"
    for ((round = 0; round <= rounds; round++)); do
        start=${EPOCHREALTIME/,/.}
        taskset --cpu-list "$cores" /usr/bin/time -q -f '%U %S %M' -o "$work/cost" \
            "$EROFS_ISHARE" simulate --json "${paths[@]}" >"$work/report" || die "simulate failed on $set"
        end=${EPOCHREALTIME/,/.}
        # The first round brings the images into the page cache and does not count.
        ((round == 0)) || awk -v start="$start" -v end="$end" '{ printf "%.4f %.2f %d\n", end - start, $1 + $2, $3 }' \
            "$work/cost" >>"$work/log"
    done
    wall=$(median 1 <"$work/log") peak=$(median 3 <"$work/log")
    saved=$(grep -o '"saved_percent": *[0-9.]*' "$work/report" | head -n 1 | grep -o '[0-9.]*$')
    awk -v images="$images" -v files="$files" -v space="$space" -v wall="$wall" -v cpu="$(median 2 <"$work/log")" \
        -v peak="$peak" -v saved="$saved" 'BEGIN { printf "| %d | %d | %d | %.2f | %.2f | %.2f | %.0f | %.1f %% |\n",
            images, files, space, wall, wall * 1e6 / images / files, cpu, peak * 1.024 / 1000, saved }'
    if [ "$set" = 1000x30000 ] && awk -v wall="$wall" -v peak="$peak" 'BEGIN { exit !(wall > 60 || peak > 2097152) }'; then
        failed="$set: found $wall s and $peak KiB, want at most 60 s and 2097152 KiB"
    fi
done
[ -z "$failed" ] || die "$failed"
