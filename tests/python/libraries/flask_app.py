"""A Flask app whose calls one library counts: flask_app.py LIBRARY PORT"""

import sys
import time

from flask import Flask, abort, g, jsonify, request
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

app = Flask(__name__)


def exporter():
    PrometheusMetrics(app)


def mlflow():
    """As `mlflow server --expose-prometheus` calls the library."""

    def mlflow_version(_):
        return "3.17.2"

    GunicornInternalPrometheusMetrics(
        app,
        export_defaults=True,
        defaults_prefix="mlflow",
        excluded_paths=["/health", "/version"],
        group_by=mlflow_version,
    )


def expose():
    app.add_url_rule("/metrics", view_func=generate_latest)


def api():
    """The hooks of many REST services."""
    by_code = ["method", "endpoint", "http_status"]
    requests = [Counter(f"{name}_total", "Requests", by_code) for name in ("api_request", "api_requests")]
    predictions = Counter("api_prediction_total", "Predictions")
    Gauge("model_info", "The model", ["version"]).labels("3").set(1)
    durations = Histogram("api_request_duration_seconds", "Durations", ["method", "endpoint"])

    @app.before_request
    def start():
        g.start = time.perf_counter()

    @app.after_request
    def count(response):
        labels = request.method, request.url_rule.rule if request.url_rule else request.path
        durations.labels(*labels).observe(time.perf_counter() - g.start)
        for counter in requests:
            counter.labels(*labels, response.status_code).inc()
        if response.status_code == 200 and request.method == "POST":
            predictions.inc()
        return response

    expose()


def tutorial():
    """The two lines of many tutorials."""
    predictions = Counter("predictions_total", "Predictions")
    latency = Histogram("prediction_latency_seconds", "Latency")
    inner = app.view_functions["predict"]

    def predict():
        with latency.time():
            answer = inner()
        predictions.inc()
        return answer

    app.view_functions["predict"] = predict
    expose()


@app.post("/predict")
def predict():
    body = request.get_json()
    time.sleep(body["seconds"])
    if body["status"] == 500:
        raise RuntimeError("the model crashed")
    if body["status"] != 200:
        abort(body["status"])
    return jsonify(result=[1])


@app.get("/models/<model>")
def show(model):
    time.sleep(0.26)
    return jsonify(name=model)


@app.delete("/cache")
def clear():
    time.sleep(0.26)
    abort(403)


{
    "prometheus_flask_exporter": exporter,
    "mlflow_expose_prometheus": mlflow,
    "api": api,
    "tutorial": tutorial,
}[sys.argv[1]]()
app.run(port=int(sys.argv[2]), threaded=True)
