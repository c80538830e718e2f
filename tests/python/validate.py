"""Checks objects against Kubernetes' own schemas, strictly.

Reads a JSON list of {"title", "version", "object"} and prints a JSON list of what is wrong.
"""

import json
import sys

import kubernetes_validate


def faults(case):
    try:
        kubernetes_validate.validate(case["object"], case["version"], strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        yield f"{case['title']} on {case['version']}: {path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield f"{case['title']} on {case['version']}: {error}"


cases = json.load(sys.stdin)
json.dump([fault for case in cases for fault in faults(case)], sys.stdout)
