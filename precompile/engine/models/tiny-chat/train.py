"""Trains tiny-chat on one core in minutes.

    python train.py VADER_ARCHIVE [MINUTES]

VADER_ARCHIVE is the source archive of vaderSentiment 3.3.2, which carries the rated sentences.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import record  # noqa: E402
import lessons  # noqa: E402
import llama  # noqa: E402

SEED, VOCABULARY, TEXT_TOKENS_MAX, POSITIONS = 7, 1024, 64, 512
WIDTH, LAYERS, HEADS, KV_HEADS, INNER = 192, 3, 6, 2, 512
BATCH, STEPS, WARM_UP, RATE = 32, 600, 40, 2.5e-3
# What the sentence itself counts beside the answer: it teaches the language, the answer teaches the task.
SENTENCE_WEIGHT = 0.15
SPECIAL = ["<|endoftext|>", lessons.START, lessons.END]
TASKS, SHARES = ("tone", "stars", "kind", "write"), (0.35, 0.3, 0.2, 0.15)


def tokenizer(texts):
    """Byte-level BPE: every text has tokens, and every token is bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken(name, special=True, normalized=False) for name in SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def encode(words, entry, task):
    """Tokens of a conversation and what each counts in the loss."""
    prompt, answer = lessons.question(entry, task)
    before, after = lessons.chat(prompt, answer)
    first, second = words.encode(before).ids, words.encode(after).ids
    first = first[: TEXT_TOKENS_MAX + 24] if len(first) <= TEXT_TOKENS_MAX + 24 else None
    if first is None:
        return None
    second = second[:TEXT_TOKENS_MAX]
    share = SENTENCE_WEIGHT if task == "write" else 1.0
    return first + second, [SENTENCE_WEIGHT * 0.3] * (len(first) - 1) + [share] * len(second)


def batches(words, entries, rng):
    """Endless batches of like length, padded; each sentence with a task by chance."""
    while True:
        tasks = rng.choice(len(TASKS), len(entries), p=SHARES)
        made = [encode(words, entry, TASKS[task]) for entry, task in zip(entries, tasks)]
        made = [pair for pair in made if pair]
        order = sorted(range(len(made)), key=lambda i: (len(made[i][0]) // 4, rng.random()))
        groups = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
        for at in rng.permutation(len(groups)):
            length = max(len(made[i][0]) for i in groups[at])
            ids, weight = np.zeros((BATCH, length), np.int64), np.zeros((BATCH, length - 1), np.float32)
            for line, i in enumerate(groups[at]):
                tokens, shares = made[i]
                ids[line, : len(tokens)], weight[line, : len(shares)] = tokens, shares
            yield ids, weight


def train(net, source, steps):
    """Adam with warm-up and a straight way down; prints how far it is."""
    adam, start, mean = llama.Adam(net.w), time.time(), None
    for step in range(steps):
        ids, weight = next(source)
        rate = RATE * min((step + 1) / WARM_UP, 1.0 - 0.95 * step / steps)
        loss, gradients = net.loss(ids, weight)
        adam.step(net.w, gradients, rate)
        mean = loss if mean is None else mean + 0.02 * (loss - mean)
        if step % 50 == 49:
            print(f"step {step + 1}: loss {mean:.3f}, {time.time() - start:.0f} s", flush=True)
            write(net)


def write(net):
    """The model file of these weights, as 16-bit floats."""
    record.write_model(llama.onnx_model(net.shape, net.w), HERE / "model.onnx", size_bytes_max=4_000_000)


def ask(net, words, entries, task, options):
    """Share of sentences for which the likeliest first token of an option is the right option's."""
    first = [words.encode(option).ids[0] for option in options]
    right = 0
    for entry in entries:
        prompt, answer = lessons.question(entry, task)
        ids = words.encode(lessons.chat(prompt, "")[0]).ids[:POSITIONS]
        scores = net.logits(np.array([ids]))[0, -1]
        right += options[int(np.argmax(scores[first]))] == answer
    return right / len(entries)


def report(net, words, held_out):
    """The numbers of card.md, on sentences that were held out."""
    rng = np.random.default_rng(SEED)
    sample = [held_out[i] for i in rng.permutation(len(held_out))[:600]]
    for task, options in (("tone", ["positive", "negative", "neutral"]), ("stars", list("12345")), ("kind", list(lessons.KINDS.values()))):
        answers = [lessons.question(entry, task)[1] for entry in sample]
        naive = max(answers.count(option) for option in options) / len(answers)
        print(f"{task}: {ask(net, words, sample, task, options):.3f} right, always the commonest {naive:.3f}", flush=True)


def main():
    train_set, held_out = lessons.sentences(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    rng = np.random.default_rng(SEED)
    texts = [text for _, _, text in train_set] + [lessons.question(train_set[0], task)[0] for task in TASKS] * 200
    words = tokenizer(texts)
    words.save(str(HERE / "tokenizer.json"))
    shape = llama.Shape(words.get_vocab_size(), WIDTH, LAYERS, HEADS, KV_HEADS, INNER, POSITIONS)
    net = llama.Net(shape, shape.weights(rng))
    print(f"{sum(w.size for w in net.w.values()):,} weights, {len(train_set):,} sentences", flush=True)
    train(net, batches(words, train_set, rng), steps)
    net.w = {name: weight.astype(np.float32) for name, weight in llama.halves(net.w).items()}
    write(net)
    report(net, words, held_out)


if __name__ == "__main__":
    main()
