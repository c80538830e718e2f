"""Callers that run until they are stopped: most succeed, some send invalid requests, some give up early.

    callers.py http://scorer:15100
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request

ROW = [1, 2, 3, 4, 5, 6, 7, 8, 9]
PATHS = ["/score", "/score", "/v1/models/churn:predict", "/v2/models/fraud/versions/3/infer"]
CALLERS = 6


def call_of(number):
    """The body of a call, and for how long its caller waits. Of a hundred calls, 82 are valid and fast."""
    body, patience = {"data": [ROW], "sleep_ms": number * 7 % 40}, 30
    kind = number * 37 % 100
    if kind < 5:
        return b'{"data": [[1', patience
    if kind < 9:
        body["data"] = [[1, 2, 3]]
    elif kind < 13:
        body["data"] = [["no number"] * 9]
    elif kind < 15:
        body["sleep_ms"] = 900
    elif kind < 18:
        body["sleep_ms"], patience = 900, 0.2
    return json.dumps(body).encode(), patience


def call(url, number):
    body, patience = call_of(number)
    path = PATHS[number // 3 % len(PATHS)]
    request = urllib.request.Request(url + path, data=body, headers={"content-type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=patience).read()
    except (urllib.error.URLError, OSError):
        pass  # Scoretap reports how a call ends.


def keep_calling(url, first):
    number = first
    while True:
        call(url, number)
        number += CALLERS
        time.sleep(0.06)


if __name__ == "__main__":
    threads = [threading.Thread(target=keep_calling, args=(sys.argv[1], first)) for first in range(CALLERS)]
    for thread in threads:
        thread.start()
