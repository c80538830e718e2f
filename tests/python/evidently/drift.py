"""The alarm of rules/insight.yaml beside Evidently's, on predictions that others published.

`drift.py SCORETAP FOLDER RULES` prints tests of the rules for promtool. Each has one window of predictions against the
reference of its dataset; `scoretap baseline make` counts both. The alert has to fire where Evidently's PSI is above the
limit of the rules, and nowhere else. The data are those of the package nannyml: predictions for the US census of Massachusetts from 2015 to 2018 and for
houses in California, and made-up ones for loans, cars and credit cards that drift half-way.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas
import yaml
from evidently import Dataset, DataDefinition, Report
from evidently.metrics import ValueDrift

DATA = Path(find_spec("nannyml").origin).parent / "datasets/data"
# Name of the files, column of the predictions.
DATASETS = [
    ("employment_MA", "predicted_probability"),
    ("california_housing", "y_pred_proba"),
    ("synthetic_car_loan", "y_pred_proba"),
    ("regression_synthetic", "y_pred"),
    ("mc", "y_pred"),
]
WINDOW = 5000
HOURS = 9  # of the promtool test, in steps of an hour


def read(name):
    files = [DATA / f"{name}.csv", DATA / f"{name}.pq"]
    return pandas.read_csv(files[0]) if files[0].exists() else pandas.read_parquet(files[1])


def evidentlys_psi(now, past, limit):
    kind = "numerical_columns" if pandas.api.types.is_numeric_dtype(past) else "categorical_columns"
    definition = DataDefinition(**{kind: ["prediction"]})
    datasets = (Dataset.from_pandas(pandas.DataFrame({"prediction": values}), definition) for values in (now, past))
    report = Report([ValueDrift(column="prediction", method="psi", threshold=limit)])
    return float(report.run(*datasets).dict()["metrics"][0]["value"])


def counted(scoretap, folder, predictions):
    """The cells and classes of these predictions, as the exporter serves them."""
    table, baseline = folder / "predictions.csv", folder / "baseline.yaml"
    pandas.DataFrame({"prediction": predictions}).to_csv(table, index=False)
    command = [scoretap, "baseline", "make", table, "--column", "prediction", "--route", "r", "--output", baseline]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    entry = yaml.safe_load(baseline.read_text())["models"][0]
    return {of: entry.get(key, {}) for of, key in (("value", "values"), ("class", "classes"))}


def promtool_test(name, now, past, fires):
    call = 'namespace="a",model_name="m",route="r"'
    inputs = []
    for of, metric, label in (
        ("value", "prediction_value_cells_total", "bin"),
        ("class", "prediction_classes_total", "class"),
    ):
        for cell, count in now[of].items():
            series = f'{metric}{{{call},pod="p",{label}="{cell}"}}'
            inputs.append({"series": series, "values": f"0+{count}x{HOURS}"})
        for cell, count in past[of].items():
            series = f'scoretap_baseline_predictions{{{call},pod="p",of="{of}",cell="{cell}"}}'
            inputs.append({"series": series, "values": f"{count}x{HOURS}"})
    alerts = 'count(ALERTS{alertname="ScoretapPredictionDrift",alertstate="firing"})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    look = {"expr": alerts, "eval_time": f"{HOURS}h", "exp_samples": expected}
    return {"name": name, "interval": "1h", "input_series": inputs, "promql_expr_test": [look]}


def main(scoretap, folder, rules):
    folder = Path(folder)
    groups = yaml.safe_load(Path(rules).read_text())["groups"]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    limit = float(recorded["scoretap_prediction_psi_limit"].removeprefix("vector(").removesuffix(")"))
    tests = []
    for name, column in DATASETS:
        past, later = (read(f"{name}_{part}")[column] for part in ("reference", "analysis"))
        reference = counted(scoretap, folder, past)
        for start in range(0, len(later) - WINDOW // 2, WINDOW):
            now = later[start : start + WINDOW]
            psi = evidentlys_psi(now, past, limit)
            title = f"{name}, from {start}: Evidently's PSI is {psi:.3f}"
            print(title, file=sys.stderr)
            tests.append(promtool_test(title, counted(scoretap, folder, now), reference, psi > limit))
    order = [group["name"] for group in groups]
    print(json.dumps({"rule_files": [rules], "group_eval_order": order, "evaluation_interval": "1h", "tests": tests}))


if __name__ == "__main__":
    main(*sys.argv[1:])
