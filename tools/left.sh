# shellcheck shell=bash
# left.sh: sourced by test.sh: which mounts and loop devices of the tests there are.
#
# Other programs on the machine mount and unmount as well, so only those count that are below the target
# directory or a folder named erofs-test-*, where the tests keep their files: mounts by their directory,
# loop devices by their file.

# kernel_objects TARGET: one line for each such mount and loop device, sorted.
kernel_objects() {
    local target device file
    target=$(realpath "$1")
    {
        # The fifth field is the mount point; the type is the first field behind a hyphen.
        awk '{ for (at = 7; $at != "-"; at++); print "mount of " $(at + 1) " on " $5 }' /proc/self/mountinfo
        for device in /sys/block/loop*; do
            if read -r file 2>/dev/null <"$device/loop/backing_file"; then
                printf 'loop device %s of %s\n' "${device##*/}" "$file"
            fi
        done
    } | awk -v target=" $target/" 'index($0, target) || index($0, "/erofs-test-")' | sort
}

# objects_left BEFORE TARGET: the lines of kernel_objects that are not in BEFORE, after some seconds: the
# kernel frees a loop device a moment after its last use, and tests that run elsewhere at the same time come
# to an end.
objects_left() {
    local left try
    left=$(comm -13 <(printf '%s\n' "$1") <(kernel_objects "$2"))
    for try in 1 2 3 4 5; do
        [ -n "$left" ] || return 0
        sleep "$try"
        left=$(comm -12 <(printf '%s\n' "$left") <(kernel_objects "$2"))
    done
    printf '%s' "$left"
}
