"""Writes `minilm/model.onnx`: the graph of all-MiniLM-L6-v2 over a published `model.safetensors`.

    python export_minilm.py path/to/model.safetensors minilm/model.onnx

The graph holds no weights. Each initializer points into `model.safetensors` by offset and length (ONNX external data), so
the file as published, its hash unchanged, is the weights, and nothing is converted on the user's machine.
"""

import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LAYERS, HIDDEN, HEADS, HEAD = 6, 384, 12, 32
EPSILON = 1e-12
# Added to the attention score of padding; exp of it is zero in float32.
MASKED = -10000.0
WEIGHTS = "model.safetensors"


class Graph:
    """Nodes and initializers under construction; every method returns the name of what it added."""

    def __init__(self, safetensors):
        head = safetensors[:8]
        size = int.from_bytes(head, "little")
        self.index = json.loads(safetensors[8 : 8 + size])
        self.data_start = 8 + size
        self.nodes, self.initializers, self.known = [], [], set()

    def weight(self, key):
        """A tensor that stays in the safetensors file."""
        if key not in self.known:
            entry = self.index[key]
            if entry["dtype"] != "F32":
                raise SystemExit(f"{key} is {entry['dtype']}, expected F32")
            start, end = entry["data_offsets"]
            tensor = TensorProto(name=key, data_type=TensorProto.FLOAT, dims=entry["shape"])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": WEIGHTS, "offset": self.data_start + start, "length": end - start}
            for name, value in place.items():
                tensor.external_data.add(key=name, value=str(value))
            self.initializers.append(tensor)
            self.known.add(key)
        return key

    def constant(self, name, value, kind=np.int64):
        """A small tensor in the graph itself."""
        if name not in self.known:
            self.initializers.append(numpy_helper.from_array(np.asarray(value, kind), name))
            self.known.add(name)
        return name

    def node(self, op, inputs, output, **attributes):
        """One operator with one output."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x, key, output):
        """x times the transposed weight, as PyTorch stores it, plus bias; x has two dimensions."""
        return self.node("Gemm", [x, self.weight(f"{key}.weight"), self.weight(f"{key}.bias")], output, transB=1)

    def normalise(self, x, key, output):
        """LayerNorm over the last dimension."""
        inputs = [x, self.weight(f"{key}.weight"), self.weight(f"{key}.bias")]
        return self.node("LayerNormalization", inputs, output, axis=-1, epsilon=EPSILON)


def embeddings(g):
    """Word, position and segment embeddings of [N, S] ids, normalised, as [N * S, HIDDEN]."""
    words = g.node("Gather", [g.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    shape = g.node("Shape", ["input_ids"], "shape")
    length = g.node("Slice", [shape, g.constant("one", [1]), g.constant("two", [2])], "length")
    table = g.weight("embeddings.position_embeddings.weight")
    positions = g.node("Slice", [table, g.constant("zero", [0]), length], "positions")
    segment = g.node("Gather", [g.weight("embeddings.token_type_embeddings.weight"), "zero"], "segment")
    placed = g.node("Add", [words, g.node("Add", [positions, segment], "places")], "placed")
    normal = g.normalise(placed, "embeddings.LayerNorm", "embedded")
    return g.node("Reshape", [normal, g.constant("rows", [-1, HIDDEN])], "layer_0")


def masks(g):
    """1 for real tokens as [N, S, 1], and what is added to attention scores as [N, 1, 1, S]."""
    padding = g.node("Equal", ["input_ids", g.constant("pad_id", 0)], "padding")
    real = g.node("Cast", [g.node("Not", [padding], "kept")], "real", to=TensorProto.FLOAT)
    wide = g.node("Unsqueeze", [real, g.constant("two", [2])], "real_rows")
    off = g.node("Cast", [padding], "off", to=TensorProto.FLOAT)
    masked = g.node("Mul", [off, g.constant("masked", MASKED, np.float32)], "penalty")
    return wide, g.node("Unsqueeze", [masked, g.constant("middle", [1, 2])], "penalties")


def attention(g, x, penalties, layer):
    """Multi-head self-attention of one layer, [N * S, HIDDEN] to the same, before the residual."""
    key, heads = f"encoder.layer.{layer}.attention", {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        flat = g.linear(x, f"{key}.self.{part}", f"{part}_{layer}")
        split = g.node("Reshape", [flat, "split_shape"], f"{part}_heads_{layer}")
        heads[part] = g.node("Transpose", [split], f"{part}_turned_{layer}", perm=order)
    scores = g.node("MatMul", [heads["query"], heads["key"]], f"scores_{layer}")
    scaled = g.node("Mul", [scores, g.constant("scale", HEAD**-0.5, np.float32)], f"scaled_{layer}")
    weights = g.node("Softmax", [g.node("Add", [scaled, penalties], f"masked_{layer}")], f"weights_{layer}", axis=-1)
    mixed = g.node("MatMul", [weights, heads["value"]], f"mixed_{layer}")
    back = g.node("Transpose", [mixed], f"mixed_back_{layer}", perm=[0, 2, 1, 3])
    return g.linear(g.node("Reshape", [back, "rows"], f"context_{layer}"), f"{key}.output.dense", f"attended_{layer}")


def encoder(g, x, penalties):
    """The six layers."""
    split = ["shape", g.constant("head_shape", [HEADS, HEAD])]
    g.node("Concat", split, "split_shape", axis=0)
    for layer in range(LAYERS):
        key = f"encoder.layer.{layer}"
        summed = g.node("Add", [attention(g, x, penalties, layer), x], f"attended_sum_{layer}")
        x = g.normalise(summed, f"{key}.attention.output.LayerNorm", f"attended_normal_{layer}")
        inner = g.node("Gelu", [g.linear(x, f"{key}.intermediate.dense", f"inner_{layer}")], f"gelu_{layer}")
        outer = g.linear(inner, f"{key}.output.dense", f"outer_{layer}")
        x = g.normalise(g.node("Add", [outer, x], f"outer_sum_{layer}"), f"{key}.output.LayerNorm", f"layer_{layer + 1}")
    return x


def pooled(g, x, real):
    """Mean over real tokens, then unit length."""
    shape = g.node("Concat", ["shape", g.constant("hidden", [HIDDEN])], "token_shape", axis=0)
    tokens = g.node("Mul", [g.node("Reshape", [x, shape], "tokens"), real], "real_tokens")
    total = g.node("ReduceSum", [tokens, "one"], "total", keepdims=0)
    mean = g.node("Div", [total, g.node("ReduceSum", [real, "one"], "count", keepdims=0)], "mean")
    norm = g.node("ReduceL2", [mean, "one"], "norm", keepdims=1)
    return g.node("Div", [mean, norm], "embedding")


def main():
    source, target = (Path(a) for a in sys.argv[1:3])
    g = Graph(source.read_bytes())
    x = embeddings(g)
    real, penalties = masks(g)
    pooled(g, encoder(g, x, penalties), real)
    graph = helper.make_graph(
        g.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "S"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", HIDDEN])],
        g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="foreblock")
    target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{target}: {target.stat().st_size} bytes, {len(g.nodes)} nodes")


if __name__ == "__main__":
    main()
