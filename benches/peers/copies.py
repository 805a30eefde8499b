"""Owns the far side of copies: how many have arrived, when the last has, and upstreams that fail in every way."""

import re
import socket
import threading
import time
import urllib.request

from load import Failed

# How long what is on its way may take to arrive.
DRAIN_SECONDS = 60
# A modern side that is slow: a hundred times what the primary takes, and more.
SLOW_SECONDS = 0.1


def asked(origin: int) -> int:
    """Requests that the origins have had, both sides together."""
    with urllib.request.urlopen(f"http://127.0.0.1:{origin}/status", timeout=10) as answer:
        return int(answer.read().decode().split("\n")[2].split()[2])


def pending(admin: int) -> int:
    """Copies that have not arrived."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        found = re.findall(r"^banyan_copies_pending\S* (\d+)", answer.read().decode(), re.MULTILINE)
    return sum(map(int, found))


def drain(name: str, admin: int):
    """Waits until a Banyan has delivered everything; the others have no backlog."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while name.startswith("banyan") and (left := pending(admin)):
        if time.monotonic() > deadline:
            raise Failed(f"{left} copies have not arrived")
        time.sleep(0.02)


class Failing:
    """A modern side that fails in one way, in threads; nothing listens for `dead`."""

    def __init__(self, how: str, port: int):
        self.how = how
        self.listener = None
        if how != "dead":
            self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.listener:
            self.listener.close()

    def accept(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
        except OSError:
            return  # It is over.

    def serve(self, connection: socket.socket):
        try:
            while connection.recv(65536):
                if self.how == "slow":
                    time.sleep(SLOW_SECONDS)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                elif self.how == "garbage":
                    connection.sendall(b"\x16\x03\x01 no answer\r\n\r\n")
                else:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    break
        except OSError:
            pass
        finally:
            connection.close()
