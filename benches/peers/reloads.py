"""Owns the storm of reloads: a thread that rewrites a flag file so many times a second, and counts what was published."""

import re
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from contenders import write_flags
from workloads import RELOADS_A_SECOND, SPLIT_PERCENT


@contextmanager
def storm(folder: Path, admin: int):
    """Rewrites the flags while the block runs; says how many generations came of it, none is an error."""
    stop, edits, before = threading.Event(), 0, generation(admin)

    def edit():
        nonlocal edits
        following = time.monotonic()
        while not stop.is_set():
            write_flags(folder, SPLIT_PERCENT + edits % 3)
            edits += 1
            following += 1 / RELOADS_A_SECOND
            stop.wait(max(0.0, following - time.monotonic()))

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    published = generation(admin) - before
    print(f"reload: {edits} edits, {published} generations", file=sys.stderr)
    if published == 0:
        raise SystemExit("reload: nothing was published")


def generation(admin: int) -> int:
    """The number of the generation in force."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        found = re.search(r"^banyan_config_generation (\d+)", answer.read().decode(), re.MULTILINE)
    return int(found[1])
