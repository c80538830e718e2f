"""scorer.py with what guides tell people to add to it: a counter and a histogram around each request."""

import time

from flask import g, request
from prometheus_client import Counter, Histogram

from scorer import app

REQUESTS = Counter("prediction_requests_total", "Requests", ["model_name", "route", "status"])
DURATION = Histogram("prediction_duration_seconds", "Duration", ["model_name", "route"])


@app.before_request
def start():
    g.start = time.perf_counter()


@app.after_request
def count(response):
    REQUESTS.labels("tutorial", request.path, response.status_code).inc()
    DURATION.labels("tutorial", request.path).observe(time.perf_counter() - g.start)
    return response
