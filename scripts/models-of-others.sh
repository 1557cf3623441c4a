#!/usr/bin/env bash
# What takt finds with models of others against what their own programs find with the same files: boxes and masks of Ultralytics' predictor, boxes
# of Hugging Face's RT-DETR and D-FINE, regions of a SegFormer. Prints a line for each picture; fails where a box is off by more than a pixel, or a
# score by more than 1e-3. Installs several gigabytes (torch), and takes some ten minutes.
# usage: scripts/models-of-others.sh [NAME...]
#   TAKT    the program  (default: built here)
#   PYTHON  a Python with what models-of-others-requirements.txt lists (default: an environment made for the run)
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

if [[ -z ${TAKT:-} ]]; then
    (cd -- "$here/.." && cargo build --locked --bin takt >&2)
    TAKT=$(realpath -- "${CARGO_TARGET_DIR:-$here/../target}/debug/takt")
fi
if [[ -z ${ORT_DYLIB_PATH:-} ]]; then
    ORT_DYLIB_PATH=$(realpath -- "$here/../.onnxruntime/libonnxruntime.so")
    export ORT_DYLIB_PATH
fi
if [[ -z ${PYTHON:-} ]]; then
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" install --quiet --requirement "$here/models-of-others-requirements.txt" >&2
    PYTHON=$work/venv/bin/python
fi
export YOLO_CONFIG_DIR=$work YOLO_OFFLINE=1
"$PYTHON" "$here/models-of-others.py" "$TAKT" "$work/models" "$@" | grep -E '^[a-z0-9_-]+ [0-9]+\.png: '
