"""The scoring script of azureml-inference-server-http. It answers JSON in a JSON string, and a caught exception with 200."""

import json

from model import predict


def init():
    pass


def run(body):
    try:
        return json.dumps({"result": predict(json.loads(body))})
    except Exception as error:
        return json.dumps({"error": str(error)})
