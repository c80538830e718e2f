"""A model behind Flask, as tutorials write it. It knows nothing of metrics.

    POST /score   {"data": [[9 numbers], ...]}   ->   {"predictions": [...]}

The same model answers under the paths of other serving conventions. What a call does depends on the call alone:

    body that is no JSON                      400
    no "data"                                 400
    rows that have not 9 numbers              422
    a number that is no number ("abc")        500: nobody catches it
    "sleep_ms": 300 beside "data"             answers 300 ms later
    "status": 429 beside "data"               answers with that status
"""

import time

import numpy as np
from flask import Flask, jsonify, request
from sklearn.linear_model import LinearRegression

FEATURES = 9

app = Flask(__name__)


def train():
    """A model that is quick to train and to ask."""
    random = np.random.default_rng(seed=42)
    features = random.normal(size=(200, FEATURES))
    targets = features @ np.arange(1, FEATURES + 1) + random.normal(scale=0.1, size=200)
    return LinearRegression().fit(features, targets)


model = train()


@app.post("/score")
@app.post("/score/")
@app.post("/predict")
@app.post("/invocations")
@app.post("/v1/models/<name>:predict")
@app.post("/v1/models/<name>:explain")
@app.post("/v2/models/<name>/infer")
@app.post("/v2/models/<name>/versions/<version>/infer")
def score(name=None, version=None):
    body = request.get_json(force=True)
    if not isinstance(body, dict) or "data" not in body:
        return jsonify(error='expected {"data": [[9 numbers], ...]}'), 400
    time.sleep(body.get("sleep_ms", 0) / 1000)
    if any(not isinstance(row, list) or len(row) != FEATURES for row in body["data"]):
        return jsonify(error=f"each row of data needs {FEATURES} numbers"), 422
    rows = np.asarray(body["data"], dtype=float).reshape(-1, FEATURES)
    answer = {"predictions": model.predict(rows).tolist() if len(rows) else []}
    return jsonify(answer), body.get("status", 200)


@app.get("/health")
def health():
    return jsonify(status="ok")
