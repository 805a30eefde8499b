"""Looks at a contender's answers before it is measured: what is measured must be right."""

import http.client
import ssl
from pathlib import Path

import load
from workloads import ROUTES, SPLIT_PERCENT, Workload, route_path, upstream_of

# How often a machine that is busy with something else is asked again.
ATTEMPTS = 5


class Wrong(Exception):
    """A contender gave another answer than the one expected."""


def check(workload: Workload, name: str, folder: Path, port: int, cpus: set[int]):
    """Asks for what the workload is about: once, or a few thousand times for a split."""
    if workload.streams:
        http2(workload, folder, port, cpus)
        return
    connection = connect(workload, port)
    if workload.name in ("split", "reload"):
        split(connection)
    elif workload.name == "routes" and name != "banyan 1 route":
        for number in (0, 1, ROUTES // 2, ROUTES - 1):
            content = ask(connection, "GET", route_path(number) + "x")
            assert_that(content.startswith(upstream_of(number).encode()), f"the upstream of route {number}")
    else:
        content = ask(connection, workload.method, workload.path, b"a" * workload.body_bytes)
        assert_that(len(content) == workload.answer_bytes, f"{workload.answer_bytes} bytes, not {len(content)}")
    connection.close()


def http2(workload: Workload, folder: Path, port: int, cpus: set[int]):
    """Status and sizes of a second's load, over HTTP/2 as in the measurement."""
    for attempt in range(ATTEMPTS):
        try:
            load.run(workload, folder, port, 1, cpus)
            return
        except load.Starved:
            if attempt + 1 == ATTEMPTS:
                raise


def connect(workload: Workload, port: int) -> http.client.HTTPConnection:
    if not workload.tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.minimum_version = ssl.TLSVersion.TLSv1_3
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", headers=None) -> bytes:
    """One request whose answer must be a 200."""
    connection.request(method, path, body or None, headers or {})
    response = connection.getresponse()
    content = response.read()
    assert_that(response.status == 200, f"200 for {method} {path}, not {response.status}: {content[:200]!r}")
    return content


def split(connection: http.client.HTTPConnection):
    """The right share of users on the modern side, each of them always on the same."""
    users, modern = 2000, 0
    for user in range(users):
        headers = {"Cookie": f"theme=dark; session=user-{user}; lang=en"}
        answers = [ask(connection, "GET", "/", headers=headers) for _ in range(2)]
        assert_that(answers[0] == answers[1], f"user {user} to stay on one side")
        modern += answers[0].startswith(b"modern")
    share = modern * 100 / users
    # Four standard deviations of a fair split of so many users.
    assert_that(abs(share - SPLIT_PERCENT) < 4, f"a share of {SPLIT_PERCENT} %, not {share} %")


def assert_that(holds: bool, what: str):
    if not holds:
        raise Wrong(f"expected {what}")
