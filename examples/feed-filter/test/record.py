"""Records what the `text` model answers to the sentences of the test, as InferenceFixture replays it.

    pip install -r ../../../precompile/engine/models/requirements.txt && python record.py

The outputs come from ONNX Runtime, rounded to WAD as the node rounds.
"""

import json
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[2] / "precompile" / "engine" / "models"
sys.path.insert(0, str(MODELS))
import record  # noqa: E402

# keccak256("text"): the test's name for the model.
MODEL = "0x9599d5e4e43121196cadfeaea326e46f58d9db74299decfd64bd3b700350ccd9"
SENTENCES = (
    "Proposal: reduce the swap fee from 30 to 5 basis points.",
    "The DAO should spend 50,000 USDC on a security audit of the new vault.",
    "We should vote on the new budget and the tax before the end of the month.",
    "Delicious coffee, rich and smooth.",
    "The budget is terrible and the vote is a disgusting fraud, I hate this stupid tax.",
    "...",
)


def wad_bytes(value):
    scaled = Decimal(float(value)).scaleb(18).to_integral_value(ROUND_HALF_EVEN)
    return int(scaled).to_bytes(32, "big", signed=scaled < 0)


def outcome(live, sentence):
    data = sentence.encode()
    outputs = record.run(live, [np.frombuffer(data, np.uint8).reshape(1, -1)])
    print(f"{float(outputs[1][1][0, 0]):+.3f}  {sentence}")
    tensors = [("Wad", list(a.shape), b"".join(map(wad_bytes, a.reshape(-1)))) for _, a in outputs]
    return {
        "model": MODEL,
        "input": "0x" + record.abi_encode([("U8", [1, len(data)], data)]).hex(),
        "output": "0x" + record.abi_encode(tensors).hex(),
    }, outputs[0][1][0]


def main():
    live = record.session(MODELS / "text" / "model.onnx")
    recorded, embeddings = zip(*(outcome(live, sentence) for sentence in SENTENCES))
    print(np.round(np.stack(embeddings) @ np.stack(embeddings).T, 3))
    (HERE / "answers.json").write_text(json.dumps({"outcomes": recorded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
