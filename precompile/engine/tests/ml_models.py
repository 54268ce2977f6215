"""Train small models, export them with skl2onnx, XGBoost and LightGBM, and record what ONNX Runtime answers.

    pip install onnxruntime==1.31.1 scikit-learn skl2onnx xgboost lightgbm onnxmltools
    python precompile/engine/tests/ml_models.py precompile/engine/tests/data/ml

`ml_models.rs` reads the folder; its files are described in onnx_node_cases.py.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from onnx_node_cases import Writer
from skl2onnx import to_onnx
from sklearn import datasets, ensemble, impute, linear_model, neural_network, pipeline, preprocessing, svm, tree
from sklearn.compose import ColumnTransformer

warnings.simplefilter("ignore")
ROWS = 24


def data():
    iris, diabetes, cancer = datasets.load_iris(), datasets.load_diabetes(), datasets.load_breast_cancer()
    return {
        "iris": (iris.data.astype(np.float32), iris.target),
        "names": (iris.data.astype(np.float32), iris.target_names[iris.target]),
        "diabetes": (diabetes.data.astype(np.float32), diabetes.target.astype(np.float32)),
        "cancer": (cancer.data[:, :8].astype(np.float32), cancer.target),
    }


def scikit():
    scaled = lambda last: pipeline.make_pipeline(preprocessing.StandardScaler(), last)
    yield "logistic-iris", scaled(linear_model.LogisticRegression(max_iter=300)), "iris", 1e-5
    yield "logistic-names", scaled(linear_model.LogisticRegression(max_iter=300)), "names", 1e-5
    yield "logistic-binary", scaled(linear_model.LogisticRegression(max_iter=300)), "cancer", 1e-5
    yield "ridge", scaled(linear_model.Ridge()), "diabetes", 1e-5
    yield "tree-classifier", tree.DecisionTreeClassifier(max_depth=4, random_state=0), "iris", 1e-6
    yield "tree-regressor", tree.DecisionTreeRegressor(max_depth=4, random_state=0), "diabetes", 1e-6
    yield "forest-classifier", ensemble.RandomForestClassifier(12, max_depth=4, random_state=0), "iris", 1e-5
    yield "forest-names", ensemble.RandomForestClassifier(5, max_depth=3, random_state=0), "names", 1e-5
    yield "forest-binary", ensemble.RandomForestClassifier(12, max_depth=4, random_state=0), "cancer", 1e-5
    yield "extra-regressor", ensemble.ExtraTreesRegressor(12, max_depth=4, random_state=0), "diabetes", 1e-5
    yield "boosting-regressor", ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0), "diabetes", 1e-5
    yield "boosting-binary", ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0), "cancer", 1e-5
    yield "boosting-iris", ensemble.GradientBoostingClassifier(n_estimators=6, random_state=0), "iris", 1e-5
    yield "svc-binary", scaled(svm.SVC(C=0.5)), "cancer", 1e-4
    yield "svc-linear", scaled(svm.SVC(kernel="linear")), "iris", 1e-4
    yield "svc-poly", scaled(svm.SVC(kernel="poly", degree=2)), "iris", 1e-4
    yield "svr-rbf", scaled(svm.SVR(C=10.0, max_iter=50)), "diabetes", 1e-4
    yield "mlp-classifier", scaled(neural_network.MLPClassifier(hidden_layer_sizes=(16,), max_iter=60, random_state=0)), "iris", 1e-5
    yield "mlp-regressor", scaled(neural_network.MLPRegressor(hidden_layer_sizes=(16, 8), max_iter=60, random_state=0)), "diabetes", 1e-5
    for norm in ("l1", "l2", "max"):
        model = pipeline.make_pipeline(preprocessing.Normalizer(norm), linear_model.Ridge())
        yield f"normalizer-{norm}", model, "diabetes", 1e-5
    columns = ColumnTransformer(
        [
            ("a", pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.MinMaxScaler()), [0, 1]),
            ("b", preprocessing.Binarizer(threshold=0.01), [2]),
            ("c", preprocessing.RobustScaler(), [3, 5]),
        ]
    )
    yield "columns", pipeline.make_pipeline(columns, linear_model.Ridge()), "diabetes", 1e-5


def boosters():
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    small = {"n_estimators": 12, "max_depth": 3}
    light = {**small, "verbose": -1, "num_leaves": 7, "random_state": 0}
    models = [
        ("xgboost-regressor", xgboost.XGBRegressor(**small), "diabetes", convert_xgboost),
        ("xgboost-binary", xgboost.XGBClassifier(**small), "cancer", convert_xgboost),
        ("xgboost-iris", xgboost.XGBClassifier(**small), "iris", convert_xgboost),
        ("lightgbm-regressor", lightgbm.LGBMRegressor(**light), "diabetes", convert_lightgbm),
        ("lightgbm-binary", lightgbm.LGBMClassifier(**light), "cancer", convert_lightgbm),
        ("lightgbm-iris", lightgbm.LGBMClassifier(**light), "iris", convert_lightgbm),
    ]
    for name, model, of, convert in models:
        x, y = data()[of]
        model.fit(x, y)
        kind = FloatTensorType([None, x.shape[1]])
        options = {"zipmap": False} if convert is convert_lightgbm else {}
        yield name, convert(model, initial_types=[("x", kind)], target_opset=15, **options), of, 1e-5


def exported():
    for name, model, of, tolerance in scikit():
        x, y = data()[of]
        model.fit(x, y)
        options = {"zipmap": False} if hasattr(model, "classes_") else None
        yield name, to_onnx(model, x[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3}), of, tolerance
    yield from boosters()


def main(folder):
    (folder / "models").mkdir(parents=True, exist_ok=True)
    writer = Writer(folder)
    cases = []
    for name, model, of, tolerance in exported():
        x = data()[of][0]
        x = x[np.random.default_rng(7).choice(len(x), ROWS, replace=False)]
        if name == "columns":
            x[::5, 0] = np.nan
        file = model.SerializeToString()
        (folder / "models" / f"{name}.onnx").write_bytes(file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {session.get_inputs()[0].name: x})
        cases.append(
            {
                "name": name,
                "model": f"models/{name}.onnx",
                "rtol": tolerance,
                "atol": tolerance * 0.1,
                "inputs": [writer.value(x)],
                "outputs": [writer.value(value) for value in outputs],
            }
        )
        print(name, len(file), [o.shape if hasattr(o, "shape") else type(o) for o in outputs])
    writer.file.close()
    (folder / "cases.json").write_text(json.dumps({"onnxruntime": onnxruntime.__version__, "cases": cases}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
