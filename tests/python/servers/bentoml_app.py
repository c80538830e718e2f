"""A BentoML service: bentoml serve bentoml_app:Scorer"""

import bentoml

from model import predict


@bentoml.service
class Scorer:
    @bentoml.api
    def predict(self, kind: str, rows: list) -> list:
        return predict({"kind": kind, "rows": rows})
