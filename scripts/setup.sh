#!/usr/bin/env bash
# Puts in place what building, testing and the demo need, and nothing else: a check of Rust, the Debian packages that are missing (a C compiler,
# GStreamer, Python for tests against other implementations, systemd's checks of units, network namespaces and nftables for tests), and the shared library of ONNX Runtime in .onnxruntime/. Prints nothing, changes nothing and stays off the network when all of it is there.
#
# ORT_DYLIB_PATH=FILE uses a library of your own (for example one with TensorRT on a Jetson); then none is fetched.
#
# Two parts of it serve other scripts:
#   setup.sh library ARCH DIR    puts the library for x86_64 or aarch64 into DIR, whatever this machine is
#   setup.sh packages NAME...    installs those of the Debian packages that are missing
set -euo pipefail

readonly RUST_MINOR_MIN=92 # rust-version in Cargo.toml
readonly ORT_VERSION=1.31.1 # also in onnxruntime-requirements.txt, with the hashes of the wheels
readonly ORT_SHA256_X86_64=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3
readonly ORT_SHA256_AARCH64=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname -- "$scripts")
ort_dir=$root/.onnxruntime
ort_library=$ort_dir/libonnxruntime.so
requirements=$scripts/onnxruntime-requirements.txt

say() { printf 'setup: %s\n' "$*" >&2; }

# One line a argument: what failed, then the remedy.
die() {
    printf 'setup: %s\n' "$1" >&2
    shift
    if (($#)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

check_rust() {
    local version='' minor
    version=$(cd -- "$root" && cargo --version 2>/dev/null) || die 'failed to find Rust: cargo is not in PATH or does not run.' \
        "Rust 1.$RUST_MINOR_MIN or later is needed. Get it with rustup: https://rustup.rs" \
        'then open a new shell, or run: . ~/.cargo/env'
    if [[ $version =~ ^cargo\ ([0-9]+)\.([0-9]+) ]]; then
        minor=${BASH_REMATCH[2]}
        if ((BASH_REMATCH[1] > 1 || minor >= RUST_MINOR_MIN)); then return; fi
    fi
    die "failed to find a recent Rust: this is '$version', 1.$RUST_MINOR_MIN or later is needed." \
        'Run: rustup update stable' \
        'If this Rust came from the Debian package rather than from rustup, get rustup first: https://rustup.rs'
}

# The C compiler links every Rust program; crt1.o stands for the C library's development files.
compiler_works() {
    local start_file
    command -v cc >/dev/null || return 1
    start_file=$(cc -print-file-name=crt1.o 2>/dev/null) || return 1
    [[ $start_file == /* && -e $start_file ]]
}

certificates_exist() {
    local file
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
        if [[ -n $file && -s $file ]]; then return 0; fi
    done
    return 1
}

# Prints the Debian packages of GStreamer that are missing: what takt is built with, and the elements that its twin and its tests use.
missing_gstreamer() {
    local plugins element package
    if ! command -v pkg-config >/dev/null; then printf '%s\n' pkg-config; fi
    if ! pkg-config --exists 'gstreamer-1.0 >= 1.20' 'gstreamer-app-1.0 >= 1.20' 'gstreamer-video-1.0 >= 1.20' 2>/dev/null; then
        printf '%s\n' libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    fi
    # Without GStreamer there is no folder to look into; then all are missing.
    plugins=$(pkg-config --variable=pluginsdir gstreamer-1.0 2>/dev/null) || plugins=''
    for element in videotestsrc:base app:base videoconvertscale:base video4linux2:good jpeg:good shm:bad gdp:bad; do
        package=gstreamer1.0-plugins-${element#*:}
        if plugin_exists "$plugins" "${element%:*}"; then continue; fi
        printf '%s\n' "$package"
    done | sort -u
}

# Whether the folder has the plugin. GStreamer 1.20 has videoconvert by itself.
plugin_exists() {
    local name=$2
    [[ -n $1 ]] && [[ -e $1/libgst$name.so || ($name == videoconvertscale && -e $1/libgstvideoconvert.so) ]]
}

# Whether folders for Python packages can be made, with pip in them.
venv_works() {
    local python
    for python in python3 /usr/bin/python3; do
        if command -v "$python" >/dev/null && "$python" -I -c 'import venv, ensurepip' >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

# Prints the first Python that has pip.
python_with_pip() {
    local python
    for python in python3 /usr/bin/python3; do
        if command -v "$python" >/dev/null && "$python" -m pip --version >/dev/null 2>&1; then
            printf '%s\n' "$python"
            return 0
        fi
    done
    return 1
}

# True when this project has to fetch the library: no library of the user's own, and ours is missing or damaged.
library_is_needed() {
    if [[ -n ${ORT_DYLIB_PATH:-} && $ORT_DYLIB_PATH != "$ort_library" ]]; then
        # A bare name is looked up by the system's loader and cannot be checked here.
        if [[ $ORT_DYLIB_PATH == /* && ! -r $ORT_DYLIB_PATH ]]; then
            die "failed to find ONNX Runtime: ORT_DYLIB_PATH names $ORT_DYLIB_PATH, which cannot be read." \
                'Correct ORT_DYLIB_PATH, or unset it to have the library fetched into .onnxruntime/.'
        fi
        return 1
    fi
    if [[ -e $ort_library ]] && ! has_sha256 "$ort_library" "$ort_sha256"; then
        say 'the library in .onnxruntime/ is damaged or of another version; fetching it again'
        return 0
    fi
    [[ ! -e $ort_library || ! -e $ort_dir/LICENSE || ! -e $ort_dir/ThirdPartyNotices.txt || ! -e $ort_dir/SHA256SUMS ]]
}

has_sha256() {
    printf '%s  %s\n' "$2" "$1" | sha256sum --check --status 2>/dev/null
}

# Sets arch and ort_sha256 for the architecture given, else for this machine's.
choose_library() {
    arch=${1:-$(uname -m)}
    if [[ -z ${1:-} && $(getconf LONG_BIT) != 64 ]]; then arch+=' with 32-bit programs'; fi
    case "$(uname -s) $arch" in
        'Linux x86_64') ort_sha256=$ORT_SHA256_X86_64 ;;
        'Linux aarch64') ort_sha256=$ORT_SHA256_AARCH64 ;;
        *)
            ort_sha256=''
            if [[ -z ${ORT_DYLIB_PATH:-} || $ORT_DYLIB_PATH == "$ort_library" ]]; then
                die "failed to choose an ONNX Runtime library: none is pinned for $(uname -s) on $arch, only for Linux on x86_64 and aarch64." \
                    'Set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.20 or later built for this machine.'
            fi
            ;;
    esac
}

# Installs the Debian packages given, if any.
install_packages() {
    if (($# == 0)); then return; fi
    local command="apt-get install -y --no-install-recommends $*" prefix=() log
    if ! command -v apt-get >/dev/null; then
        die "failed to install what is missing: this system has no apt-get. The Debian packages would be: $*" \
            'Install their counterparts with the package manager of this system, then run this again.'
    fi
    if (($(id -u) != 0)); then
        command="sudo apt-get update && sudo $command"
        # Without a terminal nobody can type a password.
        if [[ -t 0 ]]; then prefix=(sudo); else prefix=(sudo -n); fi
        if ! command -v sudo >/dev/null || ! "${prefix[@]}" true; then
            die "failed to install $*: this needs root. Run this, as root without the word sudo, then try again:" "$command"
        fi
    else
        command="apt-get update && $command"
    fi
    say "installing Debian packages: $*"
    # dpkg needs the system folders in PATH.
    prefix+=(env DEBIAN_FRONTEND=noninteractive "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    log=$(mktemp)
    # A package list of somebody else's may fail to update; whether ours can be installed is what counts.
    "${prefix[@]}" apt-get update >"$log" 2>&1 </dev/null || true
    if ! "${prefix[@]}" apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "failed to install $*: apt-get said the above. Solve that, then run:" "$command"
    fi
    rm -f "$log"
}

fetch_library() {
    local python=$1 wheel="onnxruntime-$ORT_VERSION-cp311-cp311-manylinux_2_28_$arch.whl" temp file
    mkdir -p "$ort_dir"
    # Two runs at once would fetch twice; the second waits and then finds everything there.
    exec 9>"$ort_dir/.lock"
    if ! flock --nonblock 9; then
        say 'waiting for another setup of this project'
        flock 9
        if ! library_is_needed; then return; fi
    fi
    rm -rf -- "$ort_dir"/tmp.*
    temp=$(mktemp -d "$ort_dir/tmp.XXXXXX")
    # shellcheck disable=SC2064 # the name is wanted as it is now
    trap "rm -rf -- $(printf '%q' "$temp")" EXIT

    say "fetching ONNX Runtime $ORT_VERSION (about 23 MB)"
    if ! "$python" -m pip download --quiet --disable-pip-version-check --no-input --retries 3 --no-deps --only-binary=:all: \
        --python-version 3.11 --implementation cp --abi cp311 --platform "manylinux_2_28_$arch" \
        --require-hashes --requirement "$requirements" --dest "$temp" </dev/null; then
        die "failed to fetch $wheel from the Python package index: pip said the above." \
            'Check the network and the proxy (HTTPS_PROXY, PIP_INDEX_URL), then run this again.' \
            'Without a network: put that wheel in a folder DIR and run: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR make setup' \
            'or set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.20 or later.'
    fi
    if ! "$python" -I - "$temp/$wheel" "$temp" \
        "onnxruntime/capi/libonnxruntime.so.$ORT_VERSION" onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt <<'PYTHON'; then
import os, shutil, sys, zipfile
wheel, folder, *members = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in members:
        with archive.open(member) as source, open(os.path.join(folder, os.path.basename(member)), "wb") as target:
            shutil.copyfileobj(source, target)
PYTHON
        die "failed to unpack $wheel: Python said the above." 'Check the free space of this disk, then run this again.'
    fi
    mv -- "$temp/libonnxruntime.so.$ORT_VERSION" "$temp/libonnxruntime.so"
    if ! has_sha256 "$temp/libonnxruntime.so" "$ort_sha256"; then
        die "failed to verify libonnxruntime.so out of $wheel: its sha256 is not $ort_sha256." \
            'Check the free space of this disk; if there is enough, scripts/setup.sh and scripts/onnxruntime-requirements.txt disagree.'
    fi
    # What is fetched for another architecture cannot be loaded here.
    if [[ $arch == "$(uname -m)" ]] && ! "$python" -I -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$temp/libonnxruntime.so"; then
        die "failed to load ONNX Runtime $ORT_VERSION: the loader said the above." \
            'It needs glibc 2.28 and libstdc++ of GCC 8 or later: Debian 10, Ubuntu 20.04 and later have both.' \
            'On an older system set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.20 or later.'
    fi
    (cd -- "$temp" && sha256sum libonnxruntime.so LICENSE ThirdPartyNotices.txt >SHA256SUMS)
    # Each move is atomic, the library comes last: whoever sees it sees all of it.
    for file in LICENSE ThirdPartyNotices.txt SHA256SUMS libonnxruntime.so; do
        chmod 644 "$temp/$file"
        mv -f -- "$temp/$file" "$ort_dir/$file"
    done
}

main() {
    local missing=() python='' fetch=0
    # rustup's folder is often missing from the PATH of shells that did not log in.
    PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
    check_rust
    choose_library
    if library_is_needed; then fetch=1; fi

    if ! compiler_works; then missing+=(gcc libc6-dev); fi
    if ! certificates_exist; then missing+=(ca-certificates); fi
    if ((fetch)) && ! python=$(python_with_pip); then missing+=(python3-pip); fi
    mapfile -t -O ${#missing[@]} missing < <(missing_gstreamer)
    if ! venv_works; then missing+=(python3 python3-venv); fi
    # Checks the units of the services.
    if ! command -v systemd-analyze >/dev/null; then missing+=(systemd); fi
    if ! PATH=$PATH:/usr/sbin command -v nft >/dev/null; then missing+=(nftables); fi
    if ! PATH=$PATH:/usr/sbin command -v ip >/dev/null; then missing+=(iproute2); fi
    install_packages "${missing[@]}"

    if ((fetch)); then
        python=$(pip_or_die)
        fetch_library "$python"
        say 'ready'
    fi
}

pip_or_die() {
    python_with_pip || die 'failed to find pip: neither python3 nor /usr/bin/python3 runs "-m pip".' \
        'Install the Debian package python3-pip, then run this again.'
}

# library ARCH DIR
library() {
    local python
    if (($# != 2)); then die 'failed to choose a library: it takes an architecture and a folder.' 'Say: scripts/setup.sh library aarch64 DIR'; fi
    # The one that is pinned is wanted, not one of the user's own.
    unset ORT_DYLIB_PATH
    ort_dir=$2
    ort_library=$ort_dir/libonnxruntime.so
    choose_library "$1"
    if ! library_is_needed; then return; fi
    if ! python_with_pip >/dev/null; then install_packages python3-pip; fi
    python=$(pip_or_die)
    fetch_library "$python"
}

# packages NAME...
packages() {
    local package missing=()
    for package in "$@"; do
        if [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then missing+=("$package"); fi
    done
    install_packages "${missing[@]}"
}

case "${1:-}" in
    '') main ;;
    library | packages) "$@" ;;
    *) die "failed to understand '$1'." 'Say: scripts/setup.sh, scripts/setup.sh library ARCH DIR, or scripts/setup.sh packages NAME...' ;;
esac
