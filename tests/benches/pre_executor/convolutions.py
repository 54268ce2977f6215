"""Writes models whose time is arithmetic, so that batches gain little: 16 numbers, spread over a picture, and convolutions on it.

    python convolutions.py FILE CHANNELS SIDE LAYERS
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

path, (channels, side, layers) = sys.argv[1], map(int, sys.argv[2:])
random = np.random.default_rng(1)
weights, nodes = [], []


def weight(*shape):
    fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
    value = (random.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(np.float32)
    weights.append(numpy_helper.from_array(value, f"w{len(weights)}"))
    return weights[-1].name


def add(op, *inputs, **attributes):
    nodes.append(helper.make_node(op, list(inputs), [f"v{len(nodes)}"], **attributes))
    return nodes[-1].output[0]


shape = numpy_helper.from_array(np.array([0, channels, side, side], np.int64), "shape")
x = add("Reshape", add("MatMul", "x", weight(16, channels * side * side)), "shape")
for _ in range(layers):
    x = add("Relu", add("Conv", x, weight(channels, channels, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
x = add("ReduceMean", x, axes=[2, 3], keepdims=0)
nodes.append(helper.make_node("MatMul", [x, weight(channels, 1)], ["y"]))
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n]) for name, n in (("x", 16), ("y", 1))]
graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [*weights, shape])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
