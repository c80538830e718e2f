"""`mlflow models serve`: mlflow_app.py PORT

The model is written to the current folder.
"""

import os
import sys

from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, save_model
from mlflow.types import ColSpec, Schema

from model import predict

INPUTS = ["a", "b", "c"]


class Model(PythonModel):
    def predict(self, context, model_input, params=None):
        return predict({"kind": model_input["kind"][0], "rows": model_input[INPUTS]})


set_model(Model())

if __name__ == "__main__":
    columns = [ColSpec("string", "kind")] + [ColSpec("double", name) for name in INPUTS]
    save_model("model", python_model=__file__, signature=ModelSignature(Schema(columns)), pip_requirements=[])
    programs = os.path.dirname(sys.executable)
    os.environ["PATH"] = programs + os.pathsep + os.environ["PATH"]
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    options = ["--model-uri", "model", "--env-manager", "local", "--host", "127.0.0.1", "--port", sys.argv[1]]
    os.execvp("mlflow", ["mlflow", "models", "serve", *options])
