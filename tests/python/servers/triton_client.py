"""The official client of the v2 protocol: triton_client.py ADDRESS PROTOCOL KIND CALLS

PROTOCOL is `grpc`, `json` or `binary`. Prints as JSON the number of predictions of each answer, or the status of an error.
"""

import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http

address, protocol, kind, calls = sys.argv[1:5]
triton = tritonclient.grpc if protocol == "grpc" else tritonclient.http
client = triton.InferenceServerClient(address)


def call(number):
    value = lambda factor, row: (number * factor + row * 13) % 19
    rows = [[value(7, row) + 0.5, value(11, row), value(3, row)] for row in range(1 + number % 7)]
    rows = np.array(rows, dtype=np.float32)
    tensor = triton.InferInput("rows", rows.shape, "FP32")
    options = {}
    if protocol == "grpc":
        tensor.set_data_from_numpy(rows)
    else:
        tensor.set_data_from_numpy(rows, binary_data=protocol == "binary")
        options = {"outputs": [triton.InferRequestedOutput("output-0", binary_data=protocol == "binary")]}
    try:
        return client.infer(kind, [tensor], **options).as_numpy("output-0").size
    except tritonclient.utils.InferenceServerException as error:
        return error.status()


print(json.dumps([call(number) for number in range(int(calls))]))
