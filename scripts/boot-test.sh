#!/usr/bin/env bash
# Boots a machine with the Debian package of takt on it, and checks what a box must do: docs/boot-test.md. Builds what it needs in .boot-test/, from Debian's
# packages: a root file system, a kernel, an initial ramdisk. qemu emulates the machine in software, so any x86-64 Debian 12 will do, without KVM.
#
#   boot-test.sh [--quick] [--only STEP] [--deb FILE] [--cuts N] [--seed N] [--keep]
set -euo pipefail

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname -- "$scripts")
parts=$scripts/boot-test
work=$root/.boot-test

# What this machine needs for it.
readonly HOST_PACKAGES=(mmdebstrap qemu-system-x86 qemu-utils e2fsprogs cpio kmod python3)
# What makes a module for the box's kernel: its own compiler. Where they cannot be had, the step that needs the module is skipped.
readonly MODULE_PACKAGES=(gcc-12 make libelf1 binutils)
# What the box needs besides Debian's essential packages: the package's own dependencies, and what people look with.
readonly BOX_PACKAGES=(systemd systemd-sysv udev kmod passwd init-system-helpers busybox-static iproute2 procps
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-tools v4l-utils)
# Debian's kernel: it has the virtual camera vivid. It is unpacked, not installed: installing it makes an initial ramdisk for minutes, and ours is smaller.
readonly KERNEL_PACKAGE=linux-image-amd64
# Modules of the kernel that the machine has: its disks, its network, its camera. Fewer are found sooner.
readonly BOX_MODULES=(virtio_pci virtio_blk virtio_net virtio_rng ext4 crc32c_generic vivid nf_tables configfs)
readonly RAMDISK_MODULES=(virtio_pci virtio_blk ext4 crc32c_generic)
# Services that a box in a test has no use for: seconds each under emulation.
readonly IDLE_UNITS=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service
    serial-getty@ttyS0.service systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pcrphase.service systemd-pcrphase-sysinit.service
    systemd-logind.service systemd-user-sessions.service systemd-hwdb-update.service systemd-networkd.service systemd-timesyncd.service
    dbus.service dbus.socket dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
    sys-fs-fuse-connections.mount modprobe@.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount
    systemd-firstboot.service systemd-random-seed.service systemd-update-done.service systemd-journal-catalog-update.service ldconfig.service
    systemd-machine-id-commit.service systemd-tmpfiles-clean.timer)

say() { printf 'boot-test: %s\n' "$*" >&2; }

die() {
    printf 'boot-test: %s\n' "$1" >&2
    shift
    if (($#)); then printf '           %s\n' "$@" >&2; fi
    exit 1
}

# install_packages NAME...: those that are not there.
install_packages() {
    local package missing=()
    for package in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then missing+=("$package"); fi
    done
    if ((${#missing[@]} == 0)); then return; fi
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# make WHAT KEY COMMAND...: runs the command unless it made WHAT with this key before.
make_once() {
    local what=$1 key=$2
    shift 2
    if [[ -e $work/$what && $(cat -- "$work/$what.key" 2>/dev/null) == "$key" ]]; then return; fi
    say "making $what (kept in .boot-test/)"
    rm -f -- "$work/$what.key"
    "$@"
    printf '%s\n' "$key" >"$work/$what.key"
}

# Debian's packages as they come, in a tar file; the kernel's lies in boot/, not unpacked.
make_base() {
    local include
    include=$(IFS=,; printf '%s' "${BOX_PACKAGES[*]}")
    mmdebstrap --mode=root --variant=minbase --architectures=amd64 --include="$include" \
        --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt=force-unsafe-io --customize-hook="$parts/fetch-kernel.sh \"\$1\" $KERNEL_PACKAGE" \
        bookworm "$work/base.tar" </dev/null >"$work/base.log" 2>&1 || {
        tail -n 40 -- "$work/base.log" >&2
        die "failed to make the base system." "All of what mmdebstrap said is in $work/base.log."
    }
}

# copy_modules FROM TO NAME...: kernel modules with all that they need. Prints them, each after those that it needs.
copy_modules() {
    local from=$1 to=$2 name file
    shift 2
    for name in "$@"; do
        modprobe --dirname "$from" --set-version "$kernel" --show-depends --ignore-install "$name" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | awk '!seen[$0]++' | while read -r file; do
        install -D -m 0644 -- "$file" "$to/${file#"$from/"}"
        printf '%s\n' "${file#"$from/"}"
    done
}

# The kernel's simulated GPIO chips, for the step `gate`.
make_gpio_sim() {
    install_packages "${MODULE_PACKAGES[@]}" || say "failed to install ${MODULE_PACKAGES[*]}"
    "$parts/gpio-sim.sh" "$work/base.tar" "$work/gpio-sim.ko"
}

# The root disk and what boots it: the base with few modules, no needless service, and the test's shell.
make_disk() {
    local tree unit kernel
    tree=$(mktemp -d -- "$work/tree.XXXXXX")
    # shellcheck disable=SC2064 # the folder is known now
    trap "rm -rf -- '$tree'" EXIT
    mkdir -- "$tree/box" "$tree/kernel" "$tree/ramdisk" "$tree/few"
    tar -C "$tree/box" --exclude='./dev/*' -xf "$work/base.tar"
    dpkg-deb -x "$tree"/box/boot/linux-image-*.deb "$tree/kernel"
    kernel=$(basename -- "$tree"/kernel/lib/modules/*)
    depmod -b "$tree/kernel" "$kernel"
    cp -- "$tree/kernel/boot/vmlinuz-$kernel" "$work/vmlinuz"

    mkdir -p -- "$tree/ramdisk/bin" "$tree/ramdisk/proc" "$tree/ramdisk/sys" "$tree/ramdisk/dev" "$tree/ramdisk/root" "$tree/ramdisk/modules"
    cp -- "$tree/box/bin/busybox" "$tree/ramdisk/bin/"
    install -m 0755 -- "$parts/files/init" "$tree/ramdisk/init"
    copy_modules "$tree/kernel" "$tree/ramdisk/modules" "${RAMDISK_MODULES[@]}" >"$tree/ramdisk/modules/order"
    (cd -- "$tree/ramdisk" && find . | LC_ALL=C sort | cpio --quiet -o -H newc) | gzip -1 >"$work/initrd"

    rm -rf -- "$tree"/box/boot/*
    copy_modules "$tree/kernel" "$tree/few" "${BOX_MODULES[@]}" >/dev/null
    mkdir -p -- "$tree/box/usr/lib/modules"
    mv -- "$tree/few/lib/modules/$kernel" "$tree/box/usr/lib/modules/"
    cp -- "$tree/kernel/lib/modules/$kernel/modules".{order,builtin,builtin.modinfo} "$tree/box/usr/lib/modules/$kernel/"
    depmod -b "$tree/box" "$kernel"

    for unit in "${IDLE_UNITS[@]}"; do ln -sfn /dev/null "$tree/box/etc/systemd/system/$unit"; done
    for unit in shell network; do install -m 0644 -- "$parts/files/boot-test-$unit.service" "$tree/box/etc/systemd/system/"; done
    systemctl --root="$tree/box" --quiet enable boot-test-shell.service boot-test-network.service
    systemctl --root="$tree/box" --quiet set-default multi-user.target
    printf 'takt-box\n' >"$tree/box/etc/hostname"
    printf '127.0.0.1 localhost takt-box\n' >"$tree/box/etc/hosts"
    # A machine without an identity would go through everything that a first boot asks for.
    rm -f -- "$tree/box/etc/machine-id"
    systemd-machine-id-setup --root="$tree/box" 2>/dev/null
    printf '/dev/vda / ext4 noatime 0 0\n/dev/vdb /var/lib/takt ext4 noatime,nofail 0 0\n' >"$tree/box/etc/fstab"
    printf 'vivid\nvirtio_net\n' >"$tree/box/etc/modules-load.d/boot-test.conf"
    printf 'options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0\n' >"$tree/box/etc/modprobe.d/boot-test.conf"
    mkdir -p -- "$tree/box/etc/systemd/journald.conf.d" "$tree/box/var/lib/takt"
    printf '[Journal]\nStorage=volatile\n' >"$tree/box/etc/systemd/journald.conf.d/boot-test.conf"
    rm -f -- "$work/root.img"
    mke2fs -q -t ext4 -d "$tree/box" "$work/root.img" 1800M >/dev/null
    rm -rf -- "$tree"
}

# The package under test: the one given, or the one that `make deb` makes.
find_package() {
    if [[ -n $deb ]]; then
        [[ -f $deb ]] || die "failed to find the package $deb."
        return
    fi
    make -C "$root" deb DEB_ARCH=amd64 >&2
    deb=$(find "$root/dist" -name 'takt_*_amd64.deb' -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -n 1 | cut -d ' ' -f 2-)
    [[ -n $deb ]] || die 'failed to find the package that make deb made.' 'Name it: scripts/boot-test.sh --deb FILE'
}

deb=''
arguments=()
while (($#)); do
    case $1 in
        --deb)
            deb=${2:?"--deb needs a file"}
            shift
            ;;
        --quick | --keep) arguments+=("$1") ;;
        --cuts | --seed | --only)
            arguments+=("$1" "${2:?"$1 needs a value"}")
            shift
            ;;
        *) die "unknown argument $1." 'Usage: boot-test.sh [--quick] [--only STEP] [--deb FILE] [--cuts N] [--seed N] [--keep]' ;;
    esac
    shift
done

[[ $(uname -m) == x86_64 ]] || die "failed to find an x86-64 machine: this is $(uname -m)." 'The box under test is x86-64; make cross checks the others.'
((EUID == 0)) || die 'failed to build a root file system: only root may.' 'Run: sudo make boot-test'
mkdir -p -- "$work"
install_packages "${HOST_PACKAGES[@]}"
base_key=$({
    printf '%s\n' "${BOX_PACKAGES[*]}" "$KERNEL_PACKAGE"
    cat -- "$parts/fetch-kernel.sh"
} | sha256sum)
make_once base.tar "$base_key" make_base
make_once gpio-sim.ko "$(cat -- "$work/base.tar.key" "$parts/gpio-sim.sh" | sha256sum)" make_gpio_sim
disk_key=$({
    cat -- "$parts/files/init" "$parts"/files/*.service "$work/base.tar.key"
    declare -f make_disk copy_modules
    declare -p BOX_MODULES RAMDISK_MODULES IDLE_UNITS
} | sha256sum)
make_once root.img "$disk_key" make_disk
find_package
exec python3 "$parts/boot_test.py" --work "$work" --deb "$deb" "${arguments[@]}"
