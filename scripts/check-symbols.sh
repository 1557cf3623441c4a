#!/usr/bin/env bash
# check-symbols.sh PROGRAM [SYMBOLS]: fails if the program needs a newer system than it is made for, and says which symbol does.
#
# JetPack 6 is Ubuntu 22.04, older than the Debian 12 that takt is built on. What the program asks of the C library is in the program itself, with versions.
# GStreamer and GLib give their symbols no versions: SYMBOLS is a symbols file of Debian (dpkg's deb-symbols(5)) that says since when each symbol is there.
# Without SYMBOLS, the files of the packages installed here are taken.
set -euo pipefail

# What Ubuntu 22.04 has. From the environment for systems of another age.
glibc_max=${GLIBC_MAX:-2.35}
gstreamer_max=${GSTREAMER_MAX:-1.20}
glib_max=${GLIB_MAX:-2.72}

program=${1:?failed to check symbols: say which program, check-symbols.sh PROGRAM [SYMBOLS]}
symbols=${2:-}

die() {
    printf 'check-symbols: %s\n' "$1" >&2
    shift
    if (($#)); then printf '               %s\n' "$@" >&2; fi
    exit 1
}

# The symbols files of the packages installed here.
installed_symbols() {
    local package
    for package in libgstreamer1.0-0 libgstreamer-plugins-base1.0-0 libglib2.0-0 libglib2.0-0t64; do
        cat -- "$(dpkg-query --control-path "$package" symbols 2>/dev/null)" 2>/dev/null || true
    done
}

command -v readelf >/dev/null || die 'failed to find readelf.' 'Install the Debian package binutils, then run this again.'
[[ -r $program ]] || die "failed to read $program."
if [[ -n $symbols && ! -r $symbols ]]; then die "failed to read the symbols file $symbols."; fi

# Everything the program needs from elsewhere: "version NAME" for the versions the loader asks for, "symbol NAME[@VERSION]" for each symbol.
needed() {
    readelf --wide --version-info "$program" | sed -n '/^Version needs section/,$ s/.* Name: \([^ ]*\) .*/version \1/p'
    readelf --wide --dyn-syms "$program" | awk '$7 == "UND" && $8 != "" { print "symbol", $8 }'
}

needed | awk -v glibc_max="$glibc_max" -v gstreamer_max="$gstreamer_max" -v glib_max="$glib_max" -v program="$program" '
# Whether a version is newer than a release, as far as the release is told: 1.20.3 is not newer than 1.20, 1.21.1 is.
function newer(version, release,    i, n, v, r) {
    sub(/^[0-9]+:/, "", version)
    sub(/-.*/, "", version)
    n = split(release, r, ".")
    split(version, v, ".")
    for (i = 1; i <= n; i++) if (v[i] + 0 != r[i] + 0) return v[i] + 0 > r[i] + 0
    return 0
}
function fails(what) { printf "check-symbols: %s\n", what >"/dev/stderr"; failed = 1 }
function check_library(name, what, max) {
    count[what]++
    if (!(name in since)) fails(program " needs " name ", which no package is known to have")
    else if (newer(since[name], max)) fails(program " needs " name ", which " what " has since " since[name] "; " max " is what it may need")
    else if (!(what in newest) || newer(since[name], newest[what])) newest[what] = since[name]
}
# The symbols file comes first: lines that begin with a space tell a symbol and the first version that had it.
FILENAME != "-" {
    if (/^ /) { name = $1; sub(/^\([^)]*\)/, "", name); sub(/@.*/, "", name); if (!(name in since)) since[name] = $2 }
    next
}
$1 == "version" && $2 ~ /^GLIBC_/ {
    count["glibc"]++
    release = $2
    sub(/^GLIBC_/, "", release)
    if (release !~ /^[0-9]/ || newer(release, glibc_max)) too_new[$2] = 1
    else if (!("glibc" in newest) || newer(release, newest["glibc"])) newest["glibc"] = release
}
$1 == "symbol" {
    at = index($2, "@")
    if (at) { version = substr($2, at); sub(/^@+/, "", version); users[version] = users[version] " " substr($2, 1, at - 1) }
    else if ($2 ~ /^_?gst_/) check_library($2, "GStreamer", gstreamer_max)
    else if ($2 ~ /^g_/) check_library($2, "GLib", glib_max)
}
END {
    for (version in too_new) fails(program " needs " version " of the C library, for:" (version in users ? users[version] : " its own layout") "; " glibc_max " is what it may need")
    for (i = split("glibc GStreamer GLib", kinds, " "); i >= 1; i--)
        if (!count[kinds[i]]) fails("failed to find what " program " needs of " kinds[i] ": nothing was checked")
    if (failed) exit 1
    printf "%s needs glibc %s, GStreamer %s (%d symbols), GLib %s (%d symbols)\n", program, newest["glibc"], newest["GStreamer"], count["GStreamer"], newest["GLib"], count["GLib"]
}' <(if [[ -n $symbols ]]; then cat -- "$symbols"; else installed_symbols; fi) -
