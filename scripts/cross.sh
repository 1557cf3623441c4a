#!/usr/bin/env bash
# cargo for aarch64, with the compilers and libraries in .cross/: cross.sh build --release --locked, cross.sh check, ...
# The cargo of this machine runs Debian's compiler: a toolchain of rustup has the standard library of its own architecture only.
set -euo pipefail

readonly TARGET=aarch64-unknown-linux-gnu

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cross=$(dirname -- "$scripts")/.cross
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin

"$scripts/cross-setup.sh"

export RUSTC=$cross/bin/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cross/bin/aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=$cross/bin/aarch64-linux-gnu-gcc
export AR_aarch64_unknown_linux_gnu=$cross/bin/aarch64-linux-gnu-ar
export PKG_CONFIG_ALLOW_CROSS=1
export PKG_CONFIG_SYSROOT_DIR=$cross/sysroot
export PKG_CONFIG_LIBDIR=$cross/sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$cross/sysroot/usr/share/pkgconfig

subcommand=${1:?failed to run cargo: say what it is to do, for example cross.sh build --release --locked}
shift
exec cargo "$subcommand" --target "$TARGET" "$@"
