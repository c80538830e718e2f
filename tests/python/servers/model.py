"""The model of every server here, and its own log: one line of JSON for the predictions of each answer."""

import json
import os

import numpy as np

WEIGHTS = np.array([1.5, -2.0, 0.25])


def predict(request):
    """{"kind": KIND, "rows": [[3 numbers], ...]} -> predictions of that kind."""
    values = np.asarray(request["rows"], dtype=float) @ WEIGHTS
    predictions = {
        "numbers": lambda: values.tolist(),
        "digits": lambda: (np.abs(values).astype(int) % 10).tolist(),
        "texts": lambda: ["spam" if value > 0 else "ham" for value in values],
        "flags": lambda: (values > 0).tolist(),
        "gaps": lambda: [value if value > 0 else None for value in values.tolist()],
        "nans": lambda: [value if value > 0 else float("nan") for value in values.tolist()],
    }[request["kind"]]()
    with open(os.environ["ANSWERS"], "a") as log:
        log.write(json.dumps(predictions) + "\n")
    return predictions
