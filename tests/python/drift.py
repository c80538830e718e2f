"""The drift rules of rules/insight.yaml by NumPy and SciPy.

`drift.py promtool` prints tests for promtool: random counts, and what SciPy makes of them.
`drift.py quiet` prints how often 1,000 days without drift raise the alarm, as a Markdown table.
"""

import json
import math
import sys

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import chi2, ks_2samp

LIMIT = 0.2
FLOOR = 1e-4
WEEK = 84  # in steps of two hours, the interval of the tests
WINDOW = 3
BINS = ["-1.0", "0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "+Inf"]


def psi(now, past):
    p, q = (np.maximum(counts / counts.sum(), FLOOR) for counts in (now, past))
    return float(np.sum(rel_entr(p, q) + rel_entr(q, p)))


def noise(now, past):
    freedom = np.count_nonzero(now + past) - 1
    bound = freedom + 2 * math.sqrt(10 * freedom) + 20
    assert bound >= chi2.isf(math.exp(-10), max(freedom, 1)), freedom
    return float(bound * (1 / now.sum() + 1 / past.sum()))


def series(name, labels, past, now):
    """A counter that grows by `past` in each step of the first week and by `now` afterwards."""
    labels = "".join(f',{key}="{value}"' for key, value in labels.items())
    name = f'{name}{{namespace="a",model_name="m",route="r",pod="p"{labels}}}'
    return {"series": name, "values": f"0+{past}x{WEEK} {past * WEEK + now}+{now}x{WINDOW}"}


def promtool_test(name, label, past, now, baseline=None):
    """With a baseline, that is the reference, and the week before does not matter."""
    cells = BINS if label == "bin" else [f"class-{index}" for index in range(len(BINS))]
    metric = "prediction_value_cells_total" if label == "bin" else "prediction_classes_total"
    inputs = [series(metric, {label: cell}, p, n) for cell, p, n in zip(cells, past, now)]
    kind = "value" if label == "bin" else "class"
    before = past * WINDOW if baseline is None else baseline
    if baseline is not None:
        own = 'namespace="a",model_name="m",route="r"'
        for cell, count in zip(cells, baseline):
            name_of_cell = f'scoretap_baseline_predictions{{{own},pod="p",of="{kind}",cell="{cell}"}}'
            inputs.append({"series": name_of_cell, "values": f"{count}x{WEEK + WINDOW + 1}"})
        for cell, ratio in zip(cells[:-1], np.cumsum(baseline) / baseline.sum()):
            name_of_cell = f'scoretap_baseline_value_ratio{{{own},pod="p",cell="{cell}"}}'
            inputs.append({"series": name_of_cell, "values": f"{float(ratio)!r}x{WEEK + WINDOW + 1}"})
    of = f'{{namespace="a",model_name="m",route="r",of="{kind}"}}'
    expected = {
        "prediction_psi": (psi(now, before), of),
        "prediction_js": (jensenshannon(now, before, base=2) ** 2, of),
        "prediction_psi_noise": (noise(now * WINDOW, before), of),
    }
    if label == "bin":
        for bound, p, n in zip(cells, np.cumsum(past), np.cumsum(now)):
            inputs.append(series("prediction_value_bucket", {"le": bound}, p, n))
        samples = [np.repeat(np.arange(len(counts)), counts) for counts in (now, before)]
        expected["prediction_ks"] = (ks_2samp(*samples).statistic, of.replace(',of="value"', ""))
    looks = [
        {
            "expr": f"round(1e9 * namespace_model_route:{metric}:of6h)",
            "eval_time": f"{2 * (WEEK + WINDOW)}h",
            "exp_samples": [{"labels": labels, "value": round(1e9 * float(value))}],
        }
        for metric, (value, labels) in expected.items()
    ]
    return {"name": name, "interval": "2h", "input_series": inputs, "promql_expr_test": looks}


def promtool():
    rng = np.random.default_rng(1)
    tests = []
    for index in range(4):
        # Dirichlet shares this sparse leave cells empty in one window, in the other and in both.
        past, now = (rng.multinomial(1000, rng.dirichlet([0.4] * len(BINS))) for _ in range(2))
        tests.append(promtool_test(f"random {index}", "bin" if index % 2 else "class", past, now))
    for label in ("bin", "class"):
        counts = (rng.multinomial(1000, rng.dirichlet([0.4] * len(BINS))) for _ in range(3))
        tests.append(promtool_test(f"{label} with a baseline", label, *counts))
    same = rng.multinomial(1000, [1 / len(BINS)] * len(BINS))
    tests.append(promtool_test("equal", "bin", same, same))
    print(json.dumps(tests))


def quiet():
    """Four looks a day at windows of six hours; predictions are independent and never drift."""
    shares = {
        "two classes, 1% and 99%": [0.01, 0.99],
        "ten tenths": [0.1] * 10,
        "fifty cells, the rarest 0.1%": np.geomspace(1, 0.01, 50),
    }
    print("| predictions in six hours | " + " | ".join(shares) + " |")
    print("|---|" + "---|" * len(shares))
    for volume in (30, 100, 300, 1000, 3000, 10000):
        row = [f"{volume:,}"]
        for weights in shares.values():
            rng = np.random.default_rng(volume)
            windows = rng.multinomial(volume, np.array(weights) / np.sum(weights), size=(4000, 2))
            above = [pair for pair in windows if psi(*pair) > LIMIT]
            alarms = sum(noise(*pair) < LIMIT for pair in above)
            row.append(f"{alarms} ({len(above)})")
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    {"promtool": promtool, "quiet": quiet}[sys.argv[1]]()
