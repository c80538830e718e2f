"""Checks objects strictly: against Kubernetes' own schemas of a version, or against a JSON schema.

Reads a JSON list of {"title", "object"} with "version" or "schema", and prints a JSON list of what is wrong.
"""

import json
import sys

import jsonschema
import kubernetes_validate


def faults(case):
    if "schema" in case:
        for error in jsonschema.Draft202012Validator(case["schema"]).iter_errors(case["object"]):
            yield f"{case['title']}: {error.json_path}: {error.message}"
        return
    try:
        kubernetes_validate.validate(case["object"], case["version"], strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        yield f"{case['title']} on {case['version']}: {path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        kind = f"{case['object'].get('kind')} of {case['object'].get('apiVersion')}"
        yield f"{case['title']} on {case['version']}: no schema is known for {kind}"


cases = json.load(sys.stdin)
json.dump([fault for case in cases for fault in faults(case)], sys.stdout)
