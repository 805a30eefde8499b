#!/usr/bin/env python3
"""Compares what the two services hold: `compare.py LEGACY MODERN`, both URLs.

Asks until both say the same, at most ten seconds while writes go on; exit code 1 when they never do.
"""
import http.client
import json
import sys
import time
from urllib.parse import urlparse


def orders(url):
    connection = http.client.HTTPConnection(urlparse(url).netloc, timeout=10)

    def get(path):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None

    return {order: get(f"/api/orders/{order}") for order in get("/api/orders")}


deadline = time.monotonic() + 10
while True:
    legacy, modern = (orders(url) for url in sys.argv[1:3])
    if legacy == modern:
        print(f"equal: {len(legacy)} orders on both sides")
        sys.exit(0)
    if time.monotonic() > deadline:
        differing = sorted(o for o in legacy.keys() | modern.keys() if legacy.get(o) != modern.get(o))
        print(f"{len(differing)} orders differ, such as {', '.join(differing[:5])}")
        sys.exit(1)
    time.sleep(0.05)
