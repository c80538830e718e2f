"""The model of Seldon's wrapper: seldon-core-microservice seldon_app.Model"""

from model import predict


class Model:
    def predict(self, rows, names, meta=None):
        return predict({"kind": meta["tags"]["kind"], "rows": rows})
