#!/usr/bin/env bash
# deb.sh ARCH: builds takt for amd64 or arm64 and puts dist/takt_VERSION_ARCH.deb together: program, library of ONNX Runtime, services, licences, examples.
# arm64 is built on x86-64 by scripts/cross.sh. Beside the package lies takt_VERSION_ARCH.debug, the names and lines for backtraces of its program.
#
# Plain dpkg-deb: debhelper and cargo-deb both take the libraries that a program depends on from the packages installed here, and those of another
# architecture are in .cross/sysroot and not installed; what remains for them to do is a page of shell.
#
# From the environment, for tests:
#   DEB_PROGRAM=FILE      packs this program, builds none and checks nothing
#   DEB_VERSION=VERSION   instead of the version in Cargo.toml
#   DEB_OUT=DIR           instead of dist/
#   DEB_COMPRESSION=none  instead of xz
set -euo pipefail

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname -- "$scripts")
cross=$root/.cross
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
out=${DEB_OUT:-$root/dist}
arch=${1:-}
say() { printf 'deb: %s\n' "$*" >&2; }

# One line an argument: what failed, then the remedy.
die() {
    printf 'deb: %s\n' "$1" >&2
    shift
    if (($#)); then printf '     %s\n' "$@" >&2; fi
    exit 1
}

# Sets target, library, the tools and the symbols files for the architecture.
choose_architecture() {
    native=$(dpkg --print-architecture)
    strip_tool=objcopy
    shlibdeps=(dpkg-shlibdeps)
    symbols=()
    case $arch in
        amd64) target=x86_64-unknown-linux-gnu machine=x86_64 ;;
        arm64) target=aarch64-unknown-linux-gnu machine=aarch64 ;;
        *) die "failed to choose an architecture: '$arch' is none of amd64, arm64." 'Say: scripts/deb.sh amd64' ;;
    esac
    if [[ $arch == "$native" ]]; then return; fi
    [[ $native == amd64 && $arch == arm64 ]] || die "failed to build for $arch on $native: only arm64 is built elsewhere, on amd64." "Build it on a machine of its own."
    "$scripts/cross-setup.sh"
    strip_tool=$cross/bin/aarch64-linux-gnu-objcopy
    # The symbols files of the sysroot stand in for those of installed packages.
    shlibdeps=(env DEB_HOST_ARCH=arm64 "PATH=$cross/bin:$PATH" dpkg-shlibdeps "-S$cross/sysroot")
    symbols=("$cross/sysroot/DEBIAN/symbols")
}

# Sets program, built unless one was given.
build_program() {
    if [[ -n ${DEB_PROGRAM:-} ]]; then
        program=$DEB_PROGRAM
        [[ -x $program ]] || die "failed to find the program $program, which DEB_PROGRAM names."
        return
    fi
    local built=${CARGO_TARGET_DIR:-$root/target}
    if [[ $arch == "$native" ]]; then
        (cd -- "$root" && cargo build --release --locked --bin takt)
        program=$built/release/takt
    else
        (cd -- "$root" && "$scripts/cross.sh" build --release --locked --bin takt)
        program=$built/$target/release/takt
    fi
    "$scripts/check-symbols.sh" "$program" "${symbols[@]}"
}

# put MODE SOURCE PATH: a file of the package.
put() { install -D -m "$1" -- "$2" "$stage/$3"; }

# put_gz PATH: standard input as a compressed file of the package, the same for the same input.
put_gz() {
    mkdir -p "$(dirname -- "$stage/$1")"
    gzip -9n >"$stage/$1"
    chmod 644 "$stage/$1"
}

put_program() {
    local debug=$out/takt_${version}_$arch.debug
    "$strip_tool" --only-keep-debug --compress-debug-sections "$program" "$debug"
    chmod 644 "$debug"
    mkdir -p "$stage/usr/bin"
    "$strip_tool" --strip-all --remove-section=.comment --add-gnu-debuglink="$debug" "$program" "$stage/usr/bin/takt"
    chmod 755 "$stage/usr/bin/takt"
    put 644 "$library/libonnxruntime.so" usr/lib/takt/libonnxruntime.so
}

# Sets services to the names of all, enabled to those that are started at boot.
put_services() {
    local unit
    services=() enabled=()
    for unit in "$root"/systemd/*.service; do
        [[ -e $unit ]] || die "failed to find the services: there is none in $root/systemd."
        put 644 "$unit" "usr/lib/systemd/system/${unit##*/}"
        services+=("${unit##*/}")
        if grep -q '^\[Install\]' "$unit"; then enabled+=("${unit##*/}"); fi
    done
    put 644 "$root/systemd/takt.sysusers" usr/lib/sysusers.d/takt.conf
    put 644 "$root/systemd/takt.tmpfiles" usr/lib/tmpfiles.d/takt.conf
}

put_documents() {
    local doc=usr/share/doc/takt file
    put 644 "$packaging/copyright" $doc/copyright
    put_gz $doc/onnxruntime-ThirdPartyNotices.txt.gz <"$library/ThirdPartyNotices.txt"
    (cd -- "$root" && "$scripts/third-party-notices.py" "$target") | put_gz $doc/third-party-notices.txt.gz
    put_gz $doc/NEWS.gz <"$root/CHANGELOG.md"
    printf 'takt (%s) unstable; urgency=medium\n\n  * What changed is in NEWS.\n\n -- %s  %s\n' "$version" "$maintainer" \
        "$(LC_ALL=C TZ=UTC date --date="@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S %z')" | put_gz $doc/changelog.gz
    sed "s/@VERSION@/$version/" "$packaging/takt.1" | put_gz usr/share/man/man1/takt.1.gz
    # Examples only: a station's own configuration is never in a package, so none is ever overwritten.
    for file in "$root"/examples/*.toml "$root"/examples/twin/*.toml; do put 644 "$file" "$doc/${file#"$root/"}"; done
    for file in "$root"/systemd/examples/*; do
        if [[ -e $file ]]; then put 644 "$file" "$doc/examples/systemd/${file##*/}"; fi
    done
    for file in "$root"/docs/*.md "$root"/docs/plc/*.md; do put 644 "$file" "$doc/${file#"$root/docs/"}"; done
    put 644 "$packaging/lintian-overrides" usr/share/lintian/overrides/takt
}

# The packages that the program and the library need, as dpkg-shlibdeps finds them by their symbols.
shared_library_packages() {
    # It asks for the control file of a source package.
    mkdir -p "$work/debian"
    printf 'Source: takt\n\nPackage: takt\nArchitecture: any\n' >"$work/debian/control"
    (cd -- "$work" && "${shlibdeps[@]}" -O -e"$stage/usr/bin/takt" -e"$stage/usr/lib/takt/libonnxruntime.so" 2>"$work/shlibdeps.log") |
        sed -n 's/^shlibs:Depends=//p' || { cat "$work/shlibdeps.log" >&2; return 1; }
}

put_control() {
    local packages size script
    mkdir -p "$stage/DEBIAN"
    packages=$(shared_library_packages) || die 'failed to find the libraries that the program depends on: dpkg-shlibdeps said the above.'
    [[ -n $packages ]] || die "failed to find the libraries that $program depends on: it seems to need none."
    size=$(du --summarize --apparent-size --block-size=1024 "$stage" | cut -f 1)
    sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$arch/" -e "s/@INSTALLED_SIZE@/$size/" -e "s/@SHARED_LIBRARIES@/$packages/" \
        "$packaging/control.in" >"$stage/DEBIAN/control"
    for script in postinst prerm postrm; do
        sed -e "s/@ENABLED@/${enabled[*]}/" -e "s/@SERVICES@/${services[*]}/" "$packaging/$script" >"$stage/DEBIAN/$script"
        chmod 755 "$stage/DEBIAN/$script"
    done
    (cd -- "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
}

# Every complaint is an error; scripts/debian/lintian-overrides explains the exceptions.
check_package() {
    "$scripts/setup.sh" packages lintian
    lintian --allow-root --tag-display-limit 0 --fail-on error,warning "$1" >&2 || die "failed to pass lintian with $1: it said the above."
}

main() {
    "$scripts/setup.sh" packages dpkg-dev binutils
    choose_architecture
    packaging=$root/scripts/debian
    maintainer=$(sed -n 's/^Maintainer: //p' "$packaging/control.in")
    version=${DEB_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)}
    build_program
    # Times in the package are those of the last commit, so that the same commit gives the same package. Set after the build: cargo would build
    # what is written in C anew with every commit.
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
    export SOURCE_DATE_EPOCH
    library=$root/.onnxruntime
    if [[ $arch != "$native" ]]; then library=$cross/onnxruntime; fi
    "$scripts/setup.sh" library "$machine" "$library"

    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    stage=$work/package
    mkdir -p "$out"
    install -d -m 755 "$stage"
    put_program
    put_services
    put_documents
    put_control
    # Whatever the umask here, folders are for everybody to read.
    find "$stage" -type d -exec chmod 755 {} +
    package=$out/takt_${version}_$arch.deb
    dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$stage" "$package" >/dev/null
    if [[ -z ${DEB_PROGRAM:-} ]]; then check_package "$package"; fi
    say "$package ($(stat --format=%s "$package") bytes; the program $(stat --format=%s "$stage/usr/bin/takt") bytes)"
}

main
