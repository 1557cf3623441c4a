#!/usr/bin/env bash
# cross-check.sh [DIR]: judges the same pictures by the same models on x86-64 and, under qemu, on aarch64: scores must agree within 1e-4, verdicts exactly.
# Both programs must have been built (make cross-check does). DIR is a data set in the layout of MVTec AD; without one the rendered set of `takt demo` is taken,
# and photographs of TAKT_DATA where they are.
#
# The tolerance is relative to the score or the threshold, whichever is larger, as that of the golden gate (src/model/golden.rs), which the model passes under qemu too.
set -euo pipefail

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname -- "$scripts")
cross=$root/.cross
built=${CARGO_TARGET_DIR:-$root/target}
native=$built/debug/takt
foreign=$built/aarch64-unknown-linux-gnu/release/takt

say() { printf 'cross-check: %s\n' "$*" >&2; }

# One line an argument: what failed, then the remedy.
die() {
    printf 'cross-check: %s\n' "$1" >&2
    shift
    if (($#)); then printf '             %s\n' "$@" >&2; fi
    exit 1
}

x86_64() { ORT_DYLIB_PATH=$root/.onnxruntime/libonnxruntime.so "$native" "$@"; }
aarch64() { ORT_DYLIB_PATH=$cross/onnxruntime/libonnxruntime.so "$cross/bin/qemu-aarch64" "$foreign" "$@"; }

# compare NAME SET MODEL: both programs judge the pictures of the set, one by one and as a whole.
compare() {
    local name=$1 set=$2 model=$3 program from
    for program in x86_64 aarch64; do
        from=$SECONDS
        "$program" inspect --model "$model" "$set"/test/* --format json >"$work/$program.inspect" 2>"$work/log" || { cat "$work/log" >&2; die "failed to inspect on $program."; }
        "$program" evaluate --model "$model" --dataset "$set" --format json >"$work/$program.evaluate" 2>"$work/log" || { cat "$work/log" >&2; die "failed to evaluate on $program."; }
        say "$name on $program: inspected and evaluated in $((SECONDS - from)) s"
    done
    python3 -I - "$name" "$work" <<'PYTHON' || die "failed to get the same from both: the differences are above."
import json, math, sys

name, folder = sys.argv[1:]
TOLERANCE = 1e-4
# What depends on the machine and not on what it computes.
MEASURED = {"latency_us", "latency_us_p50", "latency_us_p99", "peak_rss_mib"}

def lines(file):
    with open(f"{folder}/{file}", encoding="utf-8") as text:
        return [json.loads(line) for line in text]

def close(here, there, scale=1.0):
    if isinstance(here, dict) and isinstance(there, dict):
        return here.keys() == there.keys() and all(close(here[key], there[key]) for key in here if key not in MEASURED)
    if isinstance(here, list) and isinstance(there, list):
        return len(here) == len(there) and all(map(close, here, there))
    if isinstance(here, float) and isinstance(there, float):
        return math.isclose(here, there, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
    return here == there

here, there = lines("x86_64.inspect"), lines("aarch64.inspect")
wrong, largest, largest_relative = [], 0.0, 0.0
if len(here) != len(there) or not here:
    wrong.append(f"{len(here)} pictures on x86_64, {len(there)} on aarch64")
for a, b in zip(here, there):
    same = all(a[key] == b[key] for key in ("image", "verdict", "reason", "threshold"))
    if a["score"] is not None and b["score"] is not None:
        difference = abs(a["score"] - b["score"])
        largest = max(largest, difference)
        relative = difference / max(abs(a["score"]), abs(a["threshold"]))
        largest_relative = max(largest_relative, relative)
        same = same and relative <= TOLERANCE
    else:
        same = same and a["score"] == b["score"]
    if not same:
        wrong.append(f"{a['image']}: {a['verdict']} {a['score']} on x86_64, {b['verdict']} {b['score']} on aarch64")
# Differences in the eighth digit may move a quantile to the next pixel; shares and areas under curves hardly.
if not close(lines("x86_64.evaluate"), lines("aarch64.evaluate")):
    wrong.append(f"evaluate: {lines('x86_64.evaluate')} on x86_64, {lines('aarch64.evaluate')} on aarch64")
for what in wrong:
    print(f"cross-check: {name}: {what}", file=sys.stderr)
if wrong:
    sys.exit(1)
verdicts = {verdict: sum(line["verdict"] == verdict for line in here) for verdict in ("ok", "not_ok", "not_decidable")}
print(f"cross-check: {name}: {len(here)} pictures agree ({verdicts}); largest difference of a score {largest:.2g}, relative {largest_relative:.2g}", file=sys.stderr)
PYTHON
}

teach() {
    x86_64 teach --good "$1/train/good" --out "$2" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; die "failed to teach from $1."; }
}

# What doctor says of the emulated machine is of no interest; that it says it is.
check_doctor() {
    if ! x86_64 doctor --help >/dev/null 2>&1; then
        say 'SKIPPED: this version has no doctor'
        return
    fi
    local code=0
    aarch64 doctor --format json >"$work/doctor" 2>"$work/log" || code=$?
    # 1: it found something, which on this machine it may.
    if ((code > 1)) || ! python3 -I -c 'import json, sys; json.load(sys.stdin)' <"$work/doctor"; then
        cat "$work/log" >&2
        die "failed to run doctor on aarch64: exit code $code."
    fi
    say 'doctor runs on aarch64'
}

main() {
    local sets=() set program
    for program in "$native" "$foreign"; do [[ -x $program ]] || die "failed to find $program." 'Build both: make cross-check'; done
    "$scripts/setup.sh"
    "$scripts/cross-setup.sh"
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"' EXIT
    say "$(aarch64 --version) for aarch64 runs"
    check_doctor
    if (($#)); then
        sets=("$1")
    else
        say 'rendering parts (takt demo)'
        x86_64 demo --out "$work/demo" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; die 'failed to render parts.'; }
        sets=("$work/demo/rendered")
        if [[ -d ${TAKT_DATA:-/nonexistent}/aws_cookie/train/good ]]; then sets+=("$TAKT_DATA/aws_cookie"); fi
    fi
    for set in "${sets[@]}"; do
        teach "$set" "$work/model-${set##*/}"
        compare "${set##*/}" "$set" "$work/model-${set##*/}"
    done
}

main "$@"
