"""Makes quantised models by onnxruntime.quantization and records what ONNX Runtime answers.

    python make.py          # needs numpy, onnx and onnxruntime of tests/tools/requirements.txt
    python make.py NAME...  # only these; the others stay as they are
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = Path(__file__).resolve().parent
RANDOM = np.random.default_rng(11)
IMAGES = np.random.default_rng(12)


def weight(name, *shape, random=RANDOM):
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:])) or 4
    return numpy_helper.from_array((random.standard_normal(shape) / fan_in**0.5).astype(np.float32), name)


def weights(**shapes):
    return [weight(name, *shape, random=IMAGES) for name, shape in shapes.items()]


def model(nodes, weights, shape, out):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *out])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


MLP = model(
    [
        node("Gemm", "x w0 b0", "h0"),
        node("Relu", "h0", "r0"),
        node("MatMul", "r0 w1", "h1"),
        node("Tanh", "h1", "t1"),
        node("Gemm", "t1 w2 b2", "y", transB=1),
    ],
    [weight("w0", 16, 32), weight("b0", 32), weight("w1", 32, 32), weight("w2", 4, 32), weight("b2", 4)],
    [16],
    [4],
)
CONV = model(
    [
        node("Conv", "x w0 b0", "c0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c0", "r0"),
        node("Conv", "r0 w1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=2),
        node("Add", "c1 r0", "a1"),
        node("MaxPool", "a1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "p1", "f1"),
        node("Gemm", "f1 w2 b2", "y"),
    ],
    [weight("w0", 8, 3, 3, 3), weight("b0", 8), weight("w1", 8, 4, 3, 3), weight("b1", 8), weight("w2", 128, 5), weight("b2", 5)],
    [3, 8, 8],
    [5],
)
# A residual network: the sum of two paths, the mean of each channel.
RESIDUAL = model(
    [
        node("Conv", "x w0 b0", "c0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c0", "r0"),
        node("MaxPool", "r0", "p0", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", "p0 w1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2 b2", "c2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", "c2 p0", "a2"),
        node("Relu", "a2", "r2"),
        node("GlobalAveragePool", "r2", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w3 b3", "y"),
    ],
    weights(w0=(8, 3, 3, 3), b0=(8,), w1=(8, 8, 3, 3), b1=(8,), w2=(8, 8, 3, 3), b2=(8,), w3=(8, 5), b3=(5,)),
    [3, 8, 8],
    [5],
)
# A mobile network: convolutions channel by channel, and results held between 0 and 6.
MOBILE = model(
    [
        node("Conv", "x w0 b0", "c0", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Clip", "c0 low high", "k0"),
        node("Conv", "k0 w1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        node("Clip", "c1 low high", "k1"),
        node("Conv", "k1 w2 b2", "c2", kernel_shape=[1, 1]),
        node("GlobalAveragePool", "c2", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w3 b3", "h"),
        node("Identity", "h", "y"),
    ],
    weights(w0=(8, 3, 3, 3), b0=(8,), w1=(8, 1, 3, 3), b1=(8,), w2=(12, 8, 1, 1), b2=(12,), w3=(12, 5), b3=(5,))
    # Bounds that results do pass, so that a network which forgot them answers otherwise.
    + [numpy_helper.from_array(np.float32(bound), name) for name, bound in [("low", -0.25), ("high", 0.75)]],
    [3, 8, 8],
    [5],
)
# Branches that gate each other and are joined, each on a scale of its own, and means of windows.
BRANCHES = model(
    [
        node("Conv", "x w0 b0", "c0", kernel_shape=[3, 3]),
        node("LeakyRelu", "c0", "l0", alpha=0.1),
        node("Conv", "x w1 b1", "c1", kernel_shape=[3, 3]),
        node("Sigmoid", "c1", "s1"),
        node("Mul", "l0 s1", "g"),
        node("Concat", "g s1 l0", "j", axis=1),
        node("AveragePool", "j", "p", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 0], count_include_pad=1),
        node("Conv", "p w2 b2", "c2", kernel_shape=[2, 2]),
        node("ReduceMean", "c2", "m", axes=[-1, 2], keepdims=0),
        node("Gemm", "m w3 b3", "y"),
    ],
    weights(w0=(4, 3, 3, 3), b0=(4,), w1=(4, 3, 3, 3), b1=(4,), w2=(6, 12, 2, 2), b2=(6,), w3=(6, 5), b3=(5,)),
    [3, 8, 8],
    [5],
)


class Data(CalibrationDataReader):
    def __init__(self, shape, random):
        self.rows = iter([{"x": random.standard_normal((1, *shape)).astype(np.float32)} for _ in range(64)])

    def get_next(self):
        return next(self.rows, None)


def make(name, source, shape, random=None, **how):
    random = random or np.random.default_rng(list(name.encode()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(source, path)
        target = HERE / f"{name}.onnx"
        quantize_static(path, target, Data(shape, random), **how)
        quantised = onnx.load(target)
        onnx.save(quantised, target)
        x = np.round(random.standard_normal((8, *shape)), 3).astype(np.float32)
        options = ort.SessionOptions()
        # Optimised, its u8 x s8 products saturate on CPUs without VNNI.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        y = ort.InferenceSession(target, options).run(None, {"x": x})[0]
        exact = ort.InferenceSession(path).run(None, {"x": x})[0]
        print(name, target.stat().st_size, "quantisation error", float(np.abs(y - exact).max()))
        return {"name": name, "shape": list(x.shape), "input": [round(float(v), 3) for v in x.ravel()], "output": [float(f"{v:.8g}") for v in y.ravel()]}


def main():
    qdq, qop = QuantFormat.QDQ, QuantFormat.QOperator
    s8, u8 = QuantType.QInt8, QuantType.QUInt8
    image = [3, 8, 8]
    cases = [
        ("mlp-qdq-u8", MLP, [16], dict(random=RANDOM, quant_format=qdq, activation_type=u8, weight_type=s8)),
        ("mlp-qdq-s8-channel", MLP, [16], dict(random=RANDOM, quant_format=qdq, activation_type=s8, weight_type=s8, per_channel=True)),
        ("conv-qdq-u8", CONV, image, dict(random=RANDOM, quant_format=qdq, activation_type=u8, weight_type=s8, per_channel=True)),
        ("conv-qdq-s8", CONV, image, dict(random=RANDOM, quant_format=qdq, activation_type=s8, weight_type=s8)),
        ("conv-qop-u8", CONV, image, dict(random=RANDOM, quant_format=qop, activation_type=u8, weight_type=u8)),
    ]
    # With symmetric scales the clamps stay in the model; otherwise the quantiser lets scales do their work.
    symmetric = {"ActivationSymmetric": True}
    for title, source in [("residual", RESIDUAL), ("mobile", MOBILE), ("branches", BRANCHES)]:
        cases.append((f"{title}-qdq-s8", source, image, dict(quant_format=qdq, activation_type=s8, weight_type=s8, per_channel=True, extra_options=symmetric)))
        cases.append((f"{title}-qop-u8", source, image, dict(quant_format=qop, activation_type=u8, weight_type=u8)))
    names, path = sys.argv[1:], HERE / "vectors.json"
    before = {case["name"]: case for case in json.loads(path.read_text())} if names else {}
    made = [make(name, source, shape, **how) if name not in before or name in names else before[name] for name, source, shape, how in cases]
    path.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
