#!/usr/bin/env bash
# Installs, upgrades, removes and purges the package in dist/ for this machine's architecture in a Debian 12 of its own, made by mmdebstrap and thrown away,
# and checks what is there after each. Then checks that the package for arm64, where there is one, holds the same and runs under qemu.
#
# deb-test.sh --inside ROOT FOLDER is how mmdebstrap calls it back: ROOT is the new system, FOLDER holds old.deb and new.deb.
set -euo pipefail

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
self=$scripts/$(basename -- "${BASH_SOURCE[0]}")
root=$(dirname -- "$scripts")

say() { printf 'deb-test: %s\n' "$*" >&2; }

# One line an argument: what failed, then the remedy.
die() {
    printf 'deb-test: %s\n' "$1" >&2
    shift
    if (($#)); then printf '          %s\n' "$@" >&2; fi
    exit 1
}

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    "$@" || die "failed: $what"
    say "ok: $what"
}

# inside COMMAND...: in the new system, without what the environment here says.
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root chroot "$system" "$@"; }

quietly() {
    local log=$folder/log
    inside "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

is_owned() { [[ $(inside stat --format='%U:%G %a' "$1") == "$2" ]]; }
is_enabled() { [[ $(inside systemctl is-enabled "$1" 2>/dev/null) == enabled ]]; }
is_not_enabled() { ! is_enabled "$1"; }
is_in_group() { inside id --name --groups takt | grep -qw "$1"; }
has() { inside test -e "$1"; }
has_not() { ! has "$1"; }
# shellcheck disable=SC2016 # dpkg-query's own
is_version() { [[ $(inside dpkg-query --show --showformat='${Version}' takt) == "$1" ]]; }

# Six grey pictures of 96x96 pixels, each a little different.
draw_parts() {
    local picture
    mkdir -p "$system/tmp/good"
    for picture in 1 2 3 4 5 6; do
        awk -v seed="$picture" 'BEGIN { srand(seed); print "P2 96 96 255"; for (i = 0; i < 9216; i++) print int(60 + (i % 96) + rand() * 40) }' >"$system/tmp/good/$picture.pgm"
    done
}

# What the operator has on the box; none of it is the package's to touch.
put_station() {
    mkdir -p "$system/var/lib/takt/models/bracket"
    printf '# a station in service\n' | tee "$system/etc/takt/station.toml" "$system/var/lib/takt/models/bracket/model.toml" "$system/var/lib/takt/journal.db" >/dev/null
}
station_is_kept() {
    local file
    for file in /etc/takt/station.toml /var/lib/takt/models/bracket/model.toml /var/lib/takt/journal.db; do
        [[ $(inside cat "$file") == '# a station in service' ]] || return 1
    done
}

check_installed() {
    local unit
    check 'the program runs' quietly takt --version
    check 'the user is there, without a shell to log in with' inside sh -c 'getent passwd takt | grep -q nologin'
    check 'the user sees cameras' is_in_group video
    check 'keys of TLS are read by root and takt only' is_owned /etc/takt/tls 'root:takt 750'
    check 'the state is of takt only' is_owned /var/lib/takt 'takt:takt 750'
    check 'models have their folder' is_owned /var/lib/takt/models 'takt:takt 750'
    for unit in "${units[@]}"; do check "$unit is enabled" is_enabled "$unit"; done
}

# The tests in the new system.
test_inside() {
    system=$1 folder=$2
    local old_version new_version unit
    old_version=$(dpkg-deb --field "$folder/old.deb" Version) new_version=$(dpkg-deb --field "$folder/new.deb" Version)
    cp -- "$folder/old.deb" "$folder/new.deb" "$system/tmp/"
    mapfile -t units < <(dpkg-deb --info "$folder/old.deb" postinst | sed -n "s/^enabled='\(.*\)'$/\1/p" | tr ' ' '\n')
    ((${#units[@]} >= 2)) || die 'failed to find the services that the package enables.'

    check 'apt finds everything that the package depends on, and installs it' quietly apt-get install --yes --no-install-recommends /tmp/old.deb
    check_installed
    check 'no station is configured by the package' has_not /etc/takt/station.toml
    draw_parts
    check 'a model is taught with the library of the package' quietly takt teach --good /tmp/good --out /tmp/model --size 64x64
    check 'a part is inspected' quietly takt inspect --model /tmp/model /tmp/good

    put_station
    inside systemctl --quiet disable "${units[0]}"
    check 'an upgrade installs' quietly apt-get install --yes --no-install-recommends /tmp/new.deb
    check 'the new version is there' is_version "$new_version"
    check 'configuration, models and data survive an upgrade' station_is_kept
    check "what the operator disabled stays disabled (${units[0]})" is_not_enabled "${units[0]}"
    for unit in "${units[@]:1}"; do check "$unit stays enabled" is_enabled "$unit"; done
    check 'going back is possible too' quietly apt-get install --yes --allow-downgrades --no-install-recommends /tmp/old.deb
    check 'the old version is there' is_version "$old_version"
    check 'configuration, models and data survive it' station_is_kept

    check 'the package is removed' quietly apt-get remove --yes takt
    check 'the program is gone' has_not /usr/bin/takt
    check 'the library is gone' has_not /usr/lib/takt
    check 'configuration, models and data survive a removal' station_is_kept
    check 'the package is installed again' quietly apt-get install --yes --no-install-recommends /tmp/new.deb
    check 'configuration, models and data are as they were' station_is_kept
    check "what the operator disabled is still disabled (${units[0]})" is_not_enabled "${units[0]}"

    check 'the package is purged' quietly apt-get purge --yes takt
    for gone in /etc/takt /var/lib/takt /var/cache/takt; do check "a purge takes $gone" has_not "$gone"; done
    check 'nothing is left of the services' inside sh -c "! find /etc/systemd /var/lib/systemd/deb-systemd-helper-enabled -name 'takt*' 2>/dev/null | grep ."
    check 'the user stays' inside getent passwd takt
}

# The names in a package, without those that only one architecture has.
names_in() { dpkg-deb --contents "$1" | awk '{ print $1, $2, $6 }'; }

test_arm64() {
    local package=$1 native=$2
    names_in "$package" >"$work/arm64.names"
    names_in "$native" >"$work/native.names"
    check 'the packages for both architectures hold the same files' diff "$work/native.names" "$work/arm64.names"
    dpkg-deb --extract "$package" "$work/arm64"
    check 'program and library are for aarch64' sh -c "file '$work/arm64/usr/bin/takt' '$work/arm64/usr/lib/takt/libonnxruntime.so' | grep -c 'ARM aarch64' | grep -qx 2"
    check 'the program for aarch64 runs under qemu' env -u ORT_DYLIB_PATH "$root/.cross/bin/qemu-aarch64" "$work/arm64/usr/bin/takt" --version
    system=$work draw_parts
    check 'it finds the library of its package, and teaches' env -u ORT_DYLIB_PATH "$root/.cross/bin/qemu-aarch64" "$work/arm64/usr/bin/takt" teach --good "$work/tmp/good" --out "$work/model" --size 64x64
}

main() {
    local version arch package
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
    arch=$(dpkg --print-architecture)
    package=$root/dist/takt_${version}_$arch.deb
    [[ -r $package ]] || die "failed to find $package." 'Build it first: make deb'
    "$scripts/setup.sh" packages mmdebstrap file
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    # The folder is read by mmdebstrap's own user.
    chmod 755 "$work"
    cp -- "$package" "$work/old.deb"
    # The same as a later version: what counts is what happens around it.
    dpkg-deb --raw-extract "$package" "$work/later"
    sed -i "s/^Version: .*/&+later/" "$work/later/DEBIAN/control"
    dpkg-deb --root-owner-group -Z gzip -z 1 --build "$work/later" "$work/new.deb" >/dev/null
    say 'making a Debian 12 to install in'
    # shellcheck disable=SC2016 # mmdebstrap's own $1
    mmdebstrap --quiet --variant=minbase --include=systemd,ca-certificates --format=null \
        --customize-hook="$(printf '%q --inside "$1" %q' "$self" "$work")" bookworm - || die 'failed to pass the test of the package: the above was said.'
    if [[ $arch == amd64 && -r $root/dist/takt_${version}_arm64.deb ]]; then
        "$scripts/cross-setup.sh"
        test_arm64 "$root/dist/takt_${version}_arm64.deb" "$package"
    else
        say 'SKIPPED: there is no package for arm64 beside it'
    fi
    say 'all passed'
}

if [[ ${1:-} == --inside ]]; then
    test_inside "$2" "$3"
else
    main "$@"
fi
