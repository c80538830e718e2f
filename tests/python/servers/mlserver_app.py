"""MLServer with a model for each kind of predictions: mlserver_app.py KIND...

The models are written to the current folder. MLSERVER_HTTP_PORT and its like set the ports.
"""

import json
import os
import pathlib
import sys

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, ResponseOutput

from model import predict

DATATYPES = {"digits": "INT64", "texts": "BYTES", "flags": "BOOL"}


class Model(MLModel):
    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        predictions = predict({"kind": self.name, "rows": rows})
        output = ResponseOutput(
            name="output-0",
            shape=[len(predictions), 1],
            datatype=DATATYPES.get(self.name, "FP64"),
            data=predictions,
        )
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


if __name__ == "__main__":
    for kind in sys.argv[1:]:
        folder = pathlib.Path(kind)
        folder.mkdir()
        settings = {
            "name": kind,
            "implementation": "mlserver_app.Model",
            "parameters": {"version": "v1"},
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    mlserver = os.path.join(os.path.dirname(sys.executable), "mlserver")
    os.execv(mlserver, [mlserver, "start", "."])
