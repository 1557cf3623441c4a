#!/usr/bin/env bash
# The locator against the truth and against OpenCV's matchTemplate (TM_CCOEFF_NORMED at 31 angles from -15 to 15 degrees, +-64 px), one thread
# each, turn by turn in one run: real parts, moved and turned by known ways, in other light, with noise, and partly covered. Prints JSON.
# usage: scripts/locate-vs-opencv.sh FOLDER of pictures of parts, such as aws_aliens/train/good
#   KIND    edges or template      (default: edges)
#   ROUNDS  searches per picture, of which the fastest counts (default: 3; more where others use the machine)
#   BENCH   the program            (default: benches/locate.rs, built here)
#   PYTHON  a Python with what opencv-requirements.txt lists (default: an environment made for the run)
set -euo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

if [[ -z ${BENCH:-} ]]; then
    # As fast as a release where it counts, and what tests and the demo have already built.
    BENCH=$(cd -- "$here/.." && cargo bench --locked --profile dev --bench locate --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
    BENCH=$(realpath -- "$here/../$BENCH" 2>/dev/null || realpath -- "$BENCH")
fi
if [[ -z ${PYTHON:-} ]]; then
    python3 -m venv "$work/venv" >&2
    "$work/venv/bin/pip" install --quiet --requirement "$here/opencv-requirements.txt" >&2
    PYTHON=$work/venv/bin/python
fi
"$PYTHON" "$here/locate-vs-opencv.py" "$BENCH" "$1" "$work" "${KIND:-edges}" "${ROUNDS:-3}"
