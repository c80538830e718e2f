"""A FastAPI app whose calls one library counts: fastapi_app.py LIBRARY PORT"""

import sys
import time

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import Counter, Gauge, Histogram, Info, generate_latest
from prometheus_fastapi_instrumentator import Instrumentator
from starlette_exporter import PrometheusMiddleware, handle_metrics

app = FastAPI()


def instrumentator():
    Instrumentator().instrument(app).expose(app)


def exporter():
    app.add_middleware(PrometheusMiddleware)
    app.add_route("/metrics", handle_metrics)


def expose():
    app.add_api_route("/metrics", lambda: Response(generate_latest()))


def template(request: Request):
    route = request.scope.get("route")
    return getattr(route, "path", request.url.path)


def plain():
    """The middleware of many FastAPI services."""
    by_code = ["method", "path", "status"]
    requests = [Counter(f"{prefix}_requests_total", "Requests", by_code) for prefix in ("fastapi", "http")]
    durations = [
        Histogram(f"{prefix}_request_duration_seconds", "Durations", ["method", "path"])
        for prefix in ("fastapi", "http")
    ]

    @app.middleware("http")
    async def count(request: Request, call_next):
        start = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
            return response
        finally:
            labels = request.method, template(request)
            for histogram in durations:
                histogram.labels(*labels).observe(time.perf_counter() - start)
            for counter in requests:
                counter.labels(*labels, status).inc()

    expose()


def observability():
    """What the FastAPI stack of Grafana's dashboard 16110 counts, and when."""
    by_path = ["method", "path", "app_name"]
    Info("fastapi_app", "The app", ["app_name"]).labels("churn").info({})
    requests = Counter("fastapi_requests_total", "Requests", by_path)
    responses = Counter("fastapi_responses_total", "Responses", ["method", "path", "status_code", "app_name"])
    durations = Histogram("fastapi_requests_duration_seconds", "Durations", by_path)
    exceptions = Counter("fastapi_exceptions_total", "Exceptions", ["exception_type", *by_path])
    in_progress = Gauge("fastapi_requests_in_progress", "Requests in progress", by_path)

    @app.middleware("http")
    async def count(request: Request, call_next):
        matching = [route for route in app.routes if route.matches(request.scope)[0].value == 2]
        if not matching:
            return await call_next(request)
        labels = request.method, matching[0].path, "churn"
        in_progress.labels(*labels).inc()
        requests.labels(*labels).inc()
        start = time.perf_counter()
        status = 500
        try:
            response = await call_next(request)
            status = response.status_code
            durations.labels(*labels).observe(time.perf_counter() - start)
            return response
        except Exception as error:
            exceptions.labels(type(error).__name__, *labels).inc()
            raise
        finally:
            responses.labels(*labels[:2], status, "churn").inc()
            in_progress.labels(*labels).dec()

    expose()


@app.post("/predict")
def predict(body: dict):
    time.sleep(body["seconds"])
    if body["status"] == 500:
        raise RuntimeError("the model crashed")
    if body["status"] != 200:
        raise HTTPException(body["status"])
    return {"result": [1]}


@app.get("/models/{model}")
def show(model: str):
    time.sleep(0.26)
    return {"name": model}


@app.delete("/cache")
def clear():
    time.sleep(0.26)
    raise HTTPException(403)


{
    "prometheus-fastapi-instrumentator": instrumentator,
    "starlette_exporter": exporter,
    "fastapi": plain,
    "fastapi-observability": observability,
}[sys.argv[1]]()
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
