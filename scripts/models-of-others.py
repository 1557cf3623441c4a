"""Checks what takt finds with models of others against what their own programs find with the same files.

Weights are random, from a seed, spread so that scores differ: nothing has to be downloaded, and every box that a head can give turns up.
Run by scripts/models-of-others.sh, which installs what it needs.
"""

import json
import pathlib
import subprocess
import sys

import cv2
import numpy
import onnxruntime
import torch
from PIL import Image

SEED = 7
SCORE_MIN = 0.3
IOU = 0.45
FINDINGS_MAX = 64
CLASSES = [f"class {index}" for index in range(5)]


def pictures(folder):
    """Textured pictures of several shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(SEED)
    for index, (width, height) in enumerate([(640, 480), (333, 500), (320, 320), (1280, 720)]):
        coarse = Image.fromarray(random.integers(0, 256, (height // 20, width // 20, 3), dtype=numpy.uint8))
        fine = random.normal(0, 2, (height, width, 3))
        pixels = numpy.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float) + fine
        Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(folder / f"{index}.png")
    return sorted(folder.glob("*.png"))


def takt(program, work, name, model, golden, told):
    package = work / f"{name}.takt"
    told = ["--overwrite", "--threshold", str(SCORE_MIN), *told]
    subprocess.run(
        [program, "model", "import", str(model), "--golden", str(golden), "--out", str(package), *told],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = subprocess.run(
        [program, "inspect", "--model", str(package), str(golden), "--format", "json"], stdout=subprocess.PIPE, check=False, text=True
    ).stdout
    return [json.loads(line) for line in lines.splitlines()]


def agree(name, found, expected):
    """Pairs each expected (class, score, x0, y0, x1, y1, area or None) with the nearest finding of its class; prints how far off they are."""
    # takt judges all, and keeps the best of them.
    expected = sorted(expected, key=lambda wanted: -wanted[1])[:FINDINGS_MAX]
    boxes = [(f["class"], f["score"], f["x"], f["y"], f["x"] + f["width"], f["y"] + f["height"], f["area_px"]) for f in found]
    worst_px, worst_score, worst_area, missing = 0.0, 0.0, 0.0, 0
    for wanted in expected:
        near = [box for box in boxes if box[0] == wanted[0] and abs(box[1] - wanted[1]) <= 1e-3]
        if not near:
            missing += 1
            continue
        best = min(near, key=lambda box: max(abs(a - b) for a, b in zip(box[2:6], wanted[2:6])))
        boxes.remove(best)
        worst_px = max(worst_px, *(abs(a - b) for a, b in zip(best[2:6], wanted[2:6])))
        worst_score = max(worst_score, abs(best[1] - wanted[1]))
        if wanted[6] is not None:
            box = (wanted[4] - wanted[2]) * (wanted[5] - wanted[3])
            worst_area = max(worst_area, abs(best[6] - wanted[6]) / max(box, 1))
    print(
        f"{name}: {len(expected)} expected, {missing} missing, {len(boxes)} too many, "
        f"off by at most {worst_px:.2f} px, {worst_score:.1e} of score, {100 * worst_area:.2f} % of a box in area"
    )
    return missing == 0 and not boxes and worst_px <= 1.0 and worst_score <= 1e-3


def spread(detect):
    """Makes the scores and boxes of a head with random weights differ."""
    one_to_one = [*getattr(detect, "one2one_cv3", []), *getattr(detect, "one2one_cv2", [])]
    for branch in [*detect.cv3, *detect.cv2, *one_to_one]:
        last = branch[-1]
        last.weight.data.mul_(2 / last.weight.data.std() / last.weight.shape[1] ** 0.5)
        last.bias.data.zero_()


def settle(model, golden):
    """Untrained normalisation lets values die out from layer to layer; a few pictures give it statistics."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    pixels = [numpy.asarray(Image.open(path).convert("RGB").resize((320, 320))).copy() for path in sorted(golden.glob("*.png"))]
    batch = torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(batch)
    model.eval()


def of_ultralytics(program, work, golden, kind, more=()):
    from ultralytics import YOLO

    from ultralytics.nn.tasks import yaml_model_load

    torch.manual_seed(SEED)
    described = work / f"{kind}.yaml"
    described.write_text(json.dumps({**yaml_model_load(f"{kind}.yaml"), "nc": len(CLASSES)}))
    model = YOLO(str(described), task="segment" if "seg" in kind else "detect")
    model.model.names = dict(enumerate(CLASSES))
    head = model.model.model[-1]
    settle(model.model, golden)
    spread(head)
    model.model.pt_path = str(work / f"{kind}.pt")
    file = work / f"{kind}.onnx"
    exported = model.export(format="onnx", imgsz=320, simplify=False)
    pathlib.Path(exported).replace(file)
    found = takt(program, work, kind, file, golden, ["--iou", str(IOU), *more])
    reference = YOLO(str(file), task="segment" if "seg" in kind else "detect")
    passed = True
    for path, line in zip(sorted(golden.glob("*.png")), found):
        (result,) = reference.predict(str(path), conf=SCORE_MIN, iou=IOU, imgsz=320, max_det=300, retina_masks=True, verbose=False)
        areas = [None] * len(result.boxes)
        if result.masks is not None:
            areas = [float(mask.sum()) for mask in result.masks.data]
        expected = [
            (result.names[int(cls)], float(conf), *map(float, box), area)
            for cls, conf, box, area in zip(result.boxes.cls, result.boxes.conf, result.boxes.xyxy, areas)
            # Theirs keep boxes that lie in the bars beside the picture, and clip them to nothing.
            if box[0] < box[2] and box[1] < box[3]
        ]
        passed &= agree(f"{kind} {path.name}", line["findings"], expected)
    return passed


def of_transformers(program, work, golden, name):
    import transformers

    torch.manual_seed(SEED)
    names = dict(enumerate(CLASSES))
    if name == "rt_detr":
        config = transformers.RTDetrConfig(id2label=names, num_queries=100, decoder_layers=2)
        model = transformers.RTDetrForObjectDetection(config)
    else:
        config = transformers.DFineConfig(id2label=names, num_queries=100, decoder_layers=2)
        model = transformers.DFineForObjectDetection(config)
    model.eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear) and layer.out_features == len(CLASSES):
            layer.weight.data.normal_(0, 0.1)
            layer.bias.data.zero_()

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            out = self.model(pixel_values)
            return out.logits, out.pred_boxes

    file = work / f"{name}.onnx"
    torch.onnx.export(
        Wrapped(), torch.zeros(1, 3, 320, 320), str(file), input_names=["pixel_values"], output_names=["logits", "pred_boxes"], opset_version=17, dynamo=False
    )
    told = ["--head", "detr_logits", "--colour", "rgb", "--range", "unit", "--fit", "stretch", "--filter", "point"]
    for label in CLASSES:
        told += ["--class", label]
    found = takt(program, work, name, file, golden, told)
    session = onnxruntime.InferenceSession(str(file))
    processor = transformers.RTDetrImageProcessor()
    passed = True
    for path, line in zip(sorted(golden.glob("*.png")), found):
        picture = Image.open(path).convert("RGB")
        pixels = cv2.resize(numpy.asarray(picture), (320, 320)).astype(numpy.float32) / 255
        logits, boxes = session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None]})
        outputs = transformers.models.rt_detr.modeling_rt_detr.RTDetrObjectDetectionOutput(
            logits=torch.from_numpy(logits), pred_boxes=torch.from_numpy(boxes)
        )
        (result,) = processor.post_process_object_detection(outputs, SCORE_MIN, torch.tensor([[picture.height, picture.width]]))
        size = (picture.width, picture.height, picture.width, picture.height)
        expected = [
            (names[int(label)], float(score), *(min(max(edge, 0.0), most) for edge, most in zip(map(float, box), size)), None)
            for label, score, box in zip(result["labels"], result["scores"], result["boxes"])
        ]
        passed &= agree(f"{name} {path.name}", line["findings"], expected)
    return passed


def of_segmentation(program, work, golden):
    """SegFormer: logits at a quarter of the input. The reference is SciPy's labelling of NumPy's softmax."""
    import transformers
    from scipy import ndimage, special

    torch.manual_seed(SEED)
    config = transformers.SegformerConfig(id2label=dict(enumerate(CLASSES)), depths=[1, 1, 1, 1])
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.decode_head.classifier.weight.data.mul_(30)

    class Wrapped(torch.nn.Module):
        def forward(self, pixel_values):
            return model(pixel_values).logits

    file = work / "segformer.onnx"
    wrapped = Wrapped()
    wrapped.model = model
    torch.onnx.export(wrapped, torch.zeros(1, 3, 256, 256), str(file), input_names=["pixel_values"], output_names=["logits"], opset_version=17, dynamo=False)
    told = ["--scores", "logits", "--ok-class", CLASSES[0], "--colour", "rgb", "--range", "imagenet", "--fit", "stretch", "--filter", "point"]
    for label in CLASSES:
        told += ["--class", label]
    found = takt(program, work, "segformer", file, golden, told)
    session = onnxruntime.InferenceSession(str(file))
    passed = True
    for path, line in zip(sorted(golden.glob("*.png")), found):
        picture = Image.open(path).convert("RGB")
        pixels = cv2.resize(numpy.asarray(picture), (256, 256)).astype(numpy.float32) / 255
        pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        (logits,) = session.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(numpy.float32)})
        shares = special.softmax(logits[0].astype(float), axis=0)
        defects = shares[1:].sum(axis=0)
        label = numpy.where(defects > SCORE_MIN, 1 + shares[1:].argmax(axis=0), 0)
        scale = (picture.width / label.shape[1], picture.height / label.shape[0])
        expected = []
        for index in range(1, len(CLASSES)):
            regions, count = ndimage.label(label == index, structure=numpy.ones((3, 3)))
            for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
                mine = regions == number
                edges = [columns.start * scale[0], rows.start * scale[1], columns.stop * scale[0], rows.stop * scale[1]]
                expected.append((CLASSES[index], float(defects[mine].max()), *edges, float(mine.sum()) * scale[0] * scale[1]))
        passed &= agree(f"segformer {path.name}", line["findings"], expected)
        passed &= abs(line["score"] - defects.max()) < 1e-3
    return passed


def main():
    program, work = sys.argv[1], pathlib.Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    golden = work / "pictures"
    pictures(golden)
    checks = {
        **{kind: lambda kind=kind: of_ultralytics(program, work, golden, kind) for kind in ["yolov8n", "yolo11n", "yolov5n", "yolov10n", "yolov8n-seg", "yolo11n-seg"]},
        **{name: lambda name=name: of_transformers(program, work, golden, name) for name in ["rt_detr", "d_fine"]},
        "segformer": lambda: of_segmentation(program, work, golden),
    }
    wanted = sys.argv[3:] or list(checks)
    failed = [name for name in wanted if not checks[name]()]
    if failed:
        sys.exit(f"differ: {', '.join(failed)}")


if __name__ == "__main__":
    main()
