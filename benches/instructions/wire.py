"""Owns both far ends of a counted run: an origin and clients that do the same thing each time, byte for byte.

One connection, one request at a time: how requests happen to meet must not decide what they cost.
"""

import socket
import threading

USERS = 100
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n" + b"." * 100
HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 16 * 1024
WAIT_SECONDS = 60

# HTTP/2 (RFC 9113): the preface, frame types and flags that the client needs.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
WINDOW_MAX = 2**31 - 1
WINDOW_DEFAULT = 65_535
# HPACK (RFC 7541): `:status: 200` in the static table.
STATUS_200 = 0x88


class Wrong(Exception):
    """The router did something else than answer 200."""


class Origin:
    """Answers 100 bytes to whatever ends with an empty line; a thread a connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(stream,), daemon=True).start()


def answer(stream: socket.socket):
    held = b""
    while len(held) < HEAD_BYTES_MAX:
        try:
            part = stream.recv(4096)
        except OSError:
            return
        if not part:
            return
        held += part
        if held.endswith(HEAD_END):
            held = b""
            stream.sendall(ANSWER)


def connect(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def read(stream: socket.socket) -> bytes:
    part = stream.recv(16 * 1024)
    if not part:
        raise Wrong("the router closed the connection")
    return part


def cookie(number: int) -> str:
    return f"theme=dark; session=user-{number % USERS:03d}; lang=en"


def http1(port: int, count: int, with_cookie: bool):
    """Asks so many times over one HTTP/1.1 connection."""
    stream = connect(port)
    for number in range(count):
        fields = f"host: bench.test\r\ncookie: {cookie(number)}\r\n" if with_cookie else "host: bench.test\r\n"
        stream.sendall(f"GET / HTTP/1.1\r\n{fields}\r\n".encode())
        held = b""
        while HEAD_END not in held or len(held.partition(HEAD_END)[2]) < 100:
            held += read(stream)
        if not held.startswith(b"HTTP/1.1 200 "):
            raise Wrong(f"request {number}: {held[:200]!r}")
    stream.close()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def head() -> bytes:
    """GET / of http://bench.test, from the static table where it can be, nothing put into the dynamic one."""
    authority = b"bench.test"
    return bytes([0x82, 0x86, 0x84, 0x01, len(authority)]) + authority


def http2(port: int, count: int):
    """Asks so many times over one HTTP/2 connection with prior knowledge, one stream after another."""
    stream = connect(port)
    window = (WINDOW_MAX - WINDOW_DEFAULT).to_bytes(4, "big")
    stream.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, window))
    held = b""
    for number in range(count):
        asked = 2 * number + 1
        stream.sendall(frame(HEADERS, END_STREAM | END_HEADERS, asked, head()))
        ended = False
        while not ended:
            while len(held) < 9 or len(held) < 9 + int.from_bytes(held[:3], "big"):
                held += read(stream)
            size, kind, flags = int.from_bytes(held[:3], "big"), held[3], held[4]
            on, payload = int.from_bytes(held[5:9], "big"), held[9 : 9 + size]
            held = held[9 + size :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                stream.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (RST_STREAM, GOAWAY):
                raise Wrong(f"request {number}: frame {kind}, {payload!r}")
            elif kind == HEADERS and not is_200(payload):
                raise Wrong(f"request {number}: head {payload!r}")
            ended = kind in (DATA, HEADERS) and on == asked and bool(flags & END_STREAM)
    stream.close()


def is_200(block: bytes) -> bool:
    """Whether a header block begins with status 200, after any change of the table's size."""
    while block and block[0] & 0xE0 == 0x20:
        block = block[1:]
    return bool(block) and block[0] == STATUS_200
