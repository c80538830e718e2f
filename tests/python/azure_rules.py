"""Has Microsoft's own client read Azure's rule groups, and write them again: what it does not know or means otherwise is lost.

Reads a JSON list of resources and prints a JSON list of what is wrong. The client is of the preview version; its types have
the fields of 2023-03-01.
"""

import json
import sys

from azure.mgmt.alertsmanagement.models import PrometheusRuleGroupResource


def faults(resource):
    sent = {field: value for field, value in resource.items() if field != "apiVersion"}
    try:
        group = PrometheusRuleGroupResource.from_dict(sent)
        written = group.serialize(keep_readonly=True)
    except Exception as error:  # Whatever a client of a preview may raise.
        yield f"{resource['name']}: {error}"
        return
    for part in [group, *(group.rules or [])]:
        for field, limits in part._validation.items():
            if limits.get("required") and getattr(part, field) is None:
                yield f"{resource['name']}: {field} is missing"
    yield from differences(resource["name"], sent, written)


def differences(place, sent, written):
    if isinstance(sent, dict) and isinstance(written, dict):
        for field in sent.keys() | written.keys():
            yield from differences(f"{place}.{field}", sent.get(field), written.get(field))
    elif isinstance(sent, list) and isinstance(written, list) and len(sent) == len(written):
        for index, (one, other) in enumerate(zip(sent, written)):
            yield from differences(f"{place}[{index}]", one, other)
    elif sent != written or type(sent) is not type(written):
        yield f"{place}: {sent!r} is read as {written!r}"


json.dump([fault for resource in json.load(sys.stdin) for fault in faults(resource)], sys.stdout)
