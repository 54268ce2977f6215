"""List every operator of the ONNX standard, for `operators_doc.rs`.

    pip install onnx==1.23.2
    python precompile/engine/tests/onnx_operators.py > precompile/engine/tests/data/onnx_operators.json
"""

import json

import onnx.defs


def main():
    operators = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        versions = operators.setdefault((schema.domain, schema.name), {"since": [], "deprecated": False})
        versions["since"].append(schema.since_version)
    for (domain, name), entry in operators.items():
        entry["since"].sort()
        entry["deprecated"] = onnx.defs.get_schema(name, domain=domain).deprecated
    rows = [{"domain": domain, "name": name, **operators[domain, name]} for domain, name in sorted(operators)]
    lines = ",\n".join(json.dumps(row) for row in rows)
    print(f'{{"onnx": "{onnx.__version__}", "opset": {onnx.defs.onnx_opset_version()}, "operators": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
