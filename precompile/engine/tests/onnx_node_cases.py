"""Export the ONNX project's backend node tests as plain files that `onnx_node_cases.rs` reads.

    pip install onnx==1.23.2
    python precompile/engine/tests/onnx_node_cases.py target/provision/node-cases

The folder then holds
    cases.json   the `onnx` version and one entry a case: model file, tolerances, inputs, expected outputs
    models/      one .onnx file a case
    tensors.bin  the bytes of every tensor, packed and little-endian (4-bit and 2-bit elements take one byte each)

A value in cases.json is null (an absent optional), a tensor {"dtype", "shape", "at", "bytes"}, a string tensor
{"dtype": "string", "shape", "strings"}, or a list of values (a sequence).
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

ONNX_VERSION = "1.23.2"
FLOAT_NAMES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}


class Writer:
    """Appends tensors to one file and describes where each of them lies."""

    def __init__(self, folder):
        self.file = (folder / "tensors.bin").open("wb")
        self.at = 0

    def value(self, value):
        if value is None:
            return None
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        return self.tensor(np.asarray(value))

    def tensor(self, array):
        if array.dtype.kind in "OUS":
            strings = [s.decode() if isinstance(s, bytes) else str(s) for s in array.ravel().tolist()]
            return {"dtype": "string", "shape": list(array.shape), "strings": strings}
        data = np.ascontiguousarray(array).tobytes()
        dtype = FLOAT_NAMES.get(array.dtype.name, array.dtype.name)
        entry = {"dtype": dtype, "shape": list(array.shape), "at": self.at, "bytes": len(data)}
        self.file.write(data)
        self.at += len(data)
        return entry


def export(folder):
    (folder / "models").mkdir(parents=True, exist_ok=True)
    writer = Writer(folder)
    cases = []
    for case in load_model_tests(kind="node"):
        model = f"models/{case.name}.onnx"
        (folder / model).write_bytes(case.model.SerializeToString())
        for number, (inputs, outputs) in enumerate(case.data_sets):
            cases.append(
                {
                    "name": case.name if number == 0 else f"{case.name}#{number}",
                    "model": model,
                    "rtol": case.rtol,
                    "atol": case.atol,
                    "inputs": [writer.value(v) for v in inputs],
                    "outputs": [writer.value(v) for v in outputs],
                }
            )
    writer.file.close()
    (folder / "cases.json").write_text(json.dumps({"onnx": onnx.__version__, "cases": cases}))
    return len(cases)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if onnx.__version__ != ONNX_VERSION:
        sys.exit(f"expected onnx {ONNX_VERSION}, found {onnx.__version__}: pip install onnx=={ONNX_VERSION}")
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    print(f"{export(folder)} cases written to {folder}")


if __name__ == "__main__":
    main()
