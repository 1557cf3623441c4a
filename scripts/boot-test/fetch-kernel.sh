#!/usr/bin/env bash
# fetch-kernel.sh ROOT PACKAGE: puts the Debian package of the kernel that PACKAGE stands for into boot/ of a root file system, by its own apt.
set -euo pipefail

name=$(chroot "$1" apt-cache depends "$2" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[[ -n $name ]] || { printf 'boot-test: failed to find the kernel that %s stands for.\n' "$2" >&2; exit 1; }
# shellcheck disable=SC2016 # $1 is the inner shell's
chroot "$1" sh -c 'cd /boot && apt-get download -q -o APT::Sandbox::User=root "$1"' sh "$name"
