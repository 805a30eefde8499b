#!/usr/bin/env python3
"""A real little service for orders, kept in a file: `service.py NAME PORT FILE`.

GET, PUT, PATCH and DELETE /api/orders/ID; POST /api/orders makes an order under an id of the service's own.
A write that comes again under the same Idempotency-Key is answered as before and done once.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME, PORT, FILE = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
# So many answers are remembered for writes that come again.
KEYS_MAX = 1000
LOCK = threading.Lock()
STATE = json.loads(FILE.read_text()) if FILE.exists() else {"next": 1, "orders": {}, "keys": {}}


def keep():
    """Writes the state, whole or not at all."""
    fresh = FILE.with_suffix(".new")
    fresh.write_text(json.dumps(STATE))
    fresh.rename(FILE)


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=None, location=None):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Served-By", NAME)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(text)

    def order_id(self):
        rest = self.path.removeprefix("/api/orders").strip("/")
        return rest or None

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

    def do_GET(self):
        with LOCK:
            if self.order_id() is None:
                return self.answer(200, sorted(STATE["orders"]))
            order = STATE["orders"].get(self.order_id())
        self.answer(404) if order is None else self.answer(200, order)

    def write(self, change):
        """Does a write once for each key, and keeps it before it answers."""
        body, key = self.body(), self.headers.get("Idempotency-Key")
        with LOCK:
            known = STATE["keys"].get(key)
            if known is None:
                known = change(body)
                if key:
                    STATE["keys"][key] = known
                    while len(STATE["keys"]) > KEYS_MAX:
                        del STATE["keys"][next(iter(STATE["keys"]))]
                keep()
        self.answer(*known)

    def do_PUT(self):
        def change(body):
            status = 200 if self.order_id() in STATE["orders"] else 201
            STATE["orders"][self.order_id()] = body
            return status, body, None

        self.write(change)

    def do_PATCH(self):
        def change(body):
            order = STATE["orders"].get(self.order_id())
            if order is None:
                return 404, None, None
            order.update(body)
            return 200, dict(order), None

        self.write(change)

    def do_DELETE(self):
        def change(_body):
            gone = STATE["orders"].pop(self.order_id(), None)
            return (404 if gone is None else 204), None, None

        self.write(change)

    def do_POST(self):
        def change(body):
            order = f"{NAME}-{STATE['next']}"
            STATE["next"] += 1
            STATE["orders"][order] = body
            return 201, body, f"/api/orders/{order}"

        self.write(change)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", PORT), Orders).serve_forever()
