"""The OpenCV side of preprocess-vs-opencv.sh: makes the frames, takes turns with the program, compares times and tensors.

usage: preprocess-vs-opencv.py PROGRAM FOLDER TURNS
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROUNDS = 10
SIZE = (256, 256)
WIDTH, HEIGHT = 1920, 1080
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def shrink(plane, size=SIZE):
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def normalise(pixels):
    values = np.transpose(np.atleast_3d(pixels), (2, 0, 1)).astype(np.float32)
    values *= 1 / 255
    channels = len(values)
    values -= MEAN[:channels]
    values /= STD[:channels]
    return values


def rgb(frame):
    return normalise(shrink(frame.reshape(HEIGHT, WIDTH, 3)))


def gray8(frame):
    return normalise(shrink(frame.reshape(HEIGHT, WIDTH)))


def nv12_converted_first(frame):
    return normalise(shrink(cv2.cvtColor(frame.reshape(HEIGHT * 3 // 2, WIDTH), cv2.COLOR_YUV2RGB_NV12)))


def nv12_resized_first(frame):
    luma = frame[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    chroma = frame[WIDTH * HEIGHT :].reshape(HEIGHT // 2, WIDTH // 2, 2)
    small = shrink(chroma, (SIZE[0] // 2, SIZE[1] // 2))
    return normalise(cv2.cvtColorTwoPlane(shrink(luma), small, cv2.COLOR_YUV2RGB_NV12))


def scene(random):
    """A picture with edges, texture and noise, colours within what every format can say."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [128 + 60 * np.sin(x / (9 + 7 * c) + c) * np.cos(y / (13 + 5 * c)) for c in range(3)]
    picture = np.stack(waves, axis=2) + random.normal(0, 12, (HEIGHT, WIDTH, 3))
    picture[300:700, 500:1300] = 255 - picture[300:700, 500:1300]
    return np.clip(picture, 0, 255).astype(np.uint8)


def as_nv12(picture):
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    luma, chroma = planes[: WIDTH * HEIGHT], planes[WIDTH * HEIGHT :].reshape(2, -1)
    return np.concatenate([luma, chroma.T.reshape(-1)])


def timed(way, frame):
    start = time.perf_counter_ns()
    way(frame)
    return time.perf_counter_ns() - start


def main():
    program, folder, turns = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    cv2.setNumThreads(1)
    picture = scene(np.random.default_rng(0))
    cases = {
        "RGB": (picture.reshape(-1), [rgb]),
        "GRAY8": (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).reshape(-1), [gray8]),
        "NV12": (as_nv12(picture), [nv12_converted_first, nv12_resized_first]),
    }
    for name, (frame, _) in cases.items():
        frame.tofile(folder / name)
    result = {"opencv": cv2.__version__, "numpy": np.__version__, "rounds": turns * ROUNDS}
    with subprocess.Popen([program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:

        def rounds_of_takt(name):
            child.stdin.write(f"{name} {ROUNDS}\n")
            child.stdin.flush()
            return [int(word) for word in child.stdout.readline().split()]

        for name, (frame, ways) in cases.items():
            takt, opencv = [], {way.__name__: [] for way in ways}
            for turn in range(turns + 1):
                ours = rounds_of_takt(name)
                theirs = {way.__name__: [timed(way, frame) for _ in range(ROUNDS)] for way in ways}
                # The first turn is not counted: caches fill, clocks rise.
                if turn > 0:
                    takt += ours
                    for way, times in theirs.items():
                        opencv[way] += times
            fastest = min(ways, key=lambda way: statistics.median(opencv[way.__name__]))
            takt_us, opencv_us = (statistics.median(times) / 1e3 for times in (takt, opencv[fastest.__name__]))
            # The plain order of steps is what the values are compared with.
            reference = ways[0](frame)
            tensor = np.fromfile((folder / name).with_suffix(".tensor"), np.float32).reshape(reference.shape)
            difference = np.abs(tensor - reference) * STD[: len(reference)] * 255
            result[name.lower()] = {
                "takt_us_p50": round(takt_us),
                "opencv_us_p50": round(opencv_us),
                "opencv_way": fastest.__name__,
                "ratio": round(opencv_us / takt_us, 2),
                "mean_difference_levels": round(float(difference.mean()), 3),
                "max_difference_levels": round(float(difference.max()), 3),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
