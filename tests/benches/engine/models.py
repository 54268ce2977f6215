"""Writes the models that `cargo xtask bench engine` measures: the shapes of real ones, with weights from a fixed seed.

    python models.py FOLDER

Speed does not depend on what weights hold. For some models it also writes what ONNX's reference evaluator computes in
double precision, the yardstick for both engines' errors. `models.json` lists everything.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


class Graph:
    """Nodes and weights as they are added; every value has a name of its own."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, *shape, scale=None):
        fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:])) or 1
        scale = scale if scale is not None else (2.0 / fan_in) ** 0.5
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        domain = attributes.pop("domain", "")
        self.nodes.append(helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
        return name

    def model(self, inputs, output, shape):
        assert list(self.nodes[-1].output) == [output]
        self.nodes[-1].output[0] = "y"
        kinds = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64}
        values = [helper.make_tensor_value_info(name, kinds[kind], dims) for name, kind, dims in inputs]
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "g", values, [y], self.weights)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)


def dense(g, x, inputs, outputs):
    return g.add("Add", g.add("MatMul", x, g.weight(inputs, outputs)), g.weight(outputs, scale=0.1))


def norm(g, x, width):
    return g.add("LayerNormalization", x, g.constant(np.ones(width, np.float32)), g.weight(width, scale=0.1), axis=-1)


def gelu(g, x):
    root, one, half = (g.constant(np.float32(v)) for v in (2**0.5, 1.0, 0.5))
    inner = g.add("Add", g.add("Erf", g.add("Div", x, root)), one)
    return g.add("Mul", g.add("Mul", x, inner), half)


def encoder(layers, width, heads, inner, vocabulary, seed):
    """A BERT encoder as exporters write it, with mean pooling: MiniLM-L6 is (6, 384, 12, 1536, 30522)."""
    g = Graph(seed)
    x = norm(g, g.add("Gather", g.weight(vocabulary, width, scale=0.5), "ids"), width)
    split = g.constant(np.array([0, 0, heads, width // heads], np.int64))
    joined = g.constant(np.array([0, 0, width], np.int64))
    scale = g.constant(np.float32((width // heads) ** -0.5))
    for _ in range(layers):
        q, k, v = (g.add("Reshape", dense(g, x, width, width), split) for _ in range(3))
        q, v = (g.add("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        scores = g.add("Mul", g.add("MatMul", q, g.add("Transpose", k, perm=[0, 2, 3, 1])), scale)
        mixed = g.add("MatMul", g.add("Softmax", scores, axis=-1), v)
        mixed = g.add("Reshape", g.add("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        x = norm(g, g.add("Add", x, dense(g, mixed, width, width)), width)
        x = norm(g, g.add("Add", x, dense(g, gelu(g, dense(g, x, width, inner)), inner, width)), width)
    pooled = g.add("ReduceMean", x, axes=[1], keepdims=0)
    return g.model([("ids", "int64", ["N", "L"])], pooled, ["N", width])


def conv(g, x, inputs, outputs, size, stride):
    pad = size // 2
    w, b = g.weight(outputs, inputs, size, size), g.weight(outputs, scale=0.1)
    return g.add("Conv", x, w, b, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4)


def resnet(seed):
    """ResNet-18 with its batch normalisations folded, as exporters write it."""
    g = Graph(seed)
    x = g.add("Relu", conv(g, "x", 3, 64, 7, 2))
    x = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for outputs, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        y = conv(g, g.add("Relu", conv(g, x, width, outputs, 3, stride)), outputs, outputs, 3, 1)
        around = x if (width, stride) == (outputs, 1) else conv(g, x, width, outputs, 1, stride)
        x, width = g.add("Relu", g.add("Add", y, around)), outputs
    x = dense(g, g.add("Flatten", g.add("GlobalAveragePool", x)), 512, 1000)
    return g.model([("x", "float", ["N", 3, 224, 224])], x, ["N", 1000])


def perceptron(widths, seed):
    g = Graph(seed)
    x = "x"
    for inputs, outputs in zip(widths, widths[1:]):
        x = dense(g, x, inputs, outputs)
        x = g.add("Relu", x) if outputs != widths[-1] else x
    return g.model([("x", "float", ["N", widths[0]])], x, ["N", widths[-1]])


def trees(count, depth, features, seed):
    """A gradient-boosted ensemble of full trees, as skl2onnx writes a GradientBoostingRegressor."""
    g = Graph(seed)
    fields = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    for tree in range(count):
        for node in range(nodes):
            leaf = node >= inner
            fields["treeids"].append(tree)
            fields["nodeids"].append(node)
            fields["featureids"].append(0 if leaf else int(g.random.integers(features)))
            fields["values"].append(0.0 if leaf else float(np.float32(g.random.standard_normal())))
            fields["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            fields["truenodeids"].append(0 if leaf else 2 * node + 1)
            fields["falsenodeids"].append(0 if leaf else 2 * node + 2)
            if leaf:
                leaves["treeids"].append(tree)
                leaves["nodeids"].append(node)
                leaves["ids"].append(0)
                leaves["weights"].append(float(np.float32(g.random.standard_normal() * 0.1)))
    attributes = {f"nodes_{name}": value for name, value in fields.items()}
    attributes |= {f"target_{name}": value for name, value in leaves.items()}
    x = g.add("TreeEnsembleRegressor", "x", domain="ai.onnx.ml", n_targets=1, post_transform="NONE", **attributes)
    return g.model([("x", "float", ["N", features])], x, ["N", 1])


def chain(length):
    """Nodes that compute next to nothing: what an engine spends on a node."""
    g = Graph(0)
    x, one = "x", g.constant(np.float32(1.0))
    for _ in range(length):
        x = g.add("Mul", x, one)
    return g.model([("x", "float", ["N", 1])], x, ["N", 1])


def doubled(model):
    """The same graph in double precision."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


class Calibration(CalibrationDataReader):
    def __init__(self, rows):
        self.rows = iter([{"x": row[np.newaxis]} for row in rows])

    def get_next(self):
        return next(self.rows, None)


def quantised(folder, name, *shape):
    """The model of that name with 8-bit weights and activations, as `name`-i8."""
    inputs = [np.random.default_rng(8).standard_normal(shape).astype(np.float32)]
    target = folder / f"{name}-i8.onnx"
    kinds = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static(folder / f"{name}.onnx", target, Calibration(inputs[0]), quant_format=QuantFormat.QDQ, **kinds)
    return write(folder, f"{name}-i8", onnx.load(target), inputs)


def write(folder, name, model, inputs, reference=False):
    onnx.save(model, folder / f"{name}.onnx")
    entry = {"name": name, "inputs": []}
    for value in inputs:
        file = f"{name}.{len(entry['inputs'])}.bin"
        value.tofile(folder / file)
        entry["inputs"].append({"type": str(value.dtype), "shape": list(value.shape), "file": file})
    if reference:
        values = [v.astype(np.float64) if v.dtype == np.float32 else v for v in inputs]
        names = [value.name for value in model.graph.input]
        answer = ReferenceEvaluator(doubled(model)).run(None, dict(zip(names, values)))[0]
        assert answer.dtype == np.float64, answer.dtype
        entry["reference"] = f"{name}.reference.bin"
        answer.tofile(folder / entry["reference"])
    return entry


def main():
    # The quantizer advises steps that these models do not need.
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    normal = lambda *shape: random.standard_normal(shape).astype(np.float32)  # noqa: E731
    ids = random.integers(0, 30_522, (1, 128))
    entries = [
        write(folder, "MiniLM-L6", encoder(6, 384, 12, 1536, 30_522, 1), [ids]),
        write(folder, "encoder", encoder(2, 128, 4, 512, 1_000, 2), [random.integers(0, 1_000, (256, 32))], True),
        write(folder, "ResNet-18", resnet(3), [normal(1, 3, 224, 224)]),
        quantised(folder, "ResNet-18", 1, 3, 224, 224),
        write(folder, "MLP", perceptron([32, 256, 256, 64, 1], 4), [normal(32, 32)], True),
        quantised(folder, "MLP", 32, 32),
        write(folder, "MLP-1ms", perceptron([512, 2048, 2048, 2048, 16], 5), [normal(8, 512)]),
        quantised(folder, "MLP-1ms", 8, 512),
        write(folder, "500-trees", trees(500, 6, 20, 6), [normal(32, 20)]),
        write(folder, "chain", chain(1_000), [normal(1, 1)]),
    ]
    (folder / "models.json").write_text(json.dumps(entries))


if __name__ == "__main__":
    main()
