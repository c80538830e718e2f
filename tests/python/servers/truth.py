"""NumPy's counts of a log of answers: truth.py LOG, with the bounds of cells as JSON on standard input."""

import json
import sys

import numpy as np

# The largest whole number that counts as a class.
LARGEST_CLASS = 99

with open(sys.argv[1]) as log:
    answers = [json.loads(line) for line in log]
bounds = json.load(sys.stdin)

kinds = {
    "number": lambda one: isinstance(one, (int, float)) and not isinstance(one, bool) and not np.isnan(one),
    "nan": lambda one: isinstance(one, float) and np.isnan(one),
    "null": lambda one: one is None,
    "string": lambda one: isinstance(one, str),
    "boolean": lambda one: isinstance(one, bool),
}
predictions = [one for answer in answers for one in answer]
numbers = [one for one in predictions if kinds["number"](one)]
values = np.array(numbers, dtype=float)
digits = [str(int(one)) for one in numbers if 0 <= one <= LARGEST_CLASS and one == int(one)]
names, counts = np.unique([one for one in predictions if isinstance(one, str)] + digits, return_counts=True)

print(
    json.dumps(
        {
            "answers": len(answers),
            "rows": len(predictions),
            "kinds": {kind: int(sum(map(of_kind, predictions))) for kind, of_kind in kinds.items()},
            "at_most": [int(np.sum(values <= bound)) for bound in bounds],
            "classes": dict(zip(names.tolist(), counts.tolist())),
        }
    )
)
