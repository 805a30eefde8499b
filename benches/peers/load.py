"""Owns one run of a load program, wrk or h2load, and the reading of what it says; a wrong answer is an error."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from workloads import ENTITIES, Workload

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"bytes":%d,"seconds":%f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_ms":%f,"p99_ms":%f,"p999_ms":%f}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
"""


class Failed(Exception):
    """Requests went wrong: there is nothing to measure."""


class Starved(Failed):
    """Only timeouts, or no answer at all: what a machine does that is busy with something else."""


@dataclass
class Load:
    """What a load program saw."""

    requests: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


def run(workload: Workload, folder: Path, port: int, seconds: int, cpus: set[int]) -> Load:
    """Loads a contender for some seconds."""
    url = f"{'https' if workload.tls else 'http'}://127.0.0.1:{port}{workload.path}"
    take = h2load if workload.streams or workload.rate else wrk
    seen = take(workload, folder, url, seconds, cpus)
    if seen.bytes < seen.requests * workload.answer_bytes:
        raise Failed(f"{seen.bytes} bytes are too few for {seen.requests} answers")
    return seen


def execute(command: list[str], cpus: set[int]) -> subprocess.CompletedProcess:
    bind = lambda: os.sched_setaffinity(0, cpus)  # noqa: E731
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=bind)


def wrk(workload: Workload, folder: Path, url: str, seconds: int, cpus: set[int]) -> Load:
    script = folder / f"{workload.name}.lua"
    if not script.exists():
        script.write_text(workload.script + DONE)
    output = execute(["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "-s", str(script), url], cpus)
    lines = [line for line in output.stdout.splitlines() if line.startswith("{")]
    if output.returncode != 0 or not lines:
        raise Failed(f"wrk: {output.stdout}{output.stderr}")
    result = json.loads(lines[-1])
    errors = {kind: result.pop(kind) for kind in ("connect", "read", "write", "status", "timeout")}
    failed = {kind: count for kind, count in errors.items() if count}
    if failed or not result["requests"]:
        kind = Starved if not failed.keys() - {"timeout"} else Failed
        raise kind(f"of {result['requests']} requests failed: {failed}")
    return Load(**result)


def h2load(workload: Workload, folder: Path, url: str, seconds: int, cpus: set[int]) -> Load:
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "-t1", f"-c{workload.connections}", f"-D{seconds}", f"--log-file={log}"]
    if workload.rate:
        body = folder / "body"
        body.write_bytes(b"a" * workload.body_bytes)
        command += ["--h1", f"--rps={workload.rate // workload.connections}", f"--data={body}"]
        # Writes about the same are copied one after the other, so they are about many things.
        command += [f"{url}e{n}" for n in range(ENTITIES)]
    else:
        command += [f"-m{workload.streams}", url]
    output = execute(command, cpus)
    counts = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", output.stdout)
    if output.returncode != 0 or not counts:
        raise Failed(f"h2load: {output.stdout}{output.stderr}")
    succeeded, failed, errored = (int(count) for count in counts.groups())
    if failed or errored or not succeeded:
        raise (Failed if failed or errored else Starved)(output.stdout)
    data = re.search(r"\((\d+)\) data", output.stdout)
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    p50, p99, p999 = (times[min(len(times) - 1, int(len(times) * share))] / 1e3 for share in (0.5, 0.99, 0.999))
    return Load(succeeded, int(data[1]) if data else 0, float(seconds), p50, p99, p999)
