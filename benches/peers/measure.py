"""Owns processes and figures: starting pinned, the CPU time of a process tree from /proc, what a run cost.

A run tells how much CPU everybody else used meanwhile, so that a disturbed one can be taken again.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from load import Load

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30
# Taken before a workload binds this process to some of them.
ALLOWED = os.sched_getaffinity(0)


def cpus() -> tuple[set[int], set[int]]:
    """The CPUs of the proxy and of everything else; the same ones where there is only one."""
    mine = sorted(ALLOWED)
    return {mine[0]}, set(mine[1:2] or mine[:1])


def all_cpus() -> set[int]:
    """All CPUs that we may use."""
    return set(ALLOWED)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


class Process:
    """A program of ours, with the processes it starts; ends with the `with` block."""

    def __init__(self, command: list[str], cpu: set[int], port: int, log: Path):
        self.log = log
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=lambda: os.sched_setaffinity(0, cpu),
            )
        self.wait_for(port)

    def wait_for(self, port: int):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise SystemExit(f"{self.child.args[0]} ended at once:\n{self.tail()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{self.child.args[0]} does not listen on {port}:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found = [self.child.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def cpu(self) -> tuple[float, float]:
        """User and system seconds used so far."""
        user = system = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return user / TICKS, system / TICKS

    def peak_mib(self) -> float:
        """The most resident memory so far, summed over the processes."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
        return total / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@dataclass
class Run:
    """One measured run."""

    cpu_us: float
    user_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    # CPUs that were busy with something that is none of ours.
    others: float


def busy_seconds() -> float:
    """Seconds that all CPUs together have spent on anything but waiting."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    # Guest time is inside user time already.
    return (sum(fields[:8]) - idle) / TICKS


def run(proxy: Process, origins: Process, take: Callable[[], Load], settle: Callable[[], None]) -> Run:
    """Loads the proxy and gives what it cost, until what it left to be done later is done."""
    started, busy, mine = time.monotonic(), busy_seconds(), sum(origins.cpu()) + sum(os.times()[:4])
    user, system = proxy.cpu()
    seen = take()
    settle()
    after_user, after_system = proxy.cpu()
    elapsed = time.monotonic() - started
    total = (after_user - user) + (after_system - system)
    ours = total + sum(origins.cpu()) + sum(os.times()[:4]) - mine
    return Run(
        cpu_us=total / seen.requests * 1e6,
        user_us=(after_user - user) / seen.requests * 1e6,
        requests_per_s=seen.requests / seen.seconds,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        p999_ms=seen.p999_ms,
        others=max(0.0, (busy_seconds() - busy - ours) / elapsed),
    )
