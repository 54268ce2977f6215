"""Trains `volatility`: 16 daily log returns -> the root mean square of the next five.

    pip install -r ../requirements.txt && python train.py

The network sees returns only after division by their own root mean square, so it learns the shape of the recent past,
never an asset's level: doubling all returns doubles the answer.
"""

import datetime as dt
import sys
from pathlib import Path

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import market  # noqa: E402
import record  # noqa: E402

WINDOW = 16
HORIZON = 5
# Width and decay were chosen on 2009-2012 with the years before as training data.
HIDDEN = (12, 6)
SEED = 7
WEIGHT_DECAY = 3e-3
FIRST_HELD_OUT_DAY = dt.date(2013, 1, 1)
# Added to the mean square, so that a window without any movement has an answer (0.01 % a day).
FLOOR_SQUARED = 1e-8


def windows(close):
    """(last date, WINDOW returns, root mean square of the HORIZON after them) for each day that has both."""
    dates, rows, following = market.windows(close, WINDOW, HORIZON)
    return dates, rows, np.sqrt(np.mean(np.square(following), axis=1)).astype(np.float32)


def shape_of(params):
    """Splits the flat parameter vector into (weights, bias) layers; the last one has a single output."""
    sizes, layers, at = (2 * WINDOW, *HIDDEN, 1), [], 0
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        weights = params[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
        at += fan_in * fan_out
        layers.append((weights, params[at : at + fan_out]))
        at += fan_out
    return layers


def initial():
    """Small random weights; the last layer starts at zero, which is the root-mean-square baseline itself."""
    rng, sizes, parts = np.random.default_rng(SEED), (2 * WINDOW, *HIDDEN, 1), []
    for index, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        scale = 0.0 if index == len(sizes) - 2 else np.sqrt(1.0 / fan_in)
        parts += [scale * rng.standard_normal(fan_in * fan_out), np.zeros(fan_out)]
    return np.concatenate(parts)


def scale_of(x):
    """Root mean square of each window."""
    return np.sqrt(np.mean(np.square(x.astype(np.float64)), axis=1, keepdims=True) + FLOOR_SQUARED)


def features(x):
    """Rises and falls over the window's own scale, each as numbers of 0 and up: falls unsettle a market more."""
    z = x / scale_of(x)
    return np.concatenate([np.maximum(z, 0.0), np.maximum(-z, 0.0)], axis=1)


def log_ratio(params, z):
    """log(volatility / scale of the window)."""
    for weights, bias in shape_of(params)[:-1]:
        z = anp.tanh(anp.dot(z, weights) + bias)
    weights, bias = shape_of(params)[-1]
    return (anp.dot(z, weights) + bias)[:, 0]


def fit(x, y):
    """Minimises the Gaussian likelihood loss of the following returns, for which volatility is the best answer."""
    z, target = features(x), (y / scale_of(x)[:, 0]) ** 2

    def loss(params):
        h = log_ratio(params, z)
        decay = sum(anp.sum(weights**2) for weights, _ in shape_of(params))
        return anp.mean(h + 0.5 * target * anp.exp(-2.0 * h)) + WEIGHT_DECAY * decay

    found = minimize(value_and_grad(loss), initial(), jac=True, method="L-BFGS-B", options={"maxiter": 250})
    return found.x


def graph(params):
    """The ONNX graph: the same arithmetic, with the scaling inside."""

    def constant(name, value, kind=np.float32):
        return numpy_helper.from_array(np.asarray(value, kind), name)

    weights = [constant("floor_squared", [FLOOR_SQUARED]), constant("axis", [1], np.int64)]
    nodes = [
        helper.make_node("Mul", ["log_returns", "log_returns"], ["squared"]),
        helper.make_node("ReduceMean", ["squared", "axis"], ["mean_square"], keepdims=1),
        helper.make_node("Add", ["mean_square", "floor_squared"], ["floored"]),
        helper.make_node("Sqrt", ["floored"], ["scale"]),
        helper.make_node("Div", ["log_returns", "scale"], ["relative"]),
        helper.make_node("Neg", ["relative"], ["opposite"]),
        helper.make_node("Relu", ["relative"], ["rises"]),
        helper.make_node("Relu", ["opposite"], ["falls"]),
        helper.make_node("Concat", ["rises", "falls"], ["layer_0"], axis=1),
    ]
    layers = shape_of(params)
    for index, (matrix, bias) in enumerate(layers):
        weights += [constant(f"weight_{index}", matrix), constant(f"bias_{index}", bias)]
        last = index == len(layers) - 1
        out = "log_ratio" if last else f"linear_{index}"
        nodes.append(helper.make_node("Gemm", [f"layer_{index}", f"weight_{index}", f"bias_{index}"], [out]))
        if not last:
            nodes.append(helper.make_node("Tanh", [out], [f"layer_{index + 1}"]))
    nodes += [helper.make_node("Exp", ["log_ratio"], ["ratio"]), helper.make_node("Mul", ["scale", "ratio"], ["volatility"])]
    wired = helper.make_graph(
        nodes,
        "volatility",
        [helper.make_tensor_value_info("log_returns", TensorProto.FLOAT, ["N", WINDOW])],
        [helper.make_tensor_value_info("volatility", TensorProto.FLOAT, ["N", 1])],
        weights,
    )
    return helper.make_model(wired, opset_imports=[helper.make_opsetid("", 18)])


def scores(y, sigma):
    """Gaussian log-likelihood loss, QLIKE and mean absolute error in percent."""
    ratio = np.maximum(y.astype(np.float64) ** 2, 1e-8) / sigma**2
    qlike = np.mean(ratio - np.log(ratio) - 1.0)
    nll = np.mean(np.log(sigma) + 0.5 * (y / sigma) ** 2)
    return nll, qlike, np.mean(np.abs(y - sigma)) * 100.0


def ewma(x, decay=0.94):
    """RiskMetrics' exponentially weighted deviation over the same window."""
    weights = decay ** np.arange(WINDOW - 1, -1, -1)
    return np.sqrt((x.astype(np.float64) ** 2) @ (weights / weights.sum()) + FLOOR_SQUARED)


def report(name, x, y, live):
    """One block of the table in card.md."""
    model = live.run(None, {"log_returns": x})[0][:, 0].astype(np.float64)
    print(f"{name}: {len(y)} days")
    for title, sigma in (("model", model), ("ewma 0.94", ewma(x)), ("16-day rms", scale_of(x)[:, 0])):
        print("  {:10} nll {:.4f}  qlike {:.4f}  mae {:.3f} %".format(title, *scores(y, sigma)))


def main():
    data = {name: windows(close) for name, close in market.closes().items()}
    trained = {"sp500", "nasdaq", "wti", "AAPL", "IBM", "GOOG"}
    before = {n: d < FIRST_HELD_OUT_DAY for n, (d, _, _) in data.items()}
    x = np.concatenate([data[n][1][before[n]] for n in sorted(trained)])
    y = np.concatenate([data[n][2][before[n]] for n in sorted(trained)])
    params = fit(x, y)
    record.write_model(graph(params), HERE / "model.onnx")

    live = record.session(HERE / "model.onnx")
    report("training", x, y, live)
    for name, (_, rows, following) in data.items():
        later = ~before[name]
        if name in ("sp500", "nasdaq", "wti"):
            report(f"{name} from {FIRST_HELD_OUT_DAY}", rows[later], following[later], live)
        elif name not in trained:
            report(f"{name} (never trained on)", rows, following, live)
    publish(data)


def publish(data):
    """Vectors: windows that were not trained on, from the series in the public domain, and corners a contract may reach."""
    cases = []
    for name in ("wti", "MSFT", "FB"):
        dates, rows, _ = data[name]
        rows = np.round(rows.astype(np.float64), 8).astype(np.float32)
        unseen = np.flatnonzero(dates >= FIRST_HELD_OUT_DAY) if name == "wti" else np.arange(len(dates))
        for index in unseen[:: len(unseen) // 7]:
            cases.append((f"{name} until {dates[index]}", [rows[index : index + 1]]))
    batch = np.round(data["wti"][1][-5:].astype(np.float64), 8).astype(np.float32)
    cases.append(("five days of wti at once", [batch]))
    cases.append(("no movement at all", [np.zeros((1, WINDOW), np.float32)]))
    cases.append(("one crash in a quiet month", [np.float32([[0.001] * 15 + [-0.2]])]))
    cases.append(("a token that moves 20 % a day", [np.float32([[0.2, -0.2] * 8])]))
    record.write_vectors(HERE, cases, {"volatility": 1e-7})
    example = [float(record.shortest(v)) for v in np.round(data["wti"][1][-1].astype(np.float64), 6).astype(np.float32)]
    record.write_recipe(
        HERE,
        "Volatility of the coming week",
        "16 daily log returns of any asset, oldest first -> daily volatility over the next five days.",
        "MIT OR Apache-2.0",
        [{"name": "log_returns", "solidity": "Wad", "shape": [1, WINDOW], "meaning": "ln(close / previous close), oldest first; 1e16 is 1 %"}],
        [{"name": "volatility", "solidity": "Wad", "shape": [1, 1], "meaning": "root mean square of the next five daily log returns; 1e16 is 1 % a day"}],
        {"log_returns": example},
    )


if __name__ == "__main__":
    main()
