"""Makes quantised models by onnxruntime.quantization and records what ONNX Runtime answers.

    python make.py        # needs numpy, onnx and onnxruntime of tests/tools/requirements.txt
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = Path(__file__).resolve().parent
RANDOM = np.random.default_rng(11)


def weight(name, *shape):
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:])) or 4
    return numpy_helper.from_array((RANDOM.standard_normal(shape) / fan_in**0.5).astype(np.float32), name)


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


class Data(CalibrationDataReader):
    def __init__(self, shape):
        self.rows = iter([{"x": RANDOM.standard_normal((1, *shape)).astype(np.float32)} for _ in range(64)])

    def get_next(self):
        return next(self.rows, None)


def make(name, source, shape, **how):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(source, path)
        target = HERE / f"{name}.onnx"
        quantize_static(path, target, Data(shape), **how)
        quantised = onnx.load(target)
        onnx.save(quantised, target)
        x = np.round(RANDOM.standard_normal((8, *shape)), 3).astype(np.float32)
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
    cases = [
        make("mlp-qdq-u8", MLP, [16], quant_format=qdq, activation_type=u8, weight_type=s8),
        make("mlp-qdq-s8-channel", MLP, [16], quant_format=qdq, activation_type=s8, weight_type=s8, per_channel=True),
        make("conv-qdq-u8", CONV, [3, 8, 8], quant_format=qdq, activation_type=u8, weight_type=s8, per_channel=True),
        make("conv-qdq-s8", CONV, [3, 8, 8], quant_format=qdq, activation_type=s8, weight_type=s8),
        make("conv-qop-u8", CONV, [3, 8, 8], quant_format=qop, activation_type=u8, weight_type=u8),
    ]
    (HERE / "vectors.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
