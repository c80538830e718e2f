"""Ray Serve with an HTTP deployment, which streams its answers: ray_app.py PORT"""

import os
import sys

import ray
from ray import serve

from model import predict


@serve.deployment
class Model:
    async def __call__(self, request):
        body = await request.json()
        if body["kind"] == "caught":
            return {"error": "the model is not loaded"}
        return {"predictions": predict(body)}


app = Model.bind()

if __name__ == "__main__":
    # The smallest object store that it accepts.
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, _temp_dir=os.getcwd())
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(app, blocking=True)
