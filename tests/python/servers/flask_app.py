"""Flask as tutorials write it: flask_app.py PORT"""

import sys

from flask import Flask, jsonify, request

from model import predict

app = Flask(__name__)


@app.get("/health")
def health():
    return jsonify(status="ok")


@app.post("/predict")
def answer():
    body = request.get_json(force=True)
    if body["kind"] == "caught":
        return jsonify(error="the model is not loaded")
    return jsonify(predictions=predict(body))


app.run(port=int(sys.argv[1]), threaded=True)
