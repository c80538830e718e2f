"""FastAPI under uvicorn: fastapi_app.py PORT"""

import sys

import uvicorn
from fastapi import FastAPI

from model import predict

app = FastAPI()


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/predict")
def answer(body: dict):
    if body["kind"] == "caught":
        return {"error": "the model is not loaded"}
    return {"result": predict(body)}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
