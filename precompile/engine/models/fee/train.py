"""Trains `fee`: volatility and inventory of a pool -> its fees for buying and for selling.

    pip install -r ../requirements.txt && python train.py

The second model of a chain: `volatility` here is the output of the model next door, also in training. The network is trained
on the outcome itself: it sets fees, real prices move, and what the pool earns is what is maximised.
"""

import datetime as dt
import json
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

HIDDEN, SEED, WEIGHT_DECAY = 8, 5, 3e-3
# Two inputs, two hidden layers, one output.
SHAPES = ((2, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))
FEE_MIN, FEE_MAX = 0.0001, 0.03
FIRST_HELD_OUT_DAY = dt.date(2013, 1, 1)
# A pool meets an arbitrageur about once an hour; a day's move is the square root of 24 of an hour's.
HOURS = 24.0
# Of traders who have no news, exp(-fee / ELASTICITY) still trade; they trade NOISE of the pool's value an hour.
ELASTICITY, NOISE = 0.003, 0.01
# Value that arbitrage takes through the pool for each unit of price beyond the fee: liquidity somewhat concentrated.
DEPTH = 3.0
# Cost of a unit of squared loss on inventory. It is held for days, so it is dear beside one hour's move.
RISK_AVERSION = 3.0
# A level that keeps the logarithm of volatility near zero.
USUAL_VOLATILITY = 0.01
VOLATILITY_MIN = 1e-4


def days():
    """(trained on?, name, volatility as the model next door says it, the next day's return) for each series."""
    live = record.session(HERE.parent / "volatility" / "model.onnx")
    for name, close in market.closes().items():
        dates, rows, following = market.windows(close, 16, 1)
        volatility = live.run(None, {"log_returns": rows})[0][:, 0].astype(np.float64)
        seen = (dates < FIRST_HELD_OUT_DAY) & (name not in ("MSFT", "FB"))
        yield name, seen, volatility, following[:, 0]


def earned(buy, sell, inventory, move):
    """What a pool of value 1 earns in an hour in which the price moves by `move`, less the cost of the inventory risk it adds.

    Buyers take the base asset out and lower the inventory; arbitrage buys after a rise and sells after a fall.
    """
    bought = NOISE * anp.exp(-buy / ELASTICITY)
    sold = NOISE * anp.exp(-sell / ELASTICITY)
    over_buy = anp.maximum(move - buy, 0.0)
    over_sell = anp.maximum(-move - sell, 0.0)
    fees = bought * buy + sold * sell
    # The arbitrageur's last unit is worth nothing to him, so on average half of the excess is lost.
    lost = 0.5 * DEPTH * (over_buy**2 + over_sell**2)
    held = inventory + sold - bought + DEPTH * (over_sell - over_buy)
    risk_added = held**2 - inventory**2
    return fees - lost - RISK_AVERSION * risk_added * move**2


def layers(params):
    """Splits the flat parameter vector into (weights, bias)."""
    parts, at = [], 0
    for rows, columns in SHAPES:
        weights = params[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        parts.append((weights, params[at : at + columns]))
        at += columns
    return parts


def one_fee(params, volatility, inventory):
    """Fee of the side that lowers the inventory; the other side's is the same with the inventory's sign turned."""
    x = anp.stack([anp.log(anp.maximum(volatility, VOLATILITY_MIN) / USUAL_VOLATILITY), inventory], axis=1)
    parts = layers(params)
    for weights, bias in parts[:-1]:
        x = anp.tanh(anp.dot(x, weights) + bias)
    weights, bias = parts[-1]
    return FEE_MIN + (FEE_MAX - FEE_MIN) / (1.0 + anp.exp(-(anp.dot(x, weights) + bias)[:, 0]))


def fit(volatility, inventory, move):
    """Maximises the mean of what the pool earns, in basis points of its value."""
    rng = np.random.default_rng(SEED)
    size = sum(rows * columns + columns for rows, columns in SHAPES)
    parts = [(rng.standard_normal(weights.size) / np.sqrt(len(weights)), bias) for weights, bias in layers(np.zeros(size))]
    start = np.concatenate([piece for pair in parts for piece in pair])
    start[-1] = -2.5

    def loss(params):
        buy, sell = one_fee(params, volatility, inventory), one_fee(params, volatility, -inventory)
        decay = sum(anp.sum(weights**2) for weights, _ in layers(params))
        return -1e4 * anp.mean(earned(buy, sell, inventory, move)) + WEIGHT_DECAY * decay

    return minimize(value_and_grad(loss), start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x


def graph(params):
    """The ONNX graph; both sides run through the same weights."""

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    weights, nodes = [], []

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    floored = node("Max", ["volatility", constant("volatility_min", VOLATILITY_MIN)], "floored")
    level = node("Log", [node("Mul", [floored, constant("per_usual", 1.0 / USUAL_VOLATILITY)], "relative")], "level")
    for index, (matrix, bias) in enumerate(layers(params)):
        constant(f"weight_{index}", matrix)
        constant(f"bias_{index}", bias)
    constant("fee_span", FEE_MAX - FEE_MIN)
    constant("fee_min", FEE_MIN)
    sides = []
    for side, skew in (("buy", "inventory"), ("sell", node("Neg", ["inventory"], "opposite"))):
        x = node("Concat", [level, skew], f"{side}_0", axis=1)
        for index in (0, 1):
            x = node("Gemm", [x, f"weight_{index}", f"bias_{index}"], f"{side}_linear_{index}")
            x = node("Tanh", [x], f"{side}_{index + 1}")
        x = node("Gemm", [x, "weight_2", "bias_2"], f"{side}_linear_2")
        x = node("Mul", [node("Sigmoid", [x], f"{side}_share"), "fee_span"], f"{side}_above")
        sides.append(node("Add", [x, "fee_min"], f"{side}_fee"))
    node("Concat", sides, "fees", axis=1)
    wired = helper.make_graph(
        nodes,
        "fee",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1]) for n in ("volatility", "inventory")],
        [helper.make_tensor_value_info("fees", TensorProto.FLOAT, ["N", 2])],
        weights,
    )
    return helper.make_model(wired, opset_imports=[helper.make_opsetid("", 18)])


def simple_rules(volatility, inventory, move):
    """The best constant fee, the best multiple of volatility, and the best straight line in both, on training data."""

    def best(rule, start):
        def loss(p):
            buy, sell = rule(p, volatility, inventory), rule(p, volatility, -inventory)
            return -1e4 * np.mean(earned(buy, sell, inventory, move))

        found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 400})
        return lambda v, q: rule(found.x, v, q)

    def clip(fee):
        return np.clip(fee, FEE_MIN, FEE_MAX)

    return {
        "one fee for all days": best(lambda p, v, q: clip(p[0] + 0.0 * v), [0.003]),
        "a multiple of volatility": best(lambda p, v, q: clip(p[0] * v), [0.2]),
        "a line in volatility": best(lambda p, v, q: clip(p[0] + p[1] * v), [0.003, 0.1]),
        "a line in volatility, inventory": best(lambda p, v, q: clip(p[0] + p[1] * v + p[2] * q), [0.003, 0.1, 0.0]),
    }


def with_inventory(volatility, following, seed):
    """Each day once with a random inventory; moves are scaled to an hour."""
    inventory = np.random.default_rng(seed).uniform(-1.0, 1.0, len(volatility))
    return volatility, inventory, following / np.sqrt(HOURS)


def main():
    series = list(days())
    train = with_inventory(np.concatenate([v[s] for _, s, v, _ in series]), np.concatenate([f[s] for _, s, _, f in series]), SEED)
    record.write_model(graph(fit(*train)), HERE / "model.onnx")
    live = record.session(HERE / "model.onnx")

    def model(v, q):
        feeds = {"volatility": np.float32(v)[:, None], "inventory": np.float32(q)[:, None]}
        return live.run(None, feeds)[0][:, 0].astype(np.float64)

    rules = {"model": model, **simple_rules(*train)}
    report("training", rules, train)
    for name, seen, volatility, following in series:
        if not seen.all():
            report(f"{name}, held out", rules, with_inventory(volatility[~seen], following[~seen], SEED + 1))
    for v in (0.002, 0.005, 0.01, 0.02, 0.04, 0.08):
        fees = [model(np.array([v]), np.array([q]))[0] * 1e4 for q in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        print(f"volatility {v:.3f}: buy fee at inventory -1 to 1, basis points:", " ".join(f"{f:6.1f}" for f in fees))
    publish(series)


def report(name, rules, data):
    """One row of the table in card.md: basis points of the pool's value an hour."""
    volatility, inventory, move = data
    print(f"{name}: {len(move)} days")
    for title, rule in rules.items():
        value = earned(rule(volatility, inventory), rule(volatility, -inventory), inventory, move)
        print(f"  {title:32} {np.mean(value) * 1e4:8.4f}")


def publish(series):
    """Vectors: held-out volatilities with inventories around the scale, and corners."""

    def case(title, volatility, inventory):
        return title, [np.float32(volatility).reshape(-1, 1), np.float32(inventory).reshape(-1, 1)]

    cases = []
    for name, seen, volatility, _ in series:
        if name in ("wti", "MSFT", "FB"):
            unseen = np.round(volatility[~seen], 8)
            for index, value in enumerate(unseen[:: len(unseen) // 6][:6]):
                inventory = (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)[index]
                cases.append(case(f"{name}, inventory {inventory}", [value], [inventory]))
    cases.append(case("four pools at once", [0.01, 0.02, 0.03, 0.04], [0.0, 0.5, -0.5, 1.0]))
    cases.append(case("no volatility", [0.0], [0.0]))
    cases.append(case("volatility of 50 % a day", [0.5], [0.0]))
    cases.append(case("inventory beyond its range", [0.01], [3.0]))
    record.write_vectors(HERE, cases, {"fees": 1e-7})
    said = json.loads((HERE.parent / "volatility" / "recipe.json").read_text())
    record.write_recipe(
        HERE,
        "Fees of a pool",
        "Volatility (the output of `volatility` as it is) and inventory -> fees for buying and selling.",
        "MIT OR Apache-2.0",
        [
            {"name": "volatility", "solidity": "Wad", "shape": [1, 1], "meaning": "daily volatility; 1e16 is 1 %"},
            {"name": "inventory", "solidity": "Wad", "shape": [1, 1], "meaning": "from -1e18 (only quote) through 0 (balanced) to 1e18 (only base)"},
        ],
        [{"name": "fees", "solidity": "Wad", "shape": [1, 2], "meaning": "fee for buying and for selling the base asset; 1e16 is 1 %"}],
        {"volatility": said["example"]["output"]["volatility"], "inventory": [0.25]},
    )


if __name__ == "__main__":
    main()
