#!/usr/bin/env bash
# Preprocessing against OpenCV and NumPy on one thread, turn by turn in one run: 1920x1080 RGB, GRAY8 and NV12 by area to normalised floats,
# NCHW, 256x256. Prints one JSON object with the medians in microseconds, their ratios and the mean difference in levels of 0 to 255.
# usage: scripts/preprocess-vs-opencv.sh
#   BENCH   the program            (default: benches/against_opencv.rs, built here)
#   PYTHON  a Python with what opencv-requirements.txt lists (default: an environment made for the run)
#   CORE    core that both run on  (default 0)
#   TURNS   turns of 10 rounds     (default 30)
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

if [[ -z ${BENCH:-} ]]; then
    # As fast as a release where it counts, and what tests and the demo have already built.
    BENCH=$(cd -- "$here/.." && cargo bench --locked --profile dev --bench against_opencv --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
    BENCH=$(realpath -- "$here/../$BENCH" 2>/dev/null || realpath -- "$BENCH")
fi
if [[ -z ${PYTHON:-} ]]; then
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" install --quiet --requirement "$here/opencv-requirements.txt" >&2
    PYTHON=$work/venv/bin/python
fi
mkdir "$work/frames"
taskset -c "${CORE:-0}" "$PYTHON" "$here/preprocess-vs-opencv.py" "$BENCH" "$work/frames" "${TURNS:-30}"
