"""Tokens a second of ONNX Runtime: greedy decoding with a key-value cache, one thread. MODEL PROMPT ANSWER SAMPLES."""

import sys
import time

import numpy as np
import onnxruntime as ort

path, (prompt, answer, samples) = sys.argv[1], map(int, sys.argv[2:])
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
past = [i for i in session.get_inputs() if i.name.startswith("past_key_values")]
outputs = [o.name for o in session.get_outputs()]
order = [outputs.index(i.name.replace("past_key_values", "present")) for i in past]


def step(tokens, before, cache):
    new = len(tokens)
    feed = {
        "input_ids": np.array([tokens], np.int64),
        "attention_mask": np.ones((1, before + new), np.int64),
        "position_ids": np.arange(before, before + new, dtype=np.int64)[None],
    }
    feed |= {i.name: value for i, value in zip(past, cache)}
    values = session.run(None, feed)
    return int(values[outputs.index("logits")][0, -1].argmax()), [values[i] for i in order]


def generate():
    cache = [np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in past]
    token, cache = step(list(range(3, 3 + prompt)), 0, cache)
    for made in range(1, answer):
        token, cache = step([token], prompt + made - 1, cache)


times = []
for _ in range(samples):
    start = time.perf_counter()
    generate()
    times.append(time.perf_counter() - start)
print(answer / min(times))
