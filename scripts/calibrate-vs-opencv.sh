#!/usr/bin/env bash
# Calibration against OpenCV and against the truth: pictures of targets before known cameras, rendered by calibrate-vs-opencv.py with a lens,
# tilt, blur, a fall of light and noise. Prints one JSON object per case.
# usage: scripts/calibrate-vs-opencv.sh [FOLDER for pictures and overlays]
#   TAKT    the program            (default: built here)
#   PYTHON  a Python with what opencv-requirements.txt lists (default: an environment made for the run)
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

if [[ -z ${TAKT:-} ]]; then
    (cd -- "$here/.." && cargo build --locked --bin takt >&2)
    TAKT=${CARGO_TARGET_DIR:-$here/../target}/debug/takt
fi
if [[ -z ${PYTHON:-} ]]; then
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" install --quiet --requirement "$here/opencv-requirements.txt" >&2
    PYTHON=$work/venv/bin/python
fi
"$PYTHON" "$here/calibrate-vs-opencv.py" "$TAKT" "${1:-$work/pictures}"
