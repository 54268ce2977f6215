"""Write small models with the operators that onnxruntime-genai's builder uses, and record what ONNX Runtime answers.

    pip install onnxruntime==1.31.1 onnx==1.23.2
    python precompile/engine/tests/genai_models.py precompile/engine/tests/data/genai

`genai_models.rs` reads the folder; its files are described in onnx_node_cases.py. `decoder` is a whole model as the builder lays
it out, 4-bit weights and genai_config.json included; `greedy.json` is how ONNX Runtime continues a prompt with it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx_node_cases import Writer

MICROSOFT = "com.microsoft"
WIDTH, HEADS, KV, HEAD, INNER, LAYERS, WORDS, POSITIONS = 64, 4, 2, 16, 96, 2, 1024, 128
ANSWER = 24
# Letters that no merge of tiny-chat's tokenizer joins: one token each.
PROMPT = "#%&*+/<=>@^_~{|}" * 5
TOKENIZER = Path(__file__).parent / "../models/tiny-chat/tokenizer.json"
random = np.random.default_rng(3)


def normal(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def tables(pairs=HEAD // 2):
    angles = np.outer(np.arange(POSITIONS), 10_000.0 ** (-np.arange(pairs) / pairs))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def model(nodes, inputs, outputs, constants):
    """`inputs` and `outputs`: (name, type, shape); `constants`: by name."""
    info = lambda values: [helper.make_tensor_value_info(*value) for value in values]
    graph = helper.make_graph(
        nodes, "genai", info(inputs), info(outputs), [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 10
    return made


KINDS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


def one(op, given, constants, outputs, domain=MICROSOFT, **attributes):
    """A model of one node: `given` are its inputs by name, in the node's order; None is absent; constants go by name, too."""
    names = ["" if value is None else name for name, value in given]
    node = helper.make_node(op, names, outputs, domain=domain, **attributes)
    fed = {name: value for name, value in given if value is not None and name not in constants}
    inputs = [(name, KINDS[value.dtype.name], value.shape) for name, value in fed.items()]
    return model([node], inputs, [(name, TensorProto.FLOAT, None) for name in outputs if name], constants), list(fed.values())


def grouped(batch, length, past, packed=False, **attributes):
    cos, sin = tables()
    qkv = normal(batch, length, (HEADS + 2 * KV) * HEAD)
    cut = [HEADS * HEAD, (HEADS + KV) * HEAD]
    query, key, value = (qkv, None, None) if packed else np.split(qkv, cut, axis=2)
    given = [
        ("query", np.ascontiguousarray(query)),
        ("key", None if packed else np.ascontiguousarray(key)),
        ("value", None if packed else np.ascontiguousarray(value)),
        ("past_key", normal(batch, KV, past, HEAD)),
        ("past_value", normal(batch, KV, past, HEAD)),
        ("seqlens_k", np.full(batch, past + length - 1, np.int32)),
        ("total", np.array(past + length, np.int32)),
        ("cos", cos),
        ("sin", sin),
    ]
    outputs = ["output", "present_key", "present_value"]
    constants = {"cos": cos, "sin": sin}
    return one("GroupQueryAttention", given, constants, outputs, num_heads=HEADS, kv_num_heads=KV, **attributes)


def quantised(k, n, bits, block, zeros, bias=False):
    """Attributes, constants and inputs of a `MatMulNBits`."""
    blocks = -(-k // block)
    packed = random.integers(0, 256, (n, blocks, block * bits // 8), dtype=np.uint8)
    constants = {"b": packed, "scales": normal(n, blocks, scale=0.1)}
    if zeros == "packed":
        constants["zeros"] = random.integers(0, 256, (n, -(-blocks * bits // 8)), dtype=np.uint8)
    if zeros == "floats":
        constants["zeros"] = normal(n, blocks) + 2 ** (bits - 1)
    if bias:
        constants["bias"] = normal(n)
    return {"K": k, "N": n, "bits": bits, "block_size": block}, constants


def product(k, n, bits, block, zeros=None, bias=False):
    attributes, constants = quantised(k, n, bits, block, zeros, bias)
    names = ["b", "scales", "zeros", "g_idx", "bias"]
    given = [("a", normal(2, 3, k))] + [(name, constants.get(name)) for name in names]
    while given[-1][1] is None:
        given.pop()
    return one("MatMulNBits", given, constants, ["y"], **attributes)


def rotary(shape, positions, pairs=HEAD // 2, **attributes):
    cos, sin = tables(pairs)
    given = [("x", normal(*shape)), ("positions", np.array(positions, np.int64)), ("cos", cos), ("sin", sin)]
    return one("RotaryEmbedding", given, {"cos": cos, "sin": sin}, ["y"], **attributes)


def skip(bias):
    given = [("x", normal(2, 3, WIDTH)), ("skip", normal(2, 3, WIDTH)), ("gamma", normal(WIDTH))]
    given += [("bias", normal(WIDTH))] if bias else []
    return one("SkipSimplifiedLayerNormalization", given, {}, ["y", "", "", "sum"], epsilon=1e-5)


def operators():
    yield "attention-prompt", *grouped(1, 5, 0, do_rotary=1)
    yield "attention-next", *grouped(1, 1, 9, do_rotary=1)
    yield "attention-further", *grouped(1, 3, 9, do_rotary=1)
    yield "attention-packed", *grouped(1, 1, 4, packed=True, do_rotary=1)
    yield "attention-interleaved", *grouped(1, 4, 0, do_rotary=1, rotary_interleaved=1)
    yield "attention-batch", *grouped(3, 1, 6)
    yield "attention-scaled", *grouped(1, 1, 7, scale=0.25, softcap=3.0)
    yield "attention-window-prompt", *grouped(1, 9, 0, do_rotary=1, local_window_size=4)
    yield "attention-window-next", *grouped(1, 1, 9, do_rotary=1, local_window_size=4)
    yield "product-4", *product(64, 24, 4, 32)
    yield "product-4-zeros", *product(96, 24, 4, 32, zeros="packed")
    yield "product-4-odd", *product(80, 7, 4, 16, zeros="packed", bias=True)
    yield "product-4-floats", *product(64, 24, 4, 32, zeros="floats")
    yield "product-8", *product(64, 24, 8, 32)
    yield "product-8-zeros", *product(64, 24, 8, 16, zeros="packed")
    yield "rotary-4d", *rotary((1, HEADS, 3, HEAD), [[2, 3, 4]])
    yield "rotary-3d", *rotary((2, 3, HEADS * HEAD), [[2, 3, 4], [0, 1, 2]])
    yield "rotary-from", *rotary((1, 3, HEADS * HEAD), [7])
    yield "rotary-interleaved", *rotary((1, HEADS, 3, HEAD), [[2, 3, 4]], interleaved=1)
    yield "rotary-part", *rotary((1, 3, HEADS * HEAD), [[2, 3, 4]], 2, num_heads=HEADS, rotary_embedding_dim=4)
    yield "skip", *skip(False)
    yield "skip-bias", *skip(True)
    given = [("x", normal(2, 3, WIDTH)), ("scale", normal(WIDTH))]
    yield "normalise", *one("SimplifiedLayerNormalization", given, {}, ["y"], domain="", epsilon=1e-5, axis=-1, stash_type=1)


def decoder():
    """A decoder of the Llama family as the builder writes it: 4-bit weights, packed queries, keys and values, no positions."""
    nodes, constants = [], dict(zip(["cos_cache", "sin_cache"], tables()))

    def node(op, inputs, outputs, domain="", **attributes):
        nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def weights(x, name, k, n, bits=4):
        attributes, held = quantised(k, n, bits, 16, "packed")
        held["scales"] = (held["scales"] * (4 if bits == 8 else 1) / k**0.5).astype(np.float32)
        if bits == 8:
            held["scales"] = (held["scales"] / 16).astype(np.float32)
        names = [f"{name}.{part}" for part in held]
        constants.update(zip(names, held.values()))
        return node("MatMulNBits", [x, *names], [f"{name}.out"], MICROSOFT, accuracy_level=0, **attributes)

    constants |= {"one": np.array([1], np.int64), "axis": np.array([1], np.int64), "second": np.array(1, np.int64)}
    total = node("ReduceSum", ["attention_mask", "axis"], ["mask_sum"], keepdims=0)
    node("Cast", [node("Sub", [total, "one"], ["last"])], ["seqlens_k"], to=TensorProto.INT32)
    length = node("Gather", [node("Shape", ["attention_mask"], ["mask_shape"]), "second"], ["length"])
    node("Cast", [length], ["total"], to=TensorProto.INT32)
    constants["embedding"] = normal(WORDS, WIDTH)
    x = node("Gather", ["embedding", "input_ids"], ["embedded"])
    constants["0.norm"] = 1 + normal(WIDTH, scale=0.1)
    h = node("SimplifiedLayerNormalization", [x, "0.norm"], ["0.h"], epsilon=1e-5, axis=-1, stash_type=1)
    for i in range(LAYERS):
        qkv = weights(h, f"{i}.qkv", WIDTH, (HEADS + 2 * KV) * HEAD)
        past = [f"past_key_values.{i}.{part}" for part in ["key", "value"]]
        present = [f"present.{i}.{part}" for part in ["key", "value"]]
        inputs = [qkv, "", "", *past, "seqlens_k", "total", "cos_cache", "sin_cache"]
        said = {"num_heads": HEADS, "kv_num_heads": KV, "do_rotary": 1, "rotary_interleaved": 0, "local_window_size": -1}
        out = node("GroupQueryAttention", inputs, [f"{i}.attended", *present], MICROSOFT, scale=HEAD**-0.5, softcap=0.0, **said)
        out = weights(out, f"{i}.o", WIDTH, WIDTH)
        for half, name in enumerate([f"{i}.post", f"{i + 1}.norm"]):
            constants[name] = 1 + normal(WIDTH, scale=0.1)
            sums = [f"{name}.h", "", "", f"{name}.sum"]
            h = node("SkipSimplifiedLayerNormalization", [x, out, name], sums, MICROSOFT, epsilon=1e-5)
            x = sums[3]
            if half == 0:
                gate, up = weights(h, f"{i}.gate", WIDTH, INNER), weights(h, f"{i}.up", WIDTH, INNER)
                open_ = node("Mul", [gate, node("Sigmoid", [gate], [f"{i}.sigmoid"])], [f"{i}.silu"])
                out = weights(node("Mul", [open_, up], [f"{i}.inner"]), f"{i}.down", INNER, WIDTH)
    logits = weights(h, "head", WIDTH, WORDS, bits=8)
    node("Identity", [logits], ["logits"])
    kind, cache = TensorProto.FLOAT, lambda name, length: [
        (f"{name}.{i}.{part}", TensorProto.FLOAT, ["batch_size", KV, length, HEAD]) for i in range(LAYERS) for part in ["key", "value"]
    ]
    row = lambda name, length: (name, TensorProto.INT64, ["batch_size", length])
    inputs = [row("input_ids", "sequence_length"), row("attention_mask", "total_sequence_length")]
    outputs = [("logits", kind, ["batch_size", "sequence_length", WORDS])]
    return model(nodes, inputs + cache("past_key_values", "past_sequence_length"), outputs + cache("present", "total_sequence_length"), constants)


def config():
    caches = {f"{side}_{part}_names": f"{name}.%d.{part}" for side, name in [("past", "past_key_values"), ("present", "present")] for part in ["key", "value"]}
    inputs = {"input_ids": "input_ids", "attention_mask": "attention_mask"} | {k: v for k, v in caches.items() if k.startswith("past")}
    outputs = {"logits": "logits"} | {k: v for k, v in caches.items() if k.startswith("present")}
    sizes = {"head_size": HEAD, "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "num_key_value_heads": KV}
    decoder = {"session_options": {"provider_options": []}, "filename": "model.onnx", **sizes, "inputs": inputs, "outputs": outputs}
    tokens = {"bos_token_id": 1, "eos_token_id": [0, 2], "pad_token_id": 0, "vocab_size": WORDS, "context_length": POSITIONS}
    return {"model": {"type": "llama", **tokens, "decoder": decoder}, "search": {"do_sample": False, "max_length": POSITIONS}}


def prompt_tokens():
    tokenizer = json.loads(TOKENIZER.read_text())["model"]
    merges = {tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in tokenizer["merges"]}
    joined = [pair for pair in zip(PROMPT, PROMPT[1:]) if pair in merges]
    assert not joined, joined
    return [tokenizer["vocab"][letter] for letter in PROMPT]


def step(session, tokens, cache):
    before = cache[0].shape[2]
    feed = {"input_ids": np.array([tokens], np.int64), "attention_mask": np.ones((1, before + len(tokens)), np.int64)}
    feed |= dict(zip([i.name for i in session.get_inputs()][2:], cache))
    return list(feed.values()), session.run(None, feed)


def main(folder):
    (folder / "models").mkdir(parents=True, exist_ok=True)
    writer, cases = Writer(folder), []

    def case(name, file, inputs, outputs, tolerance):
        values = {"inputs": [writer.value(v) for v in inputs], "outputs": [writer.value(v) for v in outputs]}
        cases.append({"name": name, "model": f"models/{file}.onnx", "rtol": tolerance, "atol": tolerance, **values})

    for name, made, inputs in operators():
        file = made.SerializeToString()
        (folder / "models" / f"{name}.onnx").write_bytes(file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {i.name: v for i, v in zip(session.get_inputs(), inputs)})
        case(name, name, inputs, outputs, 1e-5)

    file = decoder().SerializeToString()
    (folder / "models" / "decoder.onnx").write_bytes(file)
    (folder / "genai_config.json").write_text(json.dumps(config(), indent=1) + "\n")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    prompt = prompt_tokens()
    cache = [np.zeros((1, KV, 0, HEAD), np.float32)] * (2 * LAYERS)
    inputs, outputs = step(session, prompt, cache)
    case("decoder: prompt", "decoder", inputs, outputs, 1e-4)
    answer, margins = [], []
    for number in range(ANSWER):
        logits = np.sort(outputs[0][0, -1])
        margins.append(float(logits[-1] - logits[-2]))
        answer.append(int(outputs[0][0, -1].argmax()))
        inputs, outputs = step(session, answer[-1:], outputs[1:])
        if number == 3:
            case("decoder: next", "decoder", inputs, outputs, 1e-4)
    (folder / "greedy.json").write_text(json.dumps({"prompt": PROMPT, "answer": answer}) + "\n")
    print(answer, "closest", min(margins), "bytes", len(file))
    writer.file.close()
    (folder / "cases.json").write_text(json.dumps({"onnxruntime": onnxruntime.__version__, "cases": cases}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
