"""Reads byte streams as two HTTP/1.1 servers would: httptools (llhttp) and h11.

Each line on stdin is one stream in hexadecimal; each line on stdout is what each parser made of it.
"""

import json
import sys

import h11
import httptools


def text(raw):
    return bytes(raw).decode("latin-1")


def fields(pairs):
    return [[text(name).lower(), text(value).strip(" \t")] for name, value in pairs]


class Httptools:
    def __init__(self):
        self.requests, self.current, self.head_done = [], None, False

    def on_message_begin(self):
        self.current, self.head_done = {"target": b"", "fields": [], "trailers": [], "body": b""}, False

    def on_url(self, url):
        self.current["target"] += url

    def on_header(self, name, value):
        self.current["trailers" if self.head_done else "fields"].append((name, value))

    def on_headers_complete(self):
        self.head_done = True
        self.current["method"] = self.parser.get_method()

    def on_body(self, body):
        self.current["body"] += body

    def on_message_complete(self):
        message, self.current = self.current, None
        self.requests.append(
            {
                "method": text(message["method"]),
                "target": text(message["target"]),
                "fields": fields(message["fields"]),
                "body": message["body"].hex(),
                "trailers": fields(message["trailers"]),
            }
        )

    def read(self, stream):
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(stream)
        except httptools.HttpParserUpgrade:
            return self.requests, "upgraded"
        except httptools.HttpParserError as error:
            return self.requests, f"error: {error!r}"
        return self.requests, "whole" if self.current is None else "cut"


def read_h11(stream):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    requests, body, head = [], b"", None
    try:
        connection.receive_data(stream)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                requests.append(
                    {
                        "method": text(head.method),
                        "target": text(head.target),
                        "fields": fields(head.headers),
                        "body": body.hex(),
                        "trailers": fields(event.headers),
                    }
                )
                head = None
            elif isinstance(event, h11.ConnectionClosed):
                return requests, "whole"
            elif event is h11.PAUSED:
                if connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                    return requests, "upgraded"
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return requests, f"error: {event!r}"
    except h11.RemoteProtocolError as error:
        # The one message for a body or a head that ends before its time.
        cut = "peer unexpectedly closed" in str(error) or "peer closed connection without" in str(error)
        return requests, "cut" if cut else f"error: {error!r}"


for line in sys.stdin:
    stream = bytes.fromhex(line.strip())
    readings = {"httptools": Httptools().read(stream), "h11": read_h11(stream)}
    print(json.dumps({name: {"requests": read[0], "end": read[1]} for name, read in readings.items()}), flush=True)
