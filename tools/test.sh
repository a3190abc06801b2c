#!/usr/bin/env bash
# test.sh [--quick] [ARGUMENT...]: run every test of the workspace, then name the checks that this machine
# could not make.
#
# With --quick, for daily work: the unit tests of all crates, and those integration tests that take seconds;
# under five minutes after a first build. Other arguments go to `cargo test`.
#
# With EROFS_INTEROP=require in the environment, a check that cannot be made is a failure. It is also a
# failure when the tests leave a mount or a loop device behind. As root everything runs in a mount namespace
# of its own, so that mounts of tests that are killed go with it.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
# shellcheck source=tools/left.sh
source "$here/left.sh"
cd "$here/.." || exit 1
if [ -z "${EROFS_TEST_NAMESPACE:-}" ] && [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
    exec env EROFS_TEST_NAMESPACE=1 unshare --mount "$here/test.sh" "$@"
fi

# Integration tests that take less than ten seconds each on two processors. Those that are left out try every
# combination of options, start virtual machines, or unpack a whole distribution.
quick=(archive archives attributes budget cli decode dependencies dir documents encoded facts forms hostile
    image live man reading reference refused rules simulate survey tally tree verbs verify zmap)
checks='Every check'
if [ "${1:-}" = --quick ]; then
    shift
    checks='Every check of the quick tests'
    set -- --lib --bins "${quick[@]/#/--test=}" "$@"
fi

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target" || exit 1
EROFS_ABSENT_LIST=$(realpath "$target")/absent-checks.txt
export EROFS_ABSENT_LIST
: >"$EROFS_ABSENT_LIST"

before=$(kernel_objects "$target")
cargo test --workspace --no-fail-fast "$@"
status=$?
left=$(objects_left "$before" "$target")
if [ -n "$left" ]; then
    printf '\nThe tests left behind:\n%s\n' "$left"
    status=1
fi

if [ -s "$EROFS_ABSENT_LIST" ]; then
    printf '\nChecks that this machine could not make:\n'
    sort -u "$EROFS_ABSENT_LIST" | sed 's/^SKIPPED /  /'
    printf 'As root on Linux 6.12 or newer, with loop devices and a package mirror, all of them run.\n'
elif [ "$status" = 0 ]; then
    printf '\n%s was made.\n' "$checks"
else
    printf '\nNot every test passed: see above.\n'
fi
exit "$status"
