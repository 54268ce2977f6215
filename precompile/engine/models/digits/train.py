"""Trains `digits`: an 8 x 8 image of a handwritten digit -> the digit and ten probabilities.

    pip install -r ../requirements.txt && python train.py

Two convolutions with pooling and one dense layer, fitted with plain numpy through autograd.
"""

import sys
from pathlib import Path

import autograd.numpy as anp
import numpy as np
from autograd import grad
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import record  # noqa: E402

SIDE, INK_MAX, CLASSES = 8, 16.0, 10
CHANNELS = (16, 32)
SEED, EPOCHS, BATCH, RATE, WEIGHT_DECAY = 3, 50, 32, 3e-3, 1e-4
# The end of the package's order, unshuffled: neighbours look like one writer's, so a random split would flatter the model.
HELD_OUT = 360


def images():
    """Images as uint8 [n, 1, 8, 8] and labels, in the order of the package: those to train on, those held out."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.uint8).reshape(-1, 1, SIDE, SIDE)
    return (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])


def convolve(x, weights, bias):
    """3 x 3 convolution with a border of zeros; weights as [out, in, 3, 3]."""
    side = x.shape[2]
    padded = anp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="constant")
    patches = anp.stack([padded[:, :, i : i + side, j : j + side] for i in range(3) for j in range(3)], axis=2)
    kernel = anp.reshape(weights, (weights.shape[0], weights.shape[1], 9))
    return anp.einsum("ncpij,ocp->noij", patches, kernel) + anp.reshape(bias, (1, -1, 1, 1))


def pool(x):
    """Largest of each 2 x 2 square."""
    n, c, side, _ = x.shape
    return anp.max(anp.reshape(x, (n, c, side // 2, 2, side // 2, 2)), axis=(3, 5))


def logits(params, x):
    """Ten scores an image; x as ink between 0 and 1."""
    for index in (0, 2):
        x = pool(anp.maximum(convolve(x, params[index], params[index + 1]), 0.0))
    return anp.dot(anp.reshape(x, (x.shape[0], -1)), params[4]) + params[5]


def loss(params, x, y):
    """Cross entropy with weight decay."""
    scores = logits(params, x)
    top = anp.max(scores, axis=1, keepdims=True)
    total = anp.log(anp.sum(anp.exp(scores - top), axis=1)) + top[:, 0]
    decay = sum(anp.sum(p**2) for p in params[::2])
    return anp.mean(total - scores[anp.arange(len(y)), y]) + WEIGHT_DECAY * decay


def initial(rng):
    """He-initialised weights, zero biases."""
    first, second = CHANNELS
    flat = second * (SIDE // 4) ** 2

    def normal(*shape, fan_in):
        return rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)

    return [
        normal(first, 1, 3, 3, fan_in=9), np.zeros(first),
        normal(second, first, 3, 3, fan_in=9 * first), np.zeros(second),
        normal(flat, CLASSES, fan_in=flat), np.zeros(CLASSES),
    ]  # fmt: skip


def shifted(rng, x):
    """Half of the images moved by one pixel, so that a contract's crop need not be perfect."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moves = np.where(rng.random((len(x), 2)) < 0.3, rng.integers(0, 3, size=(len(x), 2)), 1)
    return np.stack([p[:, i : i + SIDE, j : j + SIDE] for p, (i, j) in zip(padded, moves)])


def fit(x, y):
    """Adam over shuffled batches, the rate falling along a cosine."""
    rng = np.random.default_rng(SEED)
    params, slope = initial(rng), grad(loss)
    first, second, step = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0
    steps = EPOCHS * (len(y) // BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(y))
        for start in range(0, len(y) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            step += 1
            rate = RATE * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            for k, g in enumerate(slope(params, shifted(rng, x[rows] / INK_MAX), y[rows])):
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g**2
                params[k] = params[k] - rate * (first[k] / (1 - 0.9**step)) / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)
    return params


def graph(params):
    """The ONNX graph: pixels as uint8 in, digit and probabilities out."""
    names = ["conv_0_weight", "conv_0_bias", "conv_1_weight", "conv_1_bias", "dense_weight", "dense_bias"]
    weights = [numpy_helper.from_array(p.astype(np.float32), n) for p, n in zip(params, names)]
    weights.append(numpy_helper.from_array(np.float32(1.0 / INK_MAX), "per_ink"))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["ink"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ink", "per_ink"], ["layer_0"]),
    ]
    for index in (0, 1):
        nodes += [
            helper.make_node(
                "Conv",
                [f"layer_{index}", f"conv_{index}_weight", f"conv_{index}_bias"],
                [f"conv_{index}"],
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            ),
            helper.make_node("Relu", [f"conv_{index}"], [f"relu_{index}"]),
            helper.make_node("MaxPool", [f"relu_{index}"], [f"layer_{index + 1}"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
    nodes += [
        helper.make_node("Flatten", ["layer_2"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense_weight", "dense_bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["digit"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    wired = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("digit", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES]),
        ],
        weights,
    )
    return helper.make_model(wired, opset_imports=[helper.make_opsetid("", 18)])


def main():
    (x, y), (held_x, held_y) = images()
    record.write_model(graph(fit(x, y)), HERE / "model.onnx")
    live = record.session(HERE / "model.onnx")
    for name, pixels, labels in (("training", x, y), ("held out", held_x, held_y)):
        digit, probabilities = live.run(None, {"pixels": pixels})
        surprise = -np.mean(np.log(probabilities[np.arange(len(labels)), labels]))
        print(f"{name}: {len(labels)} images, accuracy {np.mean(digit == labels):.4f}, cross entropy {surprise:.4f}")
    linear = LogisticRegression(max_iter=2000).fit(x.reshape(len(x), -1) / INK_MAX, y)
    print(f"logistic regression, held out: accuracy {linear.score(held_x.reshape(HELD_OUT, -1) / INK_MAX, held_y):.4f}")
    print(f"always the commonest digit: accuracy {np.mean(held_y == np.bincount(y).argmax()):.4f}")
    publish(held_x, held_y)


def publish(held_x, held_y):
    """Vectors: two held-out images of each digit, a batch, and images that are none."""
    cases = []
    for digit in range(CLASSES):
        for index in np.flatnonzero(held_y == digit)[:2]:
            cases.append((f"held out {index}, a {digit}", [held_x[index : index + 1]]))
    cases.append(("three images at once", [held_x[:3]]))
    cases.append(("an empty page", [np.zeros((1, 1, SIDE, SIDE), np.uint8)]))
    cases.append(("all ink", [np.full((1, 1, SIDE, SIDE), 16, np.uint8)]))
    cases.append(("brighter than the data ever is", [np.full((1, 1, SIDE, SIDE), 255, np.uint8)]))
    record.write_vectors(HERE, cases, {"probabilities": 1e-5})
    record.write_recipe(
        HERE,
        "Handwritten digit",
        "An 8 x 8 image of a digit -> which digit it is, and how likely each one is.",
        "MIT OR Apache-2.0",
        [{"name": "pixels", "solidity": "U8", "shape": [1, 1, SIDE, SIDE], "meaning": "ink from 0 (none) to 16 (full), row by row from the top left"}],
        [
            {"name": "digit", "solidity": "Int", "shape": [1], "meaning": "the likeliest digit, 0 to 9"},
            {"name": "probabilities", "solidity": "Wad", "shape": [1, CLASSES], "meaning": "how likely each digit is; they add up to 1e18"},
        ],
        {"pixels": [int(v) for v in held_x[0].reshape(-1)]},
    )


if __name__ == "__main__":
    main()
