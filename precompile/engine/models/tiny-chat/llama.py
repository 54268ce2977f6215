"""A decoder of the Llama family in numpy: forward, backward, Adam, and the ONNX graph with key-value cache."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

EPSILON = 1e-5
ROPE_BASE = 10000.0
OPSET = 23


class Shape:
    """Sizes of the model."""

    def __init__(self, vocab, width, layers, heads, kv_heads, inner, positions):
        self.vocab, self.width, self.layers, self.heads = vocab, width, layers, heads
        self.kv_heads, self.inner, self.positions = kv_heads, inner, positions
        self.head = width // heads

    def weights(self, rng):
        """Weights at the start; the head shares the embedding's."""
        kv = self.kv_heads * self.head
        matrices = {"embedding": (self.vocab, self.width)}
        for i in range(self.layers):
            matrices |= {f"{i}.q": (self.width, self.width), f"{i}.k": (self.width, kv), f"{i}.v": (self.width, kv)}
            matrices |= {f"{i}.o": (self.width, self.width), f"{i}.gate": (self.width, self.inner)}
            matrices |= {f"{i}.up": (self.width, self.inner), f"{i}.down": (self.inner, self.width)}
        made = {n: (rng.standard_normal(s) * (0.7 / np.sqrt(self.width))).astype(np.float32) for n, s in matrices.items()}
        for i in range(self.layers):
            made[f"{i}.o"] /= np.sqrt(2 * self.layers)
            made[f"{i}.down"] /= np.sqrt(2 * self.layers)
            made[f"{i}.norm_a"] = made[f"{i}.norm_b"] = np.ones(self.width, np.float32)
        made["norm"] = np.ones(self.width, np.float32)
        return {n: np.array(w) for n, w in made.items()}

    def tables(self):
        """Cosines and sines of the rotary angles, [positions, head / 2]."""
        frequency = ROPE_BASE ** (-np.arange(0, self.head, 2) / self.head)
        angle = np.outer(np.arange(self.positions), frequency)
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def norm(x, gain):
    scale = 1.0 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON)
    return x * scale * gain, (x, scale, gain)


def norm_back(d, kept):
    x, scale, gain = kept
    dg = (d * x * scale).reshape(-1, x.shape[-1]).sum(axis=0)
    d = d * gain
    return d * scale - x * scale**3 * np.mean(d * x, axis=-1, keepdims=True), dg


def turn(x, cos, sin, back=False):
    """Rotary embedding of [B, H, T, head]; backwards it turns the other way."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    sin = -sin if back else sin
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def split(x, heads):
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def join(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def matmul_back(x, weight, d):
    return d @ weight.T, x.reshape(-1, x.shape[-1]).T @ d.reshape(-1, d.shape[-1])


class Net:
    """Forward and backward passes over padded batches [B, T] of tokens."""

    def __init__(self, shape, weights):
        self.shape, self.w = shape, weights
        self.cos, self.sin = shape.tables()

    def attend(self, i, x):
        s, w = self.shape, self.w
        h, kept_norm = norm(x, w[f"{i}.norm_a"])
        cos, sin = self.cos[: x.shape[1]], self.sin[: x.shape[1]]
        q = turn(split(h @ w[f"{i}.q"], s.heads), cos, sin) / np.float32(np.sqrt(s.head))
        groups = s.heads // s.kv_heads
        k = np.repeat(turn(split(h @ w[f"{i}.k"], s.kv_heads), cos, sin), groups, axis=1)
        v = np.repeat(split(h @ w[f"{i}.v"], s.kv_heads), groups, axis=1)
        scores = q @ k.transpose(0, 1, 3, 2) + np.triu(np.full((x.shape[1],) * 2, -1e9, np.float32), 1)
        scores -= scores.max(axis=-1, keepdims=True)
        p = np.exp(scores)
        p /= p.sum(axis=-1, keepdims=True)
        o = join(p @ v)
        return x + o @ w[f"{i}.o"], (kept_norm, h, q, k, v, p, o)

    def attend_back(self, i, d, kept, g):
        s, w = self.shape, self.w
        kept_norm, h, q, k, v, p, o = kept
        cos, sin = self.cos[: h.shape[1]], self.sin[: h.shape[1]]
        do, g[f"{i}.o"] = matmul_back(o, w[f"{i}.o"], d)
        do = split(do, s.heads)
        dv, dp = p.transpose(0, 1, 3, 2) @ do, do @ v.transpose(0, 1, 3, 2)
        ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
        dq, dk = ds @ k / np.float32(np.sqrt(s.head)), ds.transpose(0, 1, 3, 2) @ q
        gather = lambda x: x.reshape(x.shape[0], s.kv_heads, -1, *x.shape[2:]).sum(axis=2)
        dh = 0.0
        parts = (("q", join(turn(dq, cos, sin, True))), ("k", join(turn(gather(dk), cos, sin, True))), ("v", join(gather(dv))))
        for name, part in parts:
            back, g[f"{i}.{name}"] = matmul_back(h, w[f"{i}.{name}"], part)
            dh = dh + back
        dx, g[f"{i}.norm_a"] = norm_back(dh, kept_norm)
        return d + dx

    def feed(self, i, x):
        w = self.w
        h, kept_norm = norm(x, w[f"{i}.norm_b"])
        gate, up = h @ w[f"{i}.gate"], h @ w[f"{i}.up"]
        sigmoid = 1.0 / (1.0 + np.exp(-gate))
        inner = gate * sigmoid * up
        return x + inner @ w[f"{i}.down"], (kept_norm, h, gate, up, sigmoid, inner)

    def feed_back(self, i, d, kept, g):
        w = self.w
        kept_norm, h, gate, up, sigmoid, inner = kept
        di, g[f"{i}.down"] = matmul_back(inner, w[f"{i}.down"], d)
        dup, dgate = di * gate * sigmoid, di * up * (sigmoid * (1.0 + gate * (1.0 - sigmoid)))
        one, g[f"{i}.up"] = matmul_back(h, w[f"{i}.up"], dup)
        two, g[f"{i}.gate"] = matmul_back(h, w[f"{i}.gate"], dgate)
        dx, g[f"{i}.norm_b"] = norm_back(one + two, kept_norm)
        return d + dx

    def hidden(self, ids):
        x, kept = self.w["embedding"][ids], []
        for i in range(self.shape.layers):
            x, a = self.attend(i, x)
            x, b = self.feed(i, x)
            kept.append((a, b))
        x, last = norm(x, self.w["norm"])
        return x, kept, last

    def logits(self, ids):
        return self.hidden(ids)[0] @ self.w["embedding"].T

    def loss(self, ids, weight):
        """Weighted mean of the next token's negative logarithm, and the gradients. `weight` is [B, T - 1]."""
        x, kept, last = self.hidden(ids[:, :-1])
        rows = np.nonzero(weight.reshape(-1))[0]
        flat, targets, share = x.reshape(-1, x.shape[-1])[rows], ids[:, 1:].reshape(-1)[rows], weight.reshape(-1)[rows]
        share = share / share.sum()
        scores = flat @ self.w["embedding"].T
        scores -= scores.max(axis=-1, keepdims=True)
        p = np.exp(scores)
        p /= p.sum(axis=-1, keepdims=True)
        line = np.arange(len(rows))
        loss = -(share * np.log(np.maximum(p[line, targets], 1e-20))).sum()
        p[line, targets] -= 1.0
        p *= share[:, None]
        g = {"embedding": p.T @ flat}
        d = np.zeros((x.shape[0] * x.shape[1], x.shape[2]), np.float32)
        d[rows] = p @ self.w["embedding"]
        d, g["norm"] = norm_back(d.reshape(x.shape), last)
        for i in reversed(range(self.shape.layers)):
            d = self.feed_back(i, d, kept[i][1], g)
            d = self.attend_back(i, d, kept[i][0], g)
        order = ids[:, :-1].reshape(-1)
        np.add.at(g["embedding"], order, d.reshape(-1, d.shape[-1]))
        return loss, g


class Adam:
    """Adam with decay of matrices and gradients cut at length 1."""

    def __init__(self, weights):
        self.m = {n: np.zeros_like(w) for n, w in weights.items()}
        self.v = {n: np.zeros_like(w) for n, w in weights.items()}
        self.t = 0

    def step(self, weights, g, rate, decay=0.05):
        self.t += 1
        length = np.sqrt(sum(float((x * x).sum()) for x in g.values()))
        cut = min(1.0, 1.0 / max(length, 1e-9))
        for n, w in weights.items():
            x = (g[n] * cut).astype(np.float32)
            self.m[n] += 0.1 * (x - self.m[n])
            self.v[n] += 0.02 * (x * x - self.v[n])
            m, v = self.m[n] / (1 - 0.9**self.t), self.v[n] / (1 - 0.98**self.t)
            w -= np.float32(rate) * (m / (np.sqrt(v) + 1e-8) + (decay * w if w.ndim == 2 else 0.0)).astype(np.float32)


def halves(weights):
    """The weights as they ship, in 16 bits."""
    return {n: w.astype(np.float16) for n, w in weights.items()}


class Graph:
    """Nodes and constants of the ONNX graph in the making."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def half(self, name, value):
        """A constant stored in 16 bits; whoever loads the graph widens it once."""
        return self.node("Cast", [self.constant(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT)

    def node(self, op, inputs, output, **attributes):
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return output


def norm_nodes(graph, x, gain, name):
    """Root mean square normalisation out of basic operators, which every runtime has."""
    mean = graph.node("ReduceMean", [graph.node("Mul", [x, x], f"{name}.square"), "last"], f"{name}.mean", keepdims=1)
    root = graph.node("Sqrt", [graph.node("Add", [mean, "epsilon"], f"{name}.sum")], f"{name}.root")
    return graph.node("Mul", [graph.node("Div", [x, root], f"{name}.unit"), gain], name)


def layer_nodes(graph, shape, weights, i, x):
    weight = lambda n: graph.half(f"{i}.{n}", weights[f"{i}.{n}"])
    h = norm_nodes(graph, x, graph.constant(f"{i}.gain_a", weights[f"{i}.norm_a"].astype(np.float32)), f"{i}.a")
    heads = {}
    for part, count in (("q", "q_split"), ("k", "kv_split"), ("v", "kv_split")):
        flat = graph.node("MatMul", [h, weight(part)], f"{i}.{part}.flat")
        apart = graph.node("Reshape", [flat, count], f"{i}.{part}.apart")
        heads[part] = graph.node("Transpose", [apart], f"{i}.{part}.heads", perm=[0, 2, 1, 3])
    for part in ("q", "k"):
        heads[part] = graph.node("RotaryEmbedding", [heads[part], "cos", "sin", "position_ids"], f"{i}.{part}.turned")
    past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
    present = [f"{i}.out", f"present.{i}.key", f"present.{i}.value"]
    graph.node("Attention", [heads["q"], heads["k"], heads["v"], "mask", *past], present)
    together = graph.node("Transpose", [f"{i}.out"], f"{i}.together", perm=[0, 2, 1, 3])
    flat = graph.node("MatMul", [graph.node("Reshape", [together, "merge"], f"{i}.merged"), weight("o")], f"{i}.o.flat")
    x = graph.node("Add", [x, flat], f"{i}.mid")
    h = norm_nodes(graph, x, graph.constant(f"{i}.gain_b", weights[f"{i}.norm_b"].astype(np.float32)), f"{i}.b")
    gate, up = graph.node("MatMul", [h, weight("gate")], f"{i}.gated"), graph.node("MatMul", [h, weight("up")], f"{i}.upped")
    open_ = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], f"{i}.sigmoid")], f"{i}.silu")
    inner = graph.node("Mul", [open_, up], f"{i}.inner")
    return graph.node("Add", [x, graph.node("MatMul", [inner, weight("down")], f"{i}.downed")], f"{i}.x")


def mask_nodes(graph):
    """Which of all keys a new token sees, [batch, 1, new, all]: those up to itself that the attention mask has."""
    for name, value in (("zero", 0), ("one", 1)):
        graph.constant(name, np.array(value, np.int64))
    total = graph.node("Gather", [graph.node("Shape", ["attention_mask"], "mask_shape"), "one"], "total")
    new = graph.node("Gather", [graph.node("Shape", ["input_ids"], "ids_shape"), "one"], "new")
    first = graph.node("Sub", [total, new], "first")
    rows = graph.node("Unsqueeze", [graph.node("Range", [first, total, "one"], "rows"), "last"], "row_column")
    causal = graph.node("LessOrEqual", [graph.node("Range", ["zero", total, "one"], "keys"), rows], "causal")
    seen = graph.node("Cast", ["attention_mask"], "seen", to=TensorProto.BOOL)
    seen = graph.node("Unsqueeze", [seen, graph.constant("axes", np.array([1, 2], np.int64))], "seen_keys")
    graph.node("And", [causal, seen], "mask")


def onnx_model(shape, weights):
    """The graph as Hugging Face's Optimum lays it out: tokens, mask, positions and cache in; logits and cache out."""
    graph = Graph()
    cos, sin = shape.tables()
    for name, value in (("cos", cos), ("sin", sin), ("epsilon", np.float32(EPSILON))):
        graph.constant(name, value)
    graph.constant("last", np.array([-1], np.int64))
    for name, dims in (("q_split", [0, 0, shape.heads, -1]), ("kv_split", [0, 0, shape.kv_heads, -1]), ("merge", [0, 0, -1])):
        graph.constant(name, np.array(dims, np.int64))
    mask_nodes(graph)
    embedding = graph.half("embedding", weights["embedding"])
    x = graph.node("Gather", [embedding, "input_ids"], "embedded")
    for i in range(shape.layers):
        x = layer_nodes(graph, shape, weights, i, x)
    x = norm_nodes(graph, x, graph.constant("gain", weights["norm"].astype(np.float32)), "normed")
    head = graph.node("Transpose", [embedding], "head", perm=[1, 0])
    graph.node("MatMul", [x, head], "logits")
    info = helper.make_tensor_value_info
    cache = lambda kind, length: [
        info(f"{kind}.{i}.{part}", TensorProto.FLOAT, ["batch", shape.kv_heads, length, shape.head])
        for i in range(shape.layers)
        for part in ("key", "value")
    ]
    whole = "past_sequence_length + sequence_length"
    inputs = [info("input_ids", TensorProto.INT64, ["batch", "sequence_length"])]
    inputs.append(info("attention_mask", TensorProto.INT64, ["batch", whole]))
    inputs.append(info("position_ids", TensorProto.INT64, ["batch", "sequence_length"]))
    outputs = [info("logits", TensorProto.FLOAT, ["batch", "sequence_length", shape.vocab])]
    wired = helper.make_graph(
        graph.nodes,
        "llama",
        inputs + cache("past_key_values", "past_sequence_length"),
        outputs + cache("present", whole),
        graph.constants,
    )
    return helper.make_model(wired, opset_imports=[helper.make_opsetid("", OPSET)])
