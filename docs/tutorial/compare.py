#!/usr/bin/env python3
"""Compares what the two services hold while writes go on: `compare.py LEGACY MODERN`, both URLs.

Each order that either side has is asked for until both sides give the same answer, at most twenty seconds; exit code 1 when
some never do.
"""
import http.client
import json
import sys
import time
from urllib.parse import urlparse


class Side:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlparse(url).netloc, timeout=10)

    def get(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None

    def orders(self):
        return set(self.get("/api/orders"))

    def order(self, order):
        return self.get(f"/api/orders/{order}")


legacy, modern = (Side(url) for url in sys.argv[1:3])
left = legacy.orders() | modern.orders()
count, deadline = len(left), time.monotonic() + 20
while left and time.monotonic() < deadline:
    left = {order for order in left if legacy.order(order) != modern.order(order)}
    time.sleep(0.05)
if left:
    print(f"{len(left)} of {count} orders differ, such as {', '.join(sorted(left)[:5])}")
    sys.exit(1)
print(f"equal: {count} orders on both sides")
