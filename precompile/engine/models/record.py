"""What the training scripts share: writing a model, its recorded vectors and its recipe.

Nothing here trains. `python record.py` checks every model folder against ONNX Runtime again.
"""

import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
WAD = 18
IR_VERSION = 10
SIZE_BYTES_MAX = 300_000

# The index is the value of `DType` in IInference.sol; the width is in bytes an element.
SOLIDITY_DTYPES = {"Wad": (0, 32), "Int": (1, 32), "U8": (2, 1), "I64": (9, 8)}
ONNX_NAMES = {"float32": "float32", "int64": "int64", "uint8": "uint8", "bool": "bool"}
NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}


def write_model(model, path, size_bytes_max=SIZE_BYTES_MAX):
    """Writes a checked model without anything that varies between runs (tool versions stay out)."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "foreblock", ""
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    if len(data) > size_bytes_max:
        raise SystemExit(f"{path}: {len(data)} bytes, at most {size_bytes_max} are shipped in the repository")
    path.write_bytes(data)


def session(path):
    """ONNX Runtime as the yardstick: CPU, one thread, graph optimisations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(live, arrays):
    """All outputs of one run as (name, array), in the graph's order."""
    names = [item.name for item in live.get_inputs()]
    outputs = live.run(None, dict(zip(names, arrays, strict=True)))
    return [(item.name, np.asarray(value)) for item, value in zip(live.get_outputs(), outputs, strict=True)]


def shortest(value):
    """The shortest decimal that reads back as the same float32, whether parsed as f32 or as f64 first."""
    value = np.float32(value)
    text = np.format_float_positional(value, unique=True, trim="0")
    if not math.isfinite(value) or np.float32(float(text)) != value:
        raise ValueError(f"{value!r} does not survive decimal text")
    return text


def tensor(name, array):
    """One tensor as it stands in vectors.json; floats are kept as text until the file is written."""
    flat = array.reshape(-1)
    if array.dtype == np.float32:
        data = [float(shortest(v)) for v in flat]
    else:
        data = [int(v) for v in flat]
    return {"name": name, "dtype": ONNX_NAMES[array.dtype.name], "shape": list(array.shape), "data": data}


def write_vectors(folder, cases, bounds):
    """Runs `cases`, pairs of a name and a list of arrays, and writes vectors.json.

    `bounds` gives for each float output the absolute difference from these values that an engine may show.
    """
    live = session(folder / "model.onnx")
    inputs = [item.name for item in live.get_inputs()]
    recorded = []
    for name, arrays in cases:
        recorded.append(
            {
                "name": name,
                "inputs": [tensor(n, a) for n, a in zip(inputs, arrays, strict=True)],
                "outputs": [tensor(n, a) for n, a in run(live, arrays)],
            }
        )
    (folder / "vectors.json").write_text(vectors_text(folder.name, bounds, recorded))


def vectors_text(model, bounds, cases):
    """vectors.json as text, one case a line."""
    head = {
        "model": model,
        "recorded_with": {"onnxruntime": ort.__version__, "graph_optimisation": "off", "threads": 1},
        "absolute_error_max": bounds,
    }
    body = ",\n".join("  " + json.dumps(case) for case in cases)
    return json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + body + "\n ]\n}\n"


def wad(value):
    """A decimal number as int256 with 18 decimals; refuses what needs rounding."""
    scaled = Decimal(repr(float(value))).scaleb(WAD)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{value} has more than {WAD} decimals")
    return int(scaled)


def solidity_bytes(dtype, values):
    """`Tensor.data` for these values."""
    _, width = SOLIDITY_DTYPES[dtype]
    numbers = [wad(v) if dtype == "Wad" else int(v) for v in values]
    return b"".join(n.to_bytes(width, "big", signed=n < 0) for n in numbers)


def abi_encode(tensors):
    """`abi.encode(Tensor[])` of (dtype, shape, data) triples."""

    def word(n):
        return n.to_bytes(32, "big")

    bodies = []
    for dtype, shape, data in tensors:
        padded = data + bytes(-len(data) % 32)
        lengths = word(len(shape)) + b"".join(word(n) for n in shape)
        head = word(SOLIDITY_DTYPES[dtype][0]) + word(96) + word(96 + len(lengths))
        bodies.append(head + lengths + word(len(data)) + padded)
    offset, heads = 32 * len(bodies), b""
    for body in bodies:
        heads += word(offset)
        offset += len(body)
    return word(32) + word(len(bodies)) + heads + b"".join(bodies)


def write_recipe(folder, title, summary, licence, inputs, outputs, example):
    """Writes recipe.json: what a person is shown before running the model.

    `inputs` are dicts with name, solidity (a DType), shape, meaning; `example` maps an input's name to its values.
    """
    triples = [
        (item["solidity"], item["shape"], solidity_bytes(item["solidity"], example[item["name"]])) for item in inputs
    ]
    live = session(folder / "model.onnx")
    arrays = [
        np.array(example[item["name"]], NUMPY_TYPES[live_item.type]).reshape(item["shape"])
        for item, live_item in zip(inputs, live.get_inputs(), strict=True)
    ]
    literal = ",".join(
        f"({SOLIDITY_DTYPES[d][0]},[{','.join(map(str, s))}],0x{b.hex()})" for d, s, b in triples
    )
    recipe = {
        "name": folder.name,
        "title": title,
        "summary": summary,
        "licence": licence,
        "inputs": inputs,
        "outputs": outputs,
        "example": {
            "input": example,
            "output": {name: tensor(name, value)["data"] for name, value in run(live, arrays)},
        },
        "abi": {
            "type": "(uint8,uint32[],bytes)[]",
            "literal": f"[{literal}]",
            "encoded": "0x" + abi_encode(triples).hex(),
        },
    }
    (folder / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


def check(folder):
    """Compares a folder's recorded vectors with what ONNX Runtime says now; returns how many cases were run."""
    vectors = json.loads((folder / "vectors.json").read_text())
    live = session(folder / "model.onnx")
    for case in vectors["cases"]:
        arrays = [np.array(t["data"], t["dtype"]).reshape(t["shape"]) for t in case["inputs"]]
        for (name, got), want in zip(run(live, arrays), case["outputs"], strict=True):
            expected = np.array(want["data"], want["dtype"]).reshape(want["shape"])
            bound = vectors["absolute_error_max"].get(name, 0.0)
            difference = np.max(np.abs(got.astype(np.float64) - expected.astype(np.float64)))
            if not difference <= bound:
                raise SystemExit(f"{folder.name}, {case['name']}, {name}: off by {difference}, at most {bound}")
    return len(vectors["cases"])


def check_recipe(folder):
    """Compares a recipe's ABI text and example output with what they are made of."""
    recipe = json.loads((folder / "recipe.json").read_text())
    triples, arrays = [], []
    live = session(folder / "model.onnx")
    for item, live_item in zip(recipe["inputs"], live.get_inputs(), strict=True):
        values = recipe["example"]["input"][item["name"]]
        triples.append((item["solidity"], item["shape"], solidity_bytes(item["solidity"], values)))
        arrays.append(np.array(values, NUMPY_TYPES[live_item.type]).reshape(item["shape"]))
    if "0x" + abi_encode(triples).hex() != recipe["abi"]["encoded"]:
        raise SystemExit(f"{folder.name}: abi.encoded of recipe.json is not its example input")
    for (name, got), item in zip(run(live, arrays), recipe["outputs"], strict=True):
        want = np.array(recipe["example"]["output"][name], got.dtype).reshape(item["shape"])
        if item["name"] != name or not np.allclose(got, want, rtol=1e-5, atol=1e-6):
            raise SystemExit(f"{folder.name}: {name} of recipe.json is not what the model answers to its example")


def main():
    for path in sorted(HERE.glob("*/vectors.json")):
        folder = path.parent
        onnx.checker.check_model(folder / "model.onnx", full_check=True)
        size = (folder / "model.onnx").stat().st_size
        if size > SIZE_BYTES_MAX:
            raise SystemExit(f"{folder.name}: model.onnx has {size} bytes, at most {SIZE_BYTES_MAX} are shipped")
        check_recipe(folder)
        print(f"{folder.name}: {size} bytes, recipe is right, {check(folder)} cases within bounds")


if __name__ == "__main__":
    main()
