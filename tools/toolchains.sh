#!/usr/bin/env bash
# toolchains.sh [WAY...]: build with the declared version of Rust, and test the readers on other machines.
#
# Ways, all of them by default:
#   declared   build both programs with the `rust-version` of Cargo.toml; needs that toolchain
#              (rustup toolchain install VERSION)
#   i686       test disk format, reader and decoders with 32 bits; needs the target
#              (rustup target add i686-unknown-linux-gnu) and a C compiler for it (package gcc-multilib)
#   s390x      the same with the other order of bytes; needs the target (rustup target add
#              s390x-unknown-linux-gnu), a C compiler (package gcc-s390x-linux-gnu) and an emulator (package
#              qemu-user)
#
# A way that this machine cannot try is named on stderr and added to the file that EROFS_ABSENT_LIST names;
# with EROFS_INTEROP=require it is a failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/help.sh
source "$here/help.sh"
cd "$here/.."

ways=("$@")
[ ${#ways[@]} -gt 0 ] || ways=(declared i686 s390x)
for way in "${ways[@]}"; do
    case $way in
    declared | i686 | s390x) ;;
    *)
        printf 'toolchains.sh: found %s, want declared, i686 or s390x\n' "$way" >&2
        exit 2
        ;;
    esac
done
status=0
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# skip WAY REASON: names a way that this machine cannot try.
skip() {
    printf 'SKIPPED toolchain, %s (absent: %s)\n' "$1" "$2" | tee -a "${EROFS_ABSENT_LIST:-/dev/null}" >&2
    [ "${EROFS_INTEROP:-}" != require ] || status=1
}

try_declared() {
    local version toolchain
    version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    toolchain=$(rustup toolchain list 2>/dev/null | grep -m 1 -o "^${version}[.-][^ ]*") || toolchain=''
    if [ -z "$toolchain" ]; then
        skip declared "Rust $version: rustup toolchain install $version"
    else
        CARGO_TARGET_DIR=$target/declared cargo "+$toolchain" build --locked --quiet
        printf 'built: Rust %s\n' "$version"
    fi
}

# try_machine WAY TARGET COMPILER PACKAGE [RUNNER]: tests what reads images, for another machine.
try_machine() {
    local way=$1 triple=$2 compiler=$3 package=$4 runner=${5:-} libraries name
    libraries=$(rustc --print target-libdir --target "$triple" 2>/dev/null) || libraries=''
    if [ ! -d "$libraries" ]; then
        skip "$way" "the target $triple: rustup target add $triple"
        return
    fi
    # The compiler of the own machine may lack the libraries of the other.
    # shellcheck disable=SC2086 # a command with an option
    if ! printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' |
        $compiler -x c -o /dev/null - 2>/dev/null; then
        skip "$way" "a C compiler: package $package"
        return
    fi
    if [ -n "$runner" ] && ! command -v "${runner%% *}" >/dev/null; then
        skip "$way" "${runner%% *}: package qemu-user"
        return
    fi
    name=${triple//-/_}
    export "CC_$name=$compiler" "CARGO_TARGET_${name^^}_LINKER=${compiler%% *}"
    [ -z "$runner" ] || export "CARGO_TARGET_${name^^}_RUNNER=$runner"
    cargo test --locked --quiet --target "$triple" -p erofs-format -p erofs-image -p erofs-decode
    printf 'tested: %s\n' "$triple"
}

for way in "${ways[@]}"; do
    case $way in
    declared) try_declared ;;
    i686) try_machine i686 i686-unknown-linux-gnu 'gcc -m32' gcc-multilib ;;
    s390x)
        try_machine s390x s390x-unknown-linux-gnu s390x-linux-gnu-gcc gcc-s390x-linux-gnu \
            'qemu-s390x -L /usr/s390x-linux-gnu'
        ;;
    esac
done
exit "$status"
