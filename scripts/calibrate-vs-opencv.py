"""Renders targets before known cameras, has `takt calibrate` and OpenCV look at them, and compares both with the truth and with each other."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

TAKT, FOLDER = sys.argv[1], Path(sys.argv[2])
WIDTH, HEIGHT = 800, 600
CAMERA = np.array([[905.0, 0, 409.3], [0, 902.5, 294.4], [0, 0, 1]])
LENS = np.array([-0.21, 0.12, 0.0009, -0.0006, 0.0])  # k1 k2 p1 p2 k3
COLUMNS, ROWS, PITCH_MM = 11, 8, 10.0
SUPERSAMPLING = 4
PITCH_PX = 50  # about, in the pictures

# Rotation vector in degrees, and distance in millimetres: target in many tilts, and once in each part of the picture.
VIEWS = [
    ((0, 0, 0), (0, 0, 160)), ((28, 0, 2), (4, 3, 180)), ((3, 30, 5), (0, -4, 180)), ((22, 22, 10), (-18, 8, 190)), ((-20, 24, -12), (18, -8, 190)),
    ((24, -20, 15), (20, 12, 200)), ((-18, -22, 40), (-4, 0, 215)), ((8, -8, 75), (0, 0, 215)),
]


def ramp(distance):
    """-1 on one side of an edge, 1 on the other, and a straight line over the width of a sample between: no edge is rounded to a sample."""
    return np.clip(distance / (0.5 / (SUPERSAMPLING * PITCH_PX)), -1, 1)


def target(kind, x, y):
    """Brightness 0 to 1 at places of the target, in pitches from its first point."""
    if kind == "checkerboard":
        inside = (x > -1) & (x < COLUMNS) & (y > -1) & (y < ROWS)
        side_x, side_y = (ramp(place - np.round(place)) * (1 - 2 * (np.round(place) % 2)) for place in (x, y))
        dark = (1 + side_x * side_y) / 2
    else:
        inside = (x > -0.5) & (x < COLUMNS - 0.5) & (y > -0.5) & (y < ROWS - 0.5)
        dark = (1 + ramp(0.27 - np.hypot(x - np.round(x), y - np.round(y)))) / 2
    return 0.9 - 0.82 * inside * dark


def pose(view):
    (degrees, shift) = view
    turn, _ = cv2.Rodrigues(np.radians(np.array(degrees, float)))
    middle = np.array([(COLUMNS - 1) / 2, (ROWS - 1) / 2, 0]) * PITCH_MM
    return turn, np.array(shift, float) - turn @ middle


def render(kind, view, lens, blur_px, noise, gradient, seed):
    """The picture, and where its points truly are: each pixel the mean of 4 x 4 places, whose rays are exact at the corners of the pixel."""
    edges = np.stack(np.meshgrid(np.arange(WIDTH + 1) - 0.5, np.arange(HEIGHT + 1) - 0.5), -1).reshape(-1, 1, 2)
    x, y = cv2.undistortPoints(edges, CAMERA, lens, criteria=(3, 40, 1e-11)).reshape(-1, 2).T
    turn, shift = pose(view)
    inverse = np.linalg.inv(np.column_stack([turn[:, 0], turn[:, 1], shift]))
    on_plane = inverse @ np.stack([x, y, np.ones_like(x)])
    corner = (on_plane[:2] / on_plane[2] / PITCH_MM).reshape(2, HEIGHT + 1, WIDTH + 1)
    picture = np.zeros((HEIGHT, WIDTH))
    for v in (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING:
        rows = corner[:, :-1] * (1 - v) + corner[:, 1:] * v
        for u in (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING:
            picture += target(kind, *(rows[:, :, :-1] * (1 - u) + rows[:, :, 1:] * u)) / SUPERSAMPLING**2
    picture = cv2.GaussianBlur(picture, (0, 0), blur_px) if blur_px > 0 else picture
    light = 1 - gradient * (np.arange(WIDTH)[None, :] / WIDTH + np.arange(HEIGHT)[:, None] / HEIGHT) / 2
    picture = picture * light * 230 + 8 + np.random.default_rng(seed).normal(0, noise, picture.shape)
    points = np.array([[c * PITCH_MM, r * PITCH_MM, 0] for r in range(ROWS) for c in range(COLUMNS)])
    truth, _ = cv2.projectPoints(points, cv2.Rodrigues(turn)[0], shift, CAMERA, lens)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), truth.reshape(-1, 2)


def opencv_points(kind, picture):
    if kind == "checkerboard":
        flags = cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_EXHAUSTIVE
        found, points = cv2.findChessboardCornersSB(picture, (COLUMNS, ROWS), flags=flags)
    else:
        found, points = cv2.findCirclesGrid(picture, (COLUMNS, ROWS), flags=cv2.CALIB_CB_SYMMETRIC_GRID)
    return points.reshape(-1, 2) if found else None


def in_order_of(points, truth):
    """The points in the order of the truth, nearest first; None where two go to one place."""
    nearest = np.linalg.norm(points[None] - truth[:, None], axis=2).argmin(1)
    return points[nearest] if len(set(nearest)) == len(truth) else None


def off(points, truth):
    if points is None:
        return None
    points = in_order_of(points, truth)
    if points is None:
        return None
    distances = np.linalg.norm(points - truth, axis=1)
    return float(np.sqrt((distances**2).mean())), float(distances.max())


def takt(kind, files, out, *more):
    command = [TAKT, "calibrate", *map(str, files), "--target", kind, "--columns", str(COLUMNS), "--rows", str(ROWS), "--pitch-mm", str(PITCH_MM)]
    command += ["--out", str(out), "--overwrite", "--format", "json", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(float(one) if isinstance(one, np.floating) else one) for one in value]
    return value


def lens_of(camera, lens):
    return {"focal_px": [camera[0, 0], camera[1, 1]], "centre_px": [camera[0, 2], camera[1, 2]], "k1_k2_p1_p2_k3": list(map(float, np.ravel(lens)[:5]))}


def worst_way(camera, lens):
    """How far apart this lens and the true one show the same direction, pixels at most over the picture."""
    grid = np.stack(np.meshgrid(np.linspace(0, WIDTH - 1, 9), np.linspace(0, HEIGHT - 1, 9)), -1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(grid, CAMERA, LENS, criteria=(3, 60, 1e-12)).reshape(-1, 2)
    rays = np.column_stack([rays, np.ones(len(rays))])
    shown, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera, lens)
    return float(np.linalg.norm(shown.reshape(-1, 2) - grid.reshape(-1, 2), axis=1).max())


def several_views(kind, name, blur_px, noise, gradient):
    folder = FOLDER / f"{kind}_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    files, truths, theirs = [], [], []
    for index, view in enumerate(VIEWS):
        picture, truth = render(kind, view, LENS, blur_px, noise, gradient, index)
        files.append(folder / f"{index:02}.png")
        cv2.imwrite(str(files[-1]), picture)
        truths.append(truth)
        theirs.append(opencv_points(kind, picture))
    ours = takt(kind, files, folder / "calibration.toml", "--overlay", str(folder / "overlay"))
    offs_ours = [off(np.array(view["points_px"]), truth) for view, truth in zip(ours["views"], truths)]
    offs_theirs = [off(points, truth) for points, truth in zip(theirs, truths)]
    points = np.array([[c * PITCH_MM, r * PITCH_MM, 0] for r in range(ROWS) for c in range(COLUMNS)], np.float32)

    def by_opencv(views):
        views = [(in_order_of(np.asarray(view), truth)).astype(np.float32).reshape(-1, 1, 2) for view, truth in views]
        rms, camera, lens, _, _ = cv2.calibrateCamera([points] * len(views), views, (WIDTH, HEIGHT), None, None, flags=cv2.CALIB_FIX_K3)
        return {"rms_px": rms, **lens_of(camera, lens), "lens_off_px_max": worst_way(camera, lens)}

    focal, centre = ours["focal_length_px"], ours["principal_point_px"]
    camera = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    lens = np.array(ours["distortion_k1_k2_p1_p2_k3"])
    found = [(view, truth) for view, truth in zip(theirs, truths) if view is not None]
    turn, shift = pose(VIEWS[0])
    depth = shift[2]
    print(json.dumps(rounded({
        "case": f"{kind}, {name}: blur {blur_px} px, noise {noise} levels, light falls by {gradient:.0%}",
        "points_off_px": {
            "takt": {"found": len(offs_ours), "rms": float(np.sqrt(np.mean([o[0] ** 2 for o in offs_ours]))), "max": max(o[1] for o in offs_ours)},
            "opencv": {
                "found": sum(o is not None for o in offs_theirs),
                "rms": float(np.sqrt(np.mean([o[0] ** 2 for o in offs_theirs if o]))) if any(offs_theirs) else None,
                "max": max((o[1] for o in offs_theirs if o), default=None),
            },
        },
        "truth": lens_of(CAMERA, LENS),
        "takt": {"rms_px": ours["rms_px"], **lens_of(camera, lens), "lens_off_px_max": worst_way(camera, lens)},
        "opencv_same_points": by_opencv([(view["points_px"], truth) for view, truth in zip(ours["views"], truths)]),
        "opencv_own_points": by_opencv(found) if len(found) >= 3 else None,
        "scale_mm_per_px": {"truth_at_axis": float(depth / np.sqrt(CAMERA[0, 0] * CAMERA[1, 1])), "takt_in_the_middle": ours["scale_mm_per_px"]},
        "warnings": ours["warnings"],
    })), flush=True)


def one_view(kind, view, lens, name):
    """Distances on the plane, all over the target, measured through the calibration of one picture."""
    folder = FOLDER / f"one_{kind}_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    picture, truth = render(kind, view, lens, 0.8, 2.0, 0.3, 77)
    cv2.imwrite(str(folder / "plane.png"), picture)
    ours = takt(kind, [folder / "plane.png"], folder / "calibration.toml", "--overlay", str(folder / "overlay"))
    print(json.dumps(rounded({
        "case": f"one view of {kind}, {name}", "points_off_px": off(np.array(ours["views"][0]["points_px"]), truth),
        "rms_px": ours["rms_px"], "max_px": ours["max_px"], "k1_k2": ours["distortion_k1_k2_p1_p2_k3"][:2], "undetermined": ours["undetermined"],
        "scale_mm_per_px": {"truth_at_axis": float(pose(view)[1][2] / np.sqrt(CAMERA[0, 0] * CAMERA[1, 1])) if name.startswith("parallel") else None, "takt_in_the_middle": ours["scale_mm_per_px"]},
        "warnings": ours["warnings"],
    })), flush=True)


for kind in ("checkerboard", "dots"):
    several_views(kind, "clean", 0.7, 0.0, 0.0)
    several_views(kind, "usual", 0.9, 2.0, 0.4)
    several_views(kind, "hard", 2.0, 6.0, 0.6)
    one_view(kind, VIEWS[0], LENS, "parallel")
    one_view(kind, VIEWS[1], LENS, "tilted by 28 degrees")
    one_view(kind, VIEWS[0], np.zeros(5), "parallel, no distortion")
