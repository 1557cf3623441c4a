#!/usr/bin/env bash
# Makes src/capture/v4l/sys/bindings.rs anew from this machine's linux/videodev2.h. Only needed for what newer kernels have; no build runs it.
#
#   v4l2-bindings.sh [CLANG_ARGUMENT...]     for example --target=aarch64-linux-gnu --sysroot=DIR; the result must be the same
#
# Needs, besides: apt-get install linux-libc-dev libclang1; cargo install bindgen-cli --version 0.72.1 --locked
set -euo pipefail

readonly BINDGEN_VERSION=0.72.1

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
if [[ $(bindgen --version 2>/dev/null) != "bindgen $BINDGEN_VERSION" ]]; then
    printf 'v4l2-bindings: failed to find bindgen %s.\n' "$BINDGEN_VERSION" >&2
    printf '               Run: cargo install bindgen-cli --version %s --locked\n' "$BINDGEN_VERSION" >&2
    exit 1
fi

header=$(mktemp --suffix=.h)
trap 'rm -f -- "$header"' EXIT
printf '#include <linux/videodev2.h>\n' >"$header"
bindgen --rust-target 1.85 --rust-edition 2024 --no-doc-comments --allowlist-type 'v4l2_.*|timeval|time_t' --allowlist-var 'V4L2_.*|VIDEO_MAX.*' \
    --output "$root/src/capture/v4l/sys/bindings.rs" "$header" -- "$@"
