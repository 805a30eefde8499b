#!/usr/bin/env python3
"""Compares what the two services hold while writes go on: `compare.py LEGACY MODERN`, both URLs.

Each order that either side has is asked for until both sides give the same answer; exit code 1 when for twenty seconds no
more of them did.
"""
import http.client
import json
import sys
import time
from urllib.parse import urlparse


class Side:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urlparse(url).netloc, timeout=60)

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
count, patience_s = len(left), 20
deadline = time.monotonic() + patience_s
while left and time.monotonic() < deadline:
    differing = {order for order in left if legacy.order(order) != modern.order(order)}
    # One round over all orders may take long on a busy machine.
    if len(differing) < len(left):
        deadline = time.monotonic() + patience_s
    left = differing
    time.sleep(0.05)
if left:
    print(f"{len(left)} of {count} orders differ, such as {', '.join(sorted(left)[:5])}")
    sys.exit(1)
print(f"equal: {count} orders on both sides")
