"""Owns processes and figures: starting pinned, the CPU time of a process tree from /proc, one run of wrk.

A run tells how much CPU everybody else used meanwhile, so that a disturbed one can be taken again.
"""

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30


def cpus() -> tuple[set[int], set[int]]:
    """The CPUs of the proxy and of everything else; the same ones where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[0]}, set(mine[1:2] or mine[:1])


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
    # CPUs that were busy with something that is none of ours.
    others: float


def busy_seconds() -> float:
    """Seconds that all CPUs together have spent on anything but waiting."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    # Guest time is inside user time already.
    return (sum(fields[:8]) - idle) / TICKS


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Failed(Exception):
    """Requests went wrong: there is nothing to measure."""


class Starved(Failed):
    """Only timeouts, or no answer at all: what a machine does that is busy with something else."""


def load(script: Path, url: str, seconds: float, answer_bytes: int, cpu: set[int]) -> dict:
    """Runs wrk and gives what its script printed; a failed request or a short answer is an error."""
    command = ["wrk", "-t1", "-c64", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    output = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cpu)
    )
    lines = [line for line in output.stdout.splitlines() if line.startswith("{")]
    if output.returncode != 0 or not lines:
        raise Failed(f"wrk: {output.stdout}{output.stderr}")
    result = json.loads(lines[-1])
    failed = {kind: result[kind] for kind in ("connect", "read", "write", "status", "timeout") if result[kind]}
    if failed or not result["requests"]:
        kind = Starved if not failed.keys() - {"timeout"} else Failed
        raise kind(f"of {result['requests']} requests failed: {failed}")
    if result["bytes"] < result["requests"] * answer_bytes:
        raise Failed(f"{result['bytes']} bytes are too few for {result['requests']} answers")
    return result


def run(
    proxy: Process, origins: Process, script: Path, url: str, seconds: float, answer_bytes: int, cpu: set[int]
) -> Run:
    """Loads the proxy and gives what it cost."""
    started, busy, mine = time.monotonic(), busy_seconds(), sum(origins.cpu()) + children_seconds()
    user, system = proxy.cpu()
    result = load(script, url, seconds, answer_bytes, cpu)
    after_user, after_system = proxy.cpu()
    elapsed = time.monotonic() - started
    total = (after_user - user) + (after_system - system)
    ours = total + sum(origins.cpu()) + children_seconds() - mine
    return Run(
        cpu_us=total / result["requests"] * 1e6,
        user_us=(after_user - user) / result["requests"] * 1e6,
        requests_per_s=result["requests"] / result["seconds"],
        p50_ms=result["p50_us"] / 1000,
        p99_ms=result["p99_us"] / 1000,
        others=max(0.0, (busy_seconds() - busy - ours) / elapsed),
    )


def ask(connection: http.client.HTTPConnection, method: str, path: str, body=None, headers=None) -> bytes:
    """One request whose answer must be a 200."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} {path} at port {connection.port}: status {response.status}: {content[:200]!r}")
    return content
