"""Tokens a second of ONNX Runtime on one thread, greedy, with a key-value cache: FOLDER PROMPT ANSWER SECONDS. Prints JSON:
of a plain loop over the session, and of onnxruntime-genai where that is installed, on the same graph."""

import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime as ort

folder, (prompt, answer, seconds) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:])
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
past = [i for i in session.get_inputs() if i.name.startswith("past_key_values")]
outputs = [o.name for o in session.get_outputs()]
order = [outputs.index(i.name.replace("past_key_values", "present")) for i in past]
tokens_of_prompt = [3 + index % 200 for index in range(prompt)]


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


def loop():
    cache = [np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in past]
    token, cache = step(tokens_of_prompt, 0, cache)
    for made in range(1, answer):
        token, cache = step([token], prompt + made - 1, cache)
    return answer


def speed(generate):
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        made = generate()
        times.append((time.perf_counter() - start) / made)
    return 1 / min(times)


def genai():
    """A generator of onnxruntime-genai over the same graph; its configuration says no more than the graph does."""
    import onnxruntime_genai

    _, heads, _, width = past[0].shape
    vocabulary = session.get_outputs()[outputs.index("logits")].shape[-1]
    cache = {f"{side}_{part}_names": f"{name}.%d.{part}" for side, name in [("past", "past_key_values"), ("present", "present")] for part in ["key", "value"]}
    config = {
        "model": {
            "type": "llama",
            "bos_token_id": 1,
            # A token that hardly ever comes: both are to write as many.
            "eos_token_id": vocabulary - 1,
            "pad_token_id": 0,
            "context_length": 1024,
            "vocab_size": vocabulary,
            "decoder": {
                "filename": "model.onnx",
                "session_options": {"intra_op_num_threads": 1, "provider_options": []},
                "head_size": width,
                "hidden_size": heads * width,
                "num_attention_heads": heads,
                "num_hidden_layers": len(past) // 2,
                "num_key_value_heads": heads,
                "inputs": {name: name for name in ["input_ids", "attention_mask", "position_ids"]} | {k: v for k, v in cache.items() if k.startswith("past")},
                "outputs": {"logits": "logits"} | {k: v for k, v in cache.items() if k.startswith("present")},
            },
        },
        "search": {"max_length": 1024, "do_sample": False, "past_present_share_buffer": False},
    }
    (folder / "genai_config.json").write_text(json.dumps(config))
    model = onnxruntime_genai.Model(str(folder))

    def generate():
        params = onnxruntime_genai.GeneratorParams(model)
        params.set_search_options(max_length=prompt + answer, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        generator.append_tokens(np.array([tokens_of_prompt], np.int32))
        made = 0
        while not generator.is_done():
            generator.generate_next_token()
            made += 1
        return made

    return generate


found = {"loop": speed(loop)}
try:
    found["genai"] = speed(genai())
except ImportError:
    print("onnxruntime-genai is not installed", file=sys.stderr)
print(json.dumps(found))
