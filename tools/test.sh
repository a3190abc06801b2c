#!/usr/bin/env bash
# test.sh [ARGUMENT...]: run every test of the workspace, then name the checks that this machine could not make.
#
# Without arguments, the programs are also installed in each way that there is (install.sh). Arguments go to `cargo test`. With EROFS_INTEROP=require in the environment, a check that cannot be made is a failure.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
cd "$here/.." || exit 1

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target" || exit 1
EROFS_ABSENT_LIST=$(realpath "$target")/absent-checks.txt
export EROFS_ABSENT_LIST
: >"$EROFS_ABSENT_LIST"

cargo test --workspace --no-fail-fast "$@"
status=$?
if [ $# = 0 ]; then
    tools/install.sh || status=1
fi

if [ -s "$EROFS_ABSENT_LIST" ]; then
    printf '\nChecks that this machine could not make:\n'
    sort -u "$EROFS_ABSENT_LIST" | sed 's/^SKIPPED /  /'
    printf 'As root on Linux 6.12 or newer, with loop devices and a package mirror, all of them run.\n'
elif [ "$status" = 0 ]; then
    printf '\nEvery check was made.\n'
else
    printf '\nNot every test passed, or not everything could be built: see above.\n'
fi
exit "$status"
