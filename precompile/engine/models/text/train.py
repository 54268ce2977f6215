"""Trains `text`: the bytes of an English text -> what it is about, as 32 numbers, and how pleasant it sounds.

    pip install -r ../requirements.txt -r requirements.txt
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python ../fetch/sources.py FOLDER            # brings the teacher, MiniLM
    python train.py vaderSentiment-3.3.2.tar.gz FOLDER/models/minilm

The embedding imitates a far bigger model's: whole words and the first letters of words are hashed inside the graph into a table of 8,191 rows,
which are fitted in one step (ridge regression), so a contract sends plain text and needs no tokenizer.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import scipy.linalg
import scipy.sparse
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import corpus  # noqa: E402
import record  # noqa: E402

WIDTH, BUCKETS, LETTERS, STEM = 32, 8191, 12, 5
RIDGE, VALENCE_RIDGE = 1.0, 3.0
TEACHER_TOKENS, TEACHER_BATCH = 64, 32
SEED, HELD_OUT_EVERY = 1, 10
BYTES_MAX = 1024
# Columns are cut where less than one value in a thousand lies, so that the others keep finer steps.
CUT = 0.6


def letter_codes():
    """What a byte counts as: a letter without case, a digit, part of a letter beyond ASCII, or 0 for what ends a word."""
    codes = np.zeros(256, np.int64)
    for byte in range(256):
        character = chr(byte)
        if byte >= 128:
            codes[byte] = byte
        elif character.isalnum():
            codes[byte] = ord(character.lower())
    return codes


CODES = letter_codes()
# One row for whole words (their first 12 letters), one for stems (their first 5).
MULTIPLIERS = np.random.default_rng(SEED).integers(1, 2**31, (2, LETTERS))
MULTIPLIERS[1, STEM:] = 0


def buckets(text):
    """Table rows of a text, for each word two; the graph below does the same."""
    codes = CODES[np.frombuffer(text.encode()[:BYTES_MAX], np.uint8)]
    padded = np.concatenate([[0], codes, np.zeros(LETTERS, np.int64)])
    starts = np.flatnonzero((codes > 0) & (padded[: len(codes)] == 0)) + 1
    letters = np.stack([padded[starts + k] for k in range(LETTERS)], axis=-1)
    inside = np.cumsum(letters == 0, axis=1) == 0
    return ((letters * inside) @ MULTIPLIERS.T % BUCKETS).reshape(-1)


def features(texts):
    """Counts of table rows over the square root of how many there are, one row a text."""
    rows = [buckets(text) for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    values = np.concatenate([np.full(len(r), 1.0 / np.sqrt(max(len(r), 1)), np.float32) for r in rows])
    matrix = scipy.sparse.csr_matrix((values, np.concatenate(rows), ends), shape=(len(texts), BUCKETS))
    matrix.sum_duplicates()
    return matrix


def teach(texts, folder):
    """The teacher's embeddings; kept beside the teacher, since they take minutes."""
    kept = folder / "taught.npy"
    if kept.exists():
        return np.load(kept)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TEACHER_TOKENS)
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    live = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    answers = np.zeros((len(texts), 384), np.float32)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), TEACHER_BATCH):
        rows = order[start : start + TEACHER_BATCH]
        padded = np.zeros((len(rows), max(len(ids[i]) for i in rows)), np.int64)
        for line, i in enumerate(rows):
            padded[line, : len(ids[i])] = ids[i]
        answers[rows] = live.run(None, {"input_ids": padded})[0]
    np.save(kept, answers)
    return answers


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def principal(taught):
    """The teacher's mean and its WIDTH directions of largest variance, from every fifth embedding."""
    mean = taught.mean(axis=0)
    _, _, directions = np.linalg.svd((taught - mean)[::5], full_matrices=False)
    return mean, directions[:WIDTH].T


def ridge(x, y, strength):
    """Least squares with a penalty, over sparse x."""
    normal = (x.T @ x).toarray().astype(np.float64)
    normal[np.diag_indices_from(normal)] += strength
    return scipy.linalg.solve(normal, np.asarray(x.T @ y), assume_a="pos", overwrite_a=True, check_finite=False)


def quantised(table):
    """The table as int8 and what one step of each column is worth."""
    step = np.abs(table).max(axis=0) / 127 * CUT
    return np.clip(np.round(table / step), -127, 127).astype(np.int8), step.astype(np.float32)


def windows(node, constant):
    """Nodes from bytes [N, L] to the first LETTERS letters of the word that starts at each byte, [N, L, LETTERS]."""
    node("Gather", [constant("codes", CODES), node("Cast", ["text"], "bytes", to=TensorProto.INT64)], "letters")
    node("Pad", ["letters", constant("around", [0, 1, 0, LETTERS])], "padded")
    parts, one, last = [], constant("one", [1]), constant("last", [-1])
    for k in range(LETTERS):
        bounds = [constant(f"from_{k}", [1 + k]), constant(f"to_{k}", [k - LETTERS])]
        part = node("Slice", ["padded", *bounds, one], f"letter_{k}")
        parts.append(node("Unsqueeze", [part, last], f"letter_column_{k}"))
    word = node("Concat", parts, "word", axis=2)
    ended = node("Cast", [node("Equal", [word, constant("nothing", 0)], "is_end")], "ends", to=TensorProto.INT32)
    ends = node("CumSum", [ended, constant("axis_letters", 2)], "ends_before")
    inside = node("Cast", [node("Equal", [ends, constant("nothing_32", 0, np.int32)], "is_inside")], "inside", to=TensorProto.INT64)
    return node("Mul", [word, inside], "inner")


def starts(node, constant):
    """Nodes that mark with 1.0 where a word starts, [N, 1, L]."""
    before = node("Slice", ["padded", constant("first", [0]), constant("to_before", [-1 - LETTERS]), "one"], "before")
    here = node("Greater", ["letters", "nothing"], "is_letter")
    fresh = node("And", [here, node("Equal", [before, "nothing"], "is_edge")], "is_start")
    return node("Unsqueeze", [node("Cast", [fresh], "start", to=TensorProto.FLOAT), "one"], "start_row")


def graph(table, step, bias):
    """The ONNX graph: hashing, the table, and the two outputs."""
    nodes, weights = [], []

    def constant(name, value, kind=np.int64):
        weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    inner, start = windows(node, constant), starts(node, constant)
    constant("table", table, np.int8)
    constant("buckets", BUCKETS)
    sums = []
    for name, multipliers in zip(("word", "stem"), MULTIPLIERS):
        products = node("Mul", [inner, constant(f"{name}_multipliers", multipliers)], f"{name}_products")
        total = node("ReduceSum", [products, "last"], f"{name}_sum", keepdims=0)
        row = node("Mod", [total, "buckets"], f"{name}_row")
        found = node("Cast", [node("Gather", ["table", row], f"{name}_small")], f"{name}_found", to=TensorProto.FLOAT)
        sums.append(node("MatMul", [start, found], f"{name}_bag"))
    bag = node("Squeeze", [node("Add", sums, "bag"), "one"], "flat_bag")
    scaled = node("Mul", [bag, constant("step", step, np.float32)], "scaled")
    split = node("Slice", [scaled, "first", constant("width", [WIDTH]), "one"], "direction")
    norm = node("ReduceL2", [split, "one"], "length", keepdims=1)
    node("Div", [split, node("Max", [norm, constant("tiny", 1e-9, np.float32)], "length_floored")], "embedding")
    count = node("ReduceSum", [start, "last"], "words", keepdims=0)
    known = node("Max", [node("Mul", [count, constant("two", 2.0, np.float32)], "entries"), constant("least", 1.0, np.float32)], "entries_floored")
    tone = node("Slice", [scaled, "width", constant("to_tone", [WIDTH + 1]), "one"], "tone")
    mean = node("Div", [tone, node("Sqrt", [known], "root")], "tone_mean")
    node("Add", [mean, constant("bias", bias, np.float32)], "valence")
    wired = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("text", TensorProto.UINT8, ["N", "L"])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", WIDTH]),
            helper.make_tensor_value_info("valence", TensorProto.FLOAT, ["N", 1]),
        ],
        weights,
    )
    return helper.make_model(wired, opset_imports=[helper.make_opsetid("", 18)])


def as_bytes(texts):
    """Texts as one uint8 matrix, shorter ones filled with zeros behind."""
    encoded = [text.encode()[:BYTES_MAX] for text in texts]
    rows = np.zeros((len(encoded), max(map(len, encoded))), np.uint8)
    for row, data in zip(rows, encoded):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows


def main():
    entries, teacher = corpus.sentences(sys.argv[1]), Path(sys.argv[2])
    texts, sources = [e[2] for e in entries], np.array([e[0] for e in entries])
    valence = np.array([e[1] for e in entries])
    taught, x = teach(texts, teacher), features(texts)
    held_out = np.arange(len(texts)) % HELD_OUT_EVERY == 0
    rated = np.isin(sources, corpus.RATED)
    mean, directions = principal(taught[~held_out])
    target = ((taught - mean) @ directions).astype(np.float64)
    train = rated & ~held_out
    bias = valence[train].mean()
    table = np.concatenate(
        [ridge(x[~held_out], target[~held_out], RIDGE), ridge(x[train], (valence[train] - bias)[:, None], VALENCE_RIDGE)], axis=1
    )
    record.write_model(graph(*quantised(table), bias), HERE / "model.onnx")
    live = record.session(HERE / "model.onnx")
    embeddings, tones = answer(live, texts, np.flatnonzero(held_out))
    report(embeddings, tones, np.flatnonzero(held_out), texts, sources, valence, unit(taught - mean), unit(target))
    publish()


def answer(live, texts, rows):
    """Both outputs for these texts, in batches of like length."""
    embeddings, tones = np.zeros((len(rows), WIDTH)), np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(texts[rows[i]]))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        embedding, tone = live.run(None, {"text": as_bytes([texts[rows[i]] for i in part])})
        embeddings[part], tones[part] = embedding, tone[:, 0]
    return embeddings, tones


def report(embeddings, tones, rows, texts, sources, valence, full, reduced):
    """The numbers of card.md, all on held-out sentences."""
    x = features([texts[i] for i in rows])
    frequency = np.asarray((x > 0).sum(axis=0)).ravel()
    plain = unit(np.asarray((x.multiply(np.log(len(rows) / (1.0 + frequency)))).todense()))
    rng = np.random.default_rng(SEED)
    a, b = rng.integers(0, len(rows), 20000), rng.integers(0, len(rows), 20000)
    teacher, pool = full[rows], rng.permutation(len(rows))[:2000]
    likeness = np.sum(teacher[a] * teacher[b], axis=1)
    nearest = teacher[pool] @ teacher[pool].T
    np.fill_diagonal(nearest, -9.0)
    for name, e in (("model", embeddings), ("teacher in 32 numbers", reduced[rows]), ("hashed tf-idf", plain)):
        near = e[pool] @ e[pool].T
        np.fill_diagonal(near, -9.0)
        ten = np.argpartition(-near, 10, axis=1)[:, :10]
        found = np.mean([best in some for best, some in zip(nearest.argmax(axis=1), ten)])
        order = spearmanr(likeness, np.sum(e[a] * e[b], axis=1))[0]
        print(f"{name}: rank correlation with the teacher's likeness {order:.3f}, its nearest of 2,000 among our ten {found:.3f}")
    probe(embeddings, tones, rows, sources, valence, teacher)


def probe(embeddings, tones, rows, sources, valence, teacher):
    """How well the source and the tone of rated sentences can be told; probes are fitted on every other one."""
    rated = np.isin(sources[rows], corpus.RATED)
    kind, tone = sources[rows][rated], valence[rows][rated]
    print(f"{rated.sum()} rated sentences; the commonest source has {np.unique(kind, return_counts=True)[1].max() / rated.sum():.3f}")
    for name, e in (("model", embeddings[rated]), ("teacher", teacher[rated])):
        accuracy = LogisticRegression(max_iter=1000).fit(e[::2], kind[::2]).score(e[1::2], kind[1::2])
        print(f"{name}: tells the source with accuracy {accuracy:.3f}")
    print(f"model's valence: correlation with 20 people's mean {np.corrcoef(tones[rated], tone)[0, 1]:.3f}")
    side = np.abs(tone) >= 1.0
    print(f"  sign right where people are clear (|valence| >= 1): {np.mean((tones[rated] > 0)[side] == (tone > 0)[side]):.3f} of {side.sum()}")
    guess = Ridge(1.0).fit(teacher[rated][::2], tone[::2]).predict(teacher[rated][1::2])
    print(f"a ridge on the teacher's 384 numbers: correlation {np.corrcoef(guess, tone[1::2])[0, 1]:.3f}")


SENTENCES = (
    "The new phone has a bright screen and the battery lasts two days.",
    "My phone's battery died after a week, what a terrible product!",
    "The actors are wonderful and the story moved me to tears.",
    "A dull film with a predictable plot.",
    "The president signed the budget after a long debate in Congress.",
    "Parliament voted on the new tax law on Tuesday.",
    "These cookies taste like cardboard.",
    "Delicious coffee, rich and smooth.",
    "I love you all, best day ever!!!",
    "you are a stupid idiot and everybody hates you",
    "gm",
    "Claim your free tokens now, connect your wallet and send 1 ETH to receive 2 ETH",
    "The DAO should spend 50,000 USDC on a security audit of the new vault.",
    "Proposal: reduce the swap fee from 30 to 5 basis points.",
    "The river flows through the old town into the North Sea.",
    "In 1905 he published four papers that changed physics.",
    "Das ist ein deutscher Satz, den das Modell kaum kennt.",
    "Größe, façade, naïve, 東京",
    "0x00000000000000000000000000000000000000000000000000000000000000ff",
    "supercalifragilisticexpialidocious",
)


def publish():
    """Vectors: sentences that a feed may carry, and texts without words."""
    cases = [(text[:48], [as_bytes([text])]) for text in SENTENCES]
    cases.append(("four at once", [as_bytes(SENTENCES[:4])]))
    cases.append(("only signs", [as_bytes(["... !!! ---"])]))
    cases.append(("one byte", [np.zeros((1, 1), np.uint8)]))
    cases.append(("a thousand bytes without a space", [np.full((1, 1000), ord("a"), np.uint8)]))
    record.write_vectors(HERE, cases, {"embedding": 1e-6, "valence": 1e-5})
    example = SENTENCES[1].encode()
    record.write_recipe(
        HERE,
        "Meaning and tone of a text",
        "The bytes of an English text -> 32 numbers that are alike for texts alike, and how pleasant it sounds.",
        "MIT OR Apache-2.0",
        [{"name": "text", "solidity": "U8", "shape": [1, len(example)], "meaning": f"the text's UTF-8 bytes as they are, up to {BYTES_MAX}: {example.decode()}"}],
        [
            {"name": "embedding", "solidity": "Wad", "shape": [1, WIDTH], "meaning": "of length 1e18; the dot product of two is their likeness"},
            {"name": "valence", "solidity": "Wad", "shape": [1, 1], "meaning": "from about -4e18 (hostile) to 4e18 (delighted)"},
        ],
        {"text": list(example)},
    )


if __name__ == "__main__":
    main()
