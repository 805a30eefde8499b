#!/usr/bin/env python3
"""Four clients that make, change and remove orders through the router until they are told to stop: `writers.py URL`.

Counts what was answered; ends with exit code 1 when a write failed. Stop it with SIGTERM.
"""
import http.client
import json
import random
import signal
import sys
import threading
import time
from urllib.parse import urlparse

# So many orders a client keeps: what is compared stays small, however long the clients run.
OWN_MAX = 30
ADDRESS = urlparse(sys.argv[1]).netloc
STOP = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: STOP.set())
signal.signal(signal.SIGINT, lambda *_: STOP.set())
COUNTS = {"done": 0, "failed": 0}
LOCK = threading.Lock()


def client(user):
    chance = random.Random(user)
    connection = http.client.HTTPConnection(ADDRESS, timeout=60)
    own = []

    def ask(method, path, body=None):
        text = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", "X-User-Id": f"user-{user}"}
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        answer.read()
        with LOCK:
            COUNTS["done" if answer.status < 400 else "failed"] += 1
        if answer.status >= 400:
            print(f"{method} {path}: {answer.status}", file=sys.stderr)
        return answer

    while not STOP.is_set():
        what = chance.random()
        if len(own) > OWN_MAX:
            ask("DELETE", f"/api/orders/{own.pop(chance.randrange(len(own)))}")
        elif not own or what < 0.3:
            answer = ask("POST", "/api/orders", {"item": chance.choice("abcdef"), "count": 1})
            own.append(answer.getheader("Location").rsplit("/", 1)[1])
        elif what < 0.6:
            ask("PATCH", f"/api/orders/{chance.choice(own)}", {"count": chance.randint(2, 99)})
        elif what < 0.9:
            ask("PUT", f"/api/orders/{chance.choice(own)}", {"item": "g", "count": chance.randint(2, 99)})
        else:
            ask("DELETE", f"/api/orders/{own.pop(chance.randrange(len(own)))}")
        time.sleep(0.1)


threads = [threading.Thread(target=client, args=(user,)) for user in range(4)]
for thread in threads:
    thread.start()
STOP.wait()
for thread in threads:
    thread.join()
print(f"{COUNTS['done']} writes done, {COUNTS['failed']} failed")
sys.exit(COUNTS["failed"] > 0)
