"""Predicts who cancels a contract. Nothing here counts or times calls: Scoretap does that in the sidecar."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/api/v1/predict")
def predict():
    body = request.get_json(silent=True) or {}
    if "tenure" not in body:
        return jsonify(error="tenure is missing"), 422
    return jsonify(prediction=1 / (1 + float(body["tenure"])))
