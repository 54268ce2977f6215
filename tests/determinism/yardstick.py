"""How many different answers ONNX Runtime gives to the questions of `cargo xtask cross`, over its own settings.

    python tests/determinism/yardstick.py MODEL.onnx...

Prints a line a model: the number of different answers, the number of settings, and what changed the first answer.
"""

import hashlib
import itertools
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

ROWS = 32
FREE_DIM = 8
BATCHES = (1, 2, 7, ROWS)
THREADS = (1, 2, 16)
LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def numbers(place, rows, length):
    """SplitMix64 of input, row and place, as `questions.rs` has it."""
    row, at = np.meshgrid(np.arange(*rows, dtype=np.uint64), np.arange(length, dtype=np.uint64), indexing="ij")
    with np.errstate(over="ignore"):
        seed = (np.uint64(place) << np.uint64(56)) ^ (row << np.uint64(40)) ^ at
        mixed = (seed + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)


def question(spec, place, start, count):
    """Rows `start` to `start + count` of one input."""
    shape = [dim if isinstance(dim, int) else FREE_DIM for dim in spec.shape]
    if not isinstance(spec.shape[0], int):
        shape[0] = count
    values = numbers(place, (start, start + count), int(np.prod(shape)) // count)
    if spec.type in ("tensor(float)", "tensor(double)"):
        values = (values % 4096) / 1024 - 2
        return values.astype(np.float32 if spec.type == "tensor(float)" else np.float64).reshape(shape)
    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    if spec.type in kinds:
        return (values % 100).astype(kinds[spec.type]).reshape(shape)
    if spec.type == "tensor(uint8)":
        return values.astype(np.uint8).reshape(shape)
    return np.array([chr(ord("a") + int(n % 6)) for n in values.ravel()], dtype=object).reshape(shape)


def flat(value):
    """The bytes of an output, row by row; a list of maps as ZipMap gives it counts as the matrix of its values."""
    if isinstance(value, list):
        return [str(sorted(row.items())).encode() for row in value]
    return [str(row).encode() if value.dtype == object else row.tobytes() for row in value]


def answer(session, batch):
    """A digest of all answers, output by output and row by row, so that the batch size does not show."""
    outputs = [[] for _ in session.get_outputs()]
    for start in range(0, ROWS, batch):
        count = min(batch, ROWS - start)
        inputs = {spec.name: question(spec, i, start, count) for i, spec in enumerate(session.get_inputs())}
        for rows, value in zip(outputs, session.run(None, inputs)):
            rows.extend(flat(value))
    return hashlib.sha256(b"".join(b"".join(rows) for rows in outputs)).hexdigest()


def answers(path):
    """The answers of a model by setting."""
    found = {}
    for (name, level), threads in itertools.product(LEVELS.items(), THREADS):
        options = ort.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, threads
        options.use_deterministic_compute, options.log_severity_level = True, 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in session.get_inputs())
        for batch in BATCHES if free else (1,):
            found[f"{name}, {threads} threads, batch {batch}"] = answer(session, batch)
    return found


def main():
    for path in sys.argv[1:]:
        try:
            found = answers(path)
        except Exception as error:  # A model that this version does not load is a row, too.
            print(f"- {Path(path).parent.name}/{Path(path).stem}: {str(error).splitlines()[0]}")
            continue
        first_setting, first = next(iter(found.items()))
        other = next((setting for setting, digest in found.items() if digest != first), None)
        changed = f"  ({other} differs from {first_setting})" if other else ""
        print(f"{Path(path).parent.name}/{Path(path).stem}: {len(set(found.values()))} of {len(found)}{changed}", flush=True)


if __name__ == "__main__":
    main()
