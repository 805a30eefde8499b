"""Owns what is asked of every contender: each workload's requests, how many at once, and what Banyan promises there."""

from dataclasses import dataclass, field

ROUTES = 10_000
SPLIT_PERCENT = 25
ANSWER_BYTES = 100
BODY_BYTES = 10 * 1024
# A usual write, and how many things writes are about.
WRITE_BYTES = 1024
ENTITIES = 64
# Just below nginx's usual limit of a body.
BIG_BYTES = 1_000_000
RELOADS_A_SECOND = 100

PEERS = ("haproxy", "nginx", "envoy")
USUAL = ("banyan", "banyan+metrics", *PEERS)


@dataclass(frozen=True)
class Goal:
    """At most so many times another contender's figure in the same round."""

    what: str
    figure: str
    of: str
    against: str
    at_most: float


def cpu(against: str, at_most: float) -> Goal:
    return Goal(f"CPU a request against {against}", "cpu_us", "banyan", against, at_most)


P99 = Goal("p99 against nginx", "p99_ms", "banyan", "nginx", 1.00)
# How modern behaves in `isolation`: how others fail must not show at the primary.
FAILING = ("slow", "dead", "garbage", "resetting")
ISOLATED = ("banyan copies off", "banyan copies", *(f"banyan copies, {how}" for how in FAILING))
COPYING = ("banyan", "banyan async", "banyan copies off", "nginx", "envoy")
# Near the most that nginx's mirror bears on one CPU, where CPU is what counts.
MIRROR_RATE = 8000
# A quiet time: each write wakes everybody, and hardly any share what a wake costs.
QUIET_RATE = 400
# Half of what the machine's disks and CPUs bear, so that latencies are the proxy's and not a queue's.
ISOLATION_RATE = 800


def isolated() -> tuple[Goal, ...]:
    """No way in which modern behaves may be seen in the answers of the primary."""
    return tuple(
        Goal(f"{figure} with {name.removeprefix('banyan ')} against off", f"{figure}_ms", name, ISOLATED[0], 1.05)
        for name in ISOLATED[1:] for figure in ("p50", "p99")
    )


METRICS = Goal("CPU a request with metrics", "cpu_us", "banyan+metrics", "banyan", 1.05)


@dataclass(frozen=True)
class Workload:
    """One kind of load, the same for all."""

    name: str
    title: str
    goals: tuple[Goal, ...] = ()
    # Lua for wrk.
    script: str = ""
    path: str = "/"
    connections: int = 64
    # Streams a connection; 0 is HTTP/1.1 by wrk, more is HTTP/2 by h2load.
    streams: int = 0
    # Port 443's job: TLS 1.3 with a P-256 certificate.
    tls: bool = False
    workers: int = 1
    # The proxy on one CPU, load and origins on the other; else nobody is bound.
    pinned: bool = True
    answer_bytes: int = ANSWER_BYTES
    contenders: tuple[str, ...] = USUAL
    # Writes a second, all connections together; 0 is as many as there can be. Set, the load is h2load's over HTTP/1.1.
    rate: int = 0
    # Whether each write is copied to modern; what that costs until all have arrived belongs to the figures.
    copied: bool = False
    # What a check of one answer must find.
    method: str = "GET"
    body_bytes: int = 0


def route_path(number: int) -> str:
    """The prefix of one of the many routes."""
    return f"/r{number:05d}/"


def upstream_of(number: int) -> str:
    return "modern" if number % 2 else "legacy"


# A thousand visitors, so that a split by cookie has something to split.
USERS = """
local requests, next = {}, 0
init = function(args)
  for i = 1, 1000 do requests[i] = wrk.format("GET", "/", {["Cookie"] = "theme=dark; session=user-" .. i .. "; lang=en"}) end
end
request = function()
  next = next % 1000 + 1
  return requests[next]
end
"""

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "plain", "GET, 100 bytes", (cpu("haproxy", 0.92), cpu("nginx", 1.00), P99, METRICS),
        ),
        Workload(
            "split", f"sticky {SPLIT_PERCENT} % by cookie", (cpu("haproxy", 0.92), cpu("nginx", 1.00), P99, METRICS), USERS,
        ),
        Workload(
            "body", "POST 10 KiB, answer 10 KiB", (cpu("haproxy", 0.82), P99, METRICS),
            f'wrk.method, wrk.body = "POST", string.rep("a", {BODY_BYTES})', "/body",
            answer_bytes=BODY_BYTES, method="POST", body_bytes=BODY_BYTES,
        ),
        Workload(
            "upload", "POST 1 MB, answer 100 bytes", (cpu("haproxy", 1.00), P99),
            f'wrk.method, wrk.body = "POST", string.rep("a", {BIG_BYTES})', "/upload",
            connections=16, method="POST", body_bytes=BIG_BYTES,
        ),
        Workload(
            "download", "GET 1 MB", (cpu("haproxy", 1.00), P99), path="/big", connections=16, answer_bytes=BIG_BYTES,
        ),
        Workload(
            "routes", f"{ROUTES:,} path prefixes, one in the middle",
            (cpu("haproxy", 1.00), Goal("CPU a request against one route", "cpu_us", "banyan", "banyan 1 route", 1.03)),
            path=f"{route_path(ROUTES // 2)}x", contenders=("banyan", "banyan 1 route", *PEERS),
        ),
        Workload(
            "h2", "HTTP/2 by prior knowledge, 8 connections of 32 streams", (cpu("haproxy", 1.00), P99, METRICS),
            connections=8, streams=32,
        ),
        Workload(
            "tls", "GET over TLS 1.3, connections kept", (cpu("haproxy", 1.00), P99), tls=True,
        ),
        Workload(
            "handshakes", "a new TLS 1.3 connection for each request, full handshakes", (cpu("haproxy", 1.00),),
            'wrk.headers["Connection"] = "close"', tls=True, connections=16,
        ),
        Workload(
            "many", "plain over 1,000 connections", (cpu("haproxy", 0.92), P99), connections=1_000,
        ),
        Workload(
            "two", "plain, two workers on two CPUs, nobody bound to one", (cpu("haproxy", 0.92), P99),
            workers=2, pinned=False,
        ),
        Workload(
            "reload", f"split under {RELOADS_A_SECOND} reloads a second",
            (Goal("p99.9 with reloads against without", "p999_ms", "banyan+reloads", "banyan", 1.05),),
            USERS, connections=16, pinned=False, contenders=("banyan", "banyan+reloads"),
        ),
        Workload(
            "mirror", f"{MIRROR_RATE} POST of 1 KiB a second, each one copied to modern", (cpu("nginx", 0.50), cpu("envoy", 0.50)),
            rate=MIRROR_RATE, method="POST", body_bytes=WRITE_BYTES, copied=True, contenders=COPYING,
        ),
        Workload(
            "quiet", f"{QUIET_RATE} POST of 1 KiB a second, each one copied to modern", (cpu("nginx", 0.50), cpu("envoy", 0.50)),
            connections=16, rate=QUIET_RATE, method="POST", body_bytes=WRITE_BYTES, copied=True, contenders=COPYING,
        ),
        Workload(
            "isolation", f"{ISOLATION_RATE} POST of 1 KiB a second, modern well, slow, dead, sending garbage, resetting", isolated(),
            connections=16, rate=ISOLATION_RATE, method="POST", body_bytes=WRITE_BYTES, contenders=ISOLATED,
        ),
    )
}
