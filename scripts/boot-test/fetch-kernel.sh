#!/usr/bin/env bash
# fetch-kernel.sh ROOT PACKAGE: puts the Debian package of the kernel that PACKAGE stands for into boot/ of a root file system, by its own apt, and beside
# it what a module for that kernel is made of (gpio-sim.sh): its headers, and of its source the files of the simulated GPIO chips. Without these the kernel
# is as good; module.missing says what there was not.
set -euo pipefail

readonly SIMULATED_GPIO=(drivers/gpio/gpio-sim.c drivers/gpio/gpiolib.h kernel/irq/irq_sim.c)

boot=$1/boot

# download NAME...: packages into boot/.
# shellcheck disable=SC2016 # $@ is the inner shell's
download() { chroot "$root" sh -c 'cd /boot && apt-get download -q -o APT::Sandbox::User=root "$@"' sh "$@"; }

# depends PACKAGE PATTERN: the first package that it depends on and whose name begins like that.
depends() { chroot "$root" apt-cache depends "$1" | sed -n "s/^ *Depends: \($2.*\)/\1/p" | head -n 1; }

# The headers of the kernel, and its source of the same version: other files would be for another kernel.
fetch_headers() {
    local headers=linux-headers-$release version series
    version=$(dpkg-deb -f "$boot"/linux-image-*.deb Version) || return
    series=$(cut -d . -f 1,2 <<<"$release")
    download "$headers=$version" "$(depends "$headers" linux-headers-)=$version" "linux-kbuild-$series=$version" "linux-source-$series=$version" || return
    mkdir "$boot/gpio-sim" || return
    dpkg-deb --fsys-tarfile "$boot"/linux-source-*.deb | tar -xO "./usr/src/linux-source-$series.tar.xz" |
        tar -xJ -C "$boot/gpio-sim" --transform 's|.*/||' "${SIMULATED_GPIO[@]/#/linux-source-$series/}" || return
    rm -- "$boot"/linux-source-*.deb
}

root=$1
name=$(depends "$2" 'linux-image-[0-9]')
[[ -n $name ]] || { printf 'boot-test: failed to find the kernel that %s stands for.\n' "$2" >&2; exit 1; }
download "$name"
release=${name#linux-image-}
if ! fetch_headers; then
    rm -rf -- "$boot"/linux-headers-*.deb "$boot"/linux-kbuild-*.deb "$boot"/linux-source-*.deb "$boot/gpio-sim"
    printf 'the packages that hold headers and source of the kernel %s were not to be had\n' "$release" >"$boot/module.missing"
fi
