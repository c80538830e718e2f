"""scorer.py, where one model loses its features after a while, as it does when a feature store goes stale.

From then on it answers each row as if all features were 0: the same prediction for everybody, with 200 and as fast
as before. SILENT_MODEL names the model, SILENT_AFTER the seconds from its first call.
"""

import os
import time

import numpy as np
from flask import request

import scorer

MODEL = os.environ["SILENT_MODEL"]
AFTER = float(os.environ["SILENT_AFTER"])

healthy = scorer.model


class LosesFeatures:
    first_call = None

    def predict(self, rows):
        if request.view_args.get("name") == MODEL:
            self.first_call = self.first_call or time.monotonic()
            if time.monotonic() - self.first_call >= AFTER:
                rows = np.zeros_like(rows)
        return healthy.predict(rows)


scorer.model = LosesFeatures()
app = scorer.app
