#!/usr/bin/env bash
# Puts into .cross/ what builds takt for aarch64 on x86-64 Debian 12, and nothing anywhere else: needs no root and leaves this machine's packages and
# architectures as they are. Prints nothing and stays off the network when all of it is there.
#
#   .cross/tools/    amd64 programs: a Rust compiler (Debian's rustc-web, newer than Debian's rustc), gcc for aarch64, qemu-aarch64
#   .cross/sysroot/  arm64 libraries of Debian 12 with their development files; DEBIAN/symbols tells since when each has which symbol
#   .cross/bin/      the tools as they are to be called
#   .cross/onnxruntime/  the library of ONNX Runtime for aarch64, for the package and for the comparison under qemu
#
# The packages come through apt from the sources of this machine, checked by its keys, in folders of apt's own for each architecture.
# Removing .cross/ fetches the newest of them at the next run.
set -euo pipefail

# Newer compilers come as updates of the same package.
readonly COMPILERS=(rustc-web gcc-aarch64-linux-gnu)
# Only one program of this package is kept: it is large, and has one for every architecture.
readonly EMULATORS=qemu-user-static
# What the program runs with; they bring what they need themselves.
readonly RUNTIME=(libgstreamer1.0-0 libgstreamer-plugins-base1.0-0 gstreamer1.0-plugins-base libstdc++6)
# Development files, without the many packages that these name: the headers of a graphics stack are not needed to link.
readonly DEVELOPMENT=(libstd-rust-web-dev libc6-dev linux-libc-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libglib2.0-dev libffi-dev
    libpcre2-dev libmount-dev libblkid-dev libselinux1-dev libsepol-dev zlib1g-dev libunwind-dev libdw-dev libelf-dev liblzma-dev libbz2-dev libzstd-dev
    liborc-0.4-dev)
readonly RUST_TARGET=aarch64-unknown-linux-gnu

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
cross=$(dirname -- "$scripts")/.cross
new=$cross/new

say() { printf 'cross-setup: %s\n' "$*" >&2; }

# One line an argument: what failed, then the remedy.
die() {
    printf 'cross-setup: %s\n' "$1" >&2
    shift
    if (($#)); then printf '             %s\n' "$@" >&2; fi
    exit 1
}

# What this version of the script puts in place, at this path (the wrappers name it).
expected_stamp() {
    printf '%s %s\n' "$(sha256sum <"$scripts/cross-setup.sh")" "$cross"
}

is_ready() {
    [[ -e $cross/stamp && $(<"$cross/stamp") == "$(expected_stamp)" ]]
}

check_host() {
    local tool
    [[ "$(uname -s) $(uname -m)" == 'Linux x86_64' ]] || die "failed to prepare a build for aarch64: this is $(uname -s) on $(uname -m), not Linux on x86_64." \
        'On an aarch64 machine build natively: cargo build --release --locked'
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || die "failed to find $tool: the compiler and the libraries come from Debian's packages." 'Run this on Debian 12, or in a container of it.'
    done
}

# apt_for ARCH COMMAND...: apt-get with folders of its own, as if this machine were of ARCH and had nothing installed.
apt_for() {
    local arch=$1
    shift
    APT_CONFIG=$new/apt/$arch/apt.conf apt-get -o APT::Sandbox::User=root -qq "$@" </dev/null
}

# Makes the folders of apt for ARCH and fetches its package lists.
prepare_apt() {
    local arch=$1 folder=$new/apt/$1
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    : >"$folder/status"
    if [[ $arch == amd64 ]]; then
        # These belong to this machine: a C library next to the loader of another would crash, and setup.sh sees to the compiler.
        printf '%s\n' 'Package: this-machine' 'Status: install ok installed' 'Architecture: amd64' 'Version: 1' \
            'Provides: gcc, libc-dev, libc6 (= 999)' 'Maintainer: none' 'Description: what this machine has' '' >"$folder/status"
    fi
    cat >"$folder/apt.conf" <<CONF
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::State::extended_states "$folder/extended_states";
Dir::Cache "$folder/cache";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Log "$folder";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Debug::NoLocking "true";
CONF
    # A source of somebody else's may fail; whether our packages can be had is what counts.
    apt_for "$arch" update >"$folder/log" 2>&1 || true
}

# fetch ARCH download|closure PACKAGE...: puts the packages, with closure also what they depend on, into the archives of ARCH.
fetch() {
    local arch=$1 how=$2 log=$new/apt/$1/log fetched=1
    shift 2
    if [[ $how == closure ]]; then
        apt_for "$arch" install --download-only --yes "$@" >>"$log" 2>&1 || fetched=0
    else
        (cd -- "$new/apt/$arch/cache/archives" && apt_for "$arch" download "$@") >>"$log" 2>&1 || fetched=0
    fi
    ((fetched)) && return
    tail -n 20 "$log" >&2
    die "failed to fetch $* for $arch: apt-get said the above." 'Check the network and the sources of apt: Debian 12 with its security updates is needed. Then run this again.'
}

# unpack ARCH FOLDER: unpacks all that was fetched for ARCH. The symbols files of libraries are put together into DEBIAN/symbols, where dpkg-shlibdeps finds them.
unpack() {
    local arch=$1 folder=$new/$2 package
    mkdir -p "$folder/DEBIAN"
    for package in "$new/apt/$arch/cache/archives"/*.deb; do
        case $package in
            */"$EMULATORS"_*) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" ./usr/bin/qemu-aarch64-static ;;
            *) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --exclude=./usr/share/{doc,locale,man,gir-1.0} ;;
        esac || die "failed to unpack $package: the above was said." 'Check the free space of this disk (1.5 GB are needed), then run this again.'
        dpkg-deb --ctrl-tarfile "$package" | tar -x --to-stdout ./symbols >>"$folder/DEBIAN/symbols" 2>/dev/null || true
    done
    # libm.so is such a link: where it leads nowhere, the linker silently takes libm.a, which is made for no other libc than its own.
    find "$folder" -type l -lname '/*' -printf '%P\t%l\n' | while IFS=$'\t' read -r link target; do
        ln -sfn --relative "$folder$target" "$folder/$link"
    done
}

# wrap NAME [ARGUMENT...]: a tool that finds the libraries it was packaged with, told these arguments before its own.
wrap() {
    local name=$1
    shift
    tool "$name" env "LD_LIBRARY_PATH=$cross/tools/usr/lib/x86_64-linux-gnu" "$cross/tools/usr/bin/$name" "$@"
}

# tool NAME COMMAND...: makes NAME run the command with the arguments it is given.
tool() {
    local name=$1
    shift
    { printf '#!/bin/bash\nexec' && printf ' %q' "$@" && printf ' "$@"\n'; } >"$new/bin/$name"
    chmod 755 "$new/bin/$name"
}

# describe_processor FOLDER: qemu looks for files below the sysroot first. The emulated program must read there of the processor that is emulated: ONNX Runtime
# ends in a crash when it finds /proc/cpuinfo of another architecture. Two cores of Cortex-A76, the nearest that qemu 7.2 has to the A78AE of a Jetson Orin.
describe_processor() {
    local core
    mkdir -p "$1/proc"
    for core in 0 1; do
        printf '%s\t: %s\n' processor "$core" BogoMIPS 62.50 Features 'fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp' \
            'CPU implementer' 0x41 'CPU architecture' 8 'CPU variant' 0x4 'CPU part' 0xd0b 'CPU revision' 1
        printf '\n'
    done >"$1/proc/cpuinfo"
}

put_together() {
    rm -rf -- "$new"
    mkdir -p "$new/bin"
    say 'fetching compilers and arm64 libraries from Debian (about 220 MB)'
    prepare_apt amd64
    prepare_apt arm64
    fetch amd64 closure "${COMPILERS[@]}"
    fetch amd64 download "$EMULATORS"
    fetch arm64 closure "${RUNTIME[@]}"
    fetch arm64 download "${DEVELOPMENT[@]}"
    unpack amd64 tools
    unpack arm64 sysroot
    ln -sfn "../../../../sysroot/usr/lib/rustlib/$RUST_TARGET" "$new/tools/usr/lib/rustlib/$RUST_TARGET"
    wrap rustc
    wrap aarch64-linux-gnu-gcc "--sysroot=$cross/sysroot"
    wrap aarch64-linux-gnu-ar
    wrap aarch64-linux-gnu-objcopy
    wrap aarch64-linux-gnu-objdump
    describe_processor "$new/sysroot"
    tool qemu-aarch64 "$cross/tools/usr/bin/qemu-aarch64-static" -cpu cortex-a76 -L "$cross/sysroot"
    rm -rf -- "$new/apt" "$cross/tools" "$cross/sysroot" "${cross:?}/bin"
    mv -- "$new/tools" "$new/sysroot" "$new/bin" "$cross/"
    rmdir -- "$new"
    expected_stamp >"$cross/stamp"
    say "ready: $("$cross/bin/rustc" --version), $("$cross/bin/aarch64-linux-gnu-gcc" --version | head -n 1)"
}

main() {
    check_host
    mkdir -p "$cross"
    # Two runs at once would overwrite each other; the second waits and then finds everything there.
    exec 8>"$cross/.lock"
    flock 8
    if ! is_ready; then
        rm -f -- "$cross/stamp"
        put_together
    fi
    "$scripts/setup.sh" library aarch64 "$cross/onnxruntime"
}

main
