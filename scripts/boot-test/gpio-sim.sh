#!/usr/bin/env bash
# gpio-sim.sh BASE MODULE: makes the kernel's simulated GPIO chips (gpio-sim, with the interrupts that it needs, irq_sim) as one module for the kernel in
# the base system BASE, a tar file. Debian builds neither. The files are those of Debian's kernel source, but for one call. Where the module cannot be
# made, MODULE.missing says why, and the step that needs it is skipped.
set -euo pipefail

# Not gpio-sim: a module that is made of several files has another name than any of them.
readonly NAME=gpio-sim-alone

base=$1 module=$2
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

missing() {
    printf '%s\n' "$1" >"$module.missing"
    exit 0
}

build() {
    local package headers
    for package in "$tree"/boot/linux-headers-*.deb "$tree"/boot/linux-kbuild-*.deb; do dpkg-deb -x "$package" "$tree/root" || return; done
    headers=$(find "$tree/root/usr/src" -maxdepth 1 -name 'linux-headers-*' ! -name '*-common')
    # The headers name the place in which they would be installed.
    sed -i "s|/usr/src|$tree/root/usr/src|" "$headers/Makefile" || return
    # irq_to_desc is not for modules; this function is, finds the description itself, and calls the handler that irq_sim has set.
    sed -i 's/handle_simple_irq(irq_to_desc(\(.*\)));/generic_handle_irq_safe(\1);/' "$tree/boot/gpio-sim/irq_sim.c" || return
    printf 'obj-m := %s.o\n%s-y := gpio-sim.o irq_sim.o\n' "$NAME" "$NAME" >"$tree/boot/gpio-sim/Makefile"
    make -C "$headers" M="$tree/boot/gpio-sim" modules
}

rm -f -- "$module" "$module.missing"
tar -C "$tree" -xf "$base" ./boot
if [[ -e $tree/boot/module.missing ]]; then missing "$(cat -- "$tree/boot/module.missing")"; fi
build >"$module.log" 2>&1 || missing "the module did not build; $module.log says why"
objcopy --strip-debug "$tree/boot/gpio-sim/$NAME.ko" "$module"
