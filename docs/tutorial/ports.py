#!/usr/bin/env python3
"""Says which ports of this machine are taken: `ports.py PORT...`; exit code 1 where one is."""
import socket
import sys


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


taken = [port for port in sys.argv[1:] if is_taken(int(port))]
if taken:
    sys.exit(f"taken: {', '.join(taken)}; end what listens there (a demo, or an earlier run of this page) before you go on")
print("all free")
