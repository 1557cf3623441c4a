"""The OpenCV side of locate-vs-opencv.sh: makes frames of parts in known places, takes turns with the program, compares times and poses.

usage: locate-vs-opencv.py PROGRAM FOLDER WORK KIND ROUNDS
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

PROGRAM, FOLDER, WORK, KIND = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
WIDTH, HEIGHT = 1280, 960
REGION = (340, 255, 600, 450)
ROUNDS = int(sys.argv[5])
SHIFT_PX, ANGLE_DEG = 64, 15
PARTS, POSES = 3, 8

cv2.setNumThreads(1)
random = np.random.default_rng(20261122)


def moved(picture, dx, dy, degrees):
    """The part shifted, and turned clockwise about the middle of the region."""
    x, y, width, height = REGION
    middle = (x + (width - 1) / 2, y + (height - 1) / 2)
    map_ = cv2.getRotationMatrix2D(middle, -degrees, 1)
    map_[:, 2] += (dx, dy)
    return cv2.warpAffine(picture, map_, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def covered(picture, dx, dy):
    """A grey plate over the lower 30 % of the region, where the part is now."""
    x, y, width, height = REGION
    top = int(y + dy + 0.7 * height)
    picture[top : int(y + dy + 1.1 * height), max(0, int(x + dx - 80)) : int(x + dx + width + 80)] = 120
    return picture


def match(template, frame):
    x, y, width, height = REGION
    within = frame[y - SHIFT_PX : y + height + SHIFT_PX, x - SHIFT_PX : x + width + SHIFT_PX]
    best = (-1.0, 0, 0, 0)
    for degrees in range(-ANGLE_DEG, ANGLE_DEG + 1):
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
        turned = cv2.warpAffine(template, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        _, score, _, (column, row) = cv2.minMaxLoc(cv2.matchTemplate(within, turned, cv2.TM_CCOEFF_NORMED))
        best = max(best, (score, column - SHIFT_PX, row - SHIFT_PX, degrees))
    return best


summary = {"frames": 0, "found": 0, "shift_off_px": [], "turn_off_deg": [], "score": [], "takt_ms": [], "opencv_ms": [], "opencv_off_px": []}
by_case = {}
for part in sorted(FOLDER.glob("*.png"))[:PARTS]:
    # Darker than it was taken: white at 1.5 times the light would leave nothing to see, for anybody.
    picture = cv2.imread(str(part), cv2.IMREAD_GRAYSCALE) * 0.65
    picture = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 170).round().astype(np.uint8)
    reference = WORK / "reference.png"
    cv2.imwrite(str(reference), picture)
    x, y, width, height = REGION
    template = picture[y : y + height, x : x + width]
    with subprocess.Popen([PROGRAM, reference, ",".join(map(str, REGION)), KIND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        for number in range(POSES):
            case = ("plain", "light", "noise", "covered")[number % 4]
            dx, dy, degrees = random.uniform(-60, 60), random.uniform(-60, 60), random.uniform(-14.5, 14.5)
            frame = moved(picture, dx, dy, degrees).astype(float)
            frame = covered(frame, dx, dy) if case == "covered" else frame
            frame *= random.choice([0.5, 1.5]) if case == "light" else 1
            frame += random.normal(0, 8 if case == "noise" else 1, frame.shape)
            frame = np.clip(np.round(frame), 0, 255).astype(np.uint8)
            file = WORK / "frame.png"
            cv2.imwrite(str(file), frame)
            program.stdin.write(f"{file} {ROUNDS}\n")
            program.stdin.flush()
            told = program.stdout.readline().split()
            start = time.perf_counter()
            score, column, row, turn = match(template, frame)
            summary["opencv_ms"].append(1e3 * (time.perf_counter() - start))
            summary["opencv_off_px"].append(float(np.hypot(column - dx, row - dy)))
            summary["takt_ms"].append(float(told[0]))
            summary["frames"] += 1
            one = by_case.setdefault(case, {"frames": 0, "found": 0, "shift_off_px_max": 0.0, "turn_off_deg_max": 0.0, "score_min": 1.0})
            one["frames"] += 1
            if told[1] == "-":
                print(part.name, case, (dx, dy, degrees), " ".join(told), file=sys.stderr)
                continue
            summary["found"] += 1
            off, turned = float(np.hypot(float(told[1]) - dx, float(told[2]) - dy)), abs(float(told[3]) - degrees)
            one["found"] += 1
            one["shift_off_px_max"] = max(one["shift_off_px_max"], off)
            one["turn_off_deg_max"] = max(one["turn_off_deg_max"], turned)
            one["score_min"] = min(one["score_min"], float(told[4]))

takt, opencv = np.median(summary["takt_ms"]), np.median(summary["opencv_ms"])
print(json.dumps({
    "kind": KIND, "frames": summary["frames"], "found": summary["found"], "cases": by_case, "takt_ms_median": takt, "takt_ms_min": min(summary["takt_ms"]), "takt_ms_max": max(summary["takt_ms"]),
    "opencv_ms_median": opencv, "opencv_over_takt": opencv / takt, "opencv_off_px_median": float(np.median(summary["opencv_off_px"])),
}, indent=1))
