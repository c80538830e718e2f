"""KServe's Python server with a model for each kind of predictions: kserve_app.py --http_port PORT"""

import numpy as np
from kserve import InferRequest, Model, ModelServer
from kserve.utils.utils import get_predict_response

from model import predict


class Kind(Model):
    def load(self):
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        if isinstance(payload, InferRequest):
            rows = payload.inputs[0].as_numpy()
            predictions = predict({"kind": self.name, "rows": rows})
            kind = object if self.name == "texts" else None
            return get_predict_response(payload, np.array(predictions, dtype=kind), self.name)
        return {"predictions": predict({"kind": self.name, "rows": payload["instances"]})}


models = [Kind(name) for name in ("numbers", "digits", "texts", "flags", "gaps", "nans", "broken")]
for model in models:
    model.load()
ModelServer(enable_grpc=False).start(models)
