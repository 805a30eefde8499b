"""Counts the user instructions of a request with cachegrind and holds them to the committed figures.

It is the one figure of speed that machines repeat: the same binary gives the same count within 0.1 %, busy or not. Two runs of a workload differ only in the number of requests; the difference is what the requests cost, without
start and end. `--renew` writes the figures.
"""

import argparse
import json
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import wire

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/release/banyan"
FIGURES = Path(__file__).with_name("figures.json")
FEW, MANY = 2_000, 12_000
# The most that a change may add without saying so.
GROWTH_MAX = 0.03
# A figure that shrank by more than this wants to be renewed, or the guard is loose.
SHRINKAGE_MAX = 0.03
START_SECONDS = 120
END_SECONDS = 120

WORKLOADS = {
    "plain": lambda port, count: wire.http1(port, count, with_cookie=False),
    "split": lambda port, count: wire.http1(port, count, with_cookie=True),
    "h2": wire.http2,
}
SPLIT = {
    "state": "ENABLED",
    "variants": {"legacy": "legacy", "modern": "modern"},
    "defaultVariant": "legacy",
    "targeting": {"fractional": [["modern", 25], ["legacy", 75]]},
    "metadata": {"owner": "bench"},
}


def configure(folder: Path, workload: str, origin: int):
    """Writes flags and routes; JSON is YAML, and both folders take it."""
    rest = {"name": "rest", "match": {"path": "/{*rest}"}, "upstream": "legacy"}
    if workload == "split":
        rest = {"name": "rest", "match": {"path": "/{*rest}"}, "flag": "side", "fallback": "legacy"}
        rest["variants"] = {"legacy": "legacy", "modern": "modern"}
    endpoints = [f"http://127.0.0.1:{origin}"]
    upstreams = {name: {"endpoints": endpoints} for name in ("legacy", "modern")}
    routes = {"identity": {"targeting_key": ["cookie:session"]}, "upstreams": upstreams, "routes": [rest]}
    for name, document in (("flags", {"flags": {"side": SPLIT}}), ("routes", routes)):
        (folder / name).mkdir()
        (folder / name / f"{name}.json").write_text(json.dumps(document))


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def start(program: Path, folder: Path, ports: list[int], log: Path) -> subprocess.Popen:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", str(program), "serve"]
    command += ["--workers", "1", "--listen", f"127.0.0.1:{ports[0]}", "--admin", f"127.0.0.1:{ports[1]}"]
    # Metrics are on, as they come; what the access log and traces add has benches of its own.
    command += ["--access-log", "off", "--tracing", "off", "--limit", "keep_alive_requests_max=0"]
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if b"listening" in log.read_bytes():
            return child
        time.sleep(0.05)
    child.kill()
    raise SystemExit(f"the router does not start under valgrind:\n{log.read_text(errors='replace')[-4000:]}")


def instructions(program: Path, workload: str, requests: int) -> int:
    """All user instructions of a router that serves so many requests, from its start to its end."""
    with tempfile.TemporaryDirectory(prefix="banyan-count-") as name:
        folder, origin, ports = Path(name), wire.Origin(), free_ports()
        configure(folder, workload, origin.port)
        log = folder / "log"
        child = start(program, folder, ports, log)
        try:
            WORKLOADS[workload](ports[0], requests)
            child.send_signal(signal.SIGTERM)
            child.wait(END_SECONDS)
        except (OSError, wire.Wrong) as error:
            raise SystemExit(f"{workload}: {error}\n{log.read_text(errors='replace')[-4000:]}") from None
        finally:
            child.kill()
            child.wait()
        found = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text(errors="replace"))
        if child.returncode != 0 or not found:
            raise SystemExit(f"{workload}: exit {child.returncode}\n{log.read_text(errors='replace')[-4000:]}")
        return int(found[1].replace(",", ""))


def per_request(program: Path, workload: str) -> int:
    few, many = (instructions(program, workload, requests) for requests in (FEW, MANY))
    return round((many - few) / (MANY - FEW))


def setting() -> dict[str, str]:
    """What else the figures depend on."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"rustc": compiler, "machine": platform.machine(), "libc": " ".join(platform.libc_ver())}


def stripped(program: Path, folder: Path) -> Path:
    """A copy without debug information, which valgrind would read at each start."""
    copy = folder / "banyan"
    shutil.copy(program, copy)
    subprocess.run(["strip", str(copy)], check=True)
    return copy


def verdict(workload: str, count: int, committed: dict) -> tuple[bool, str]:
    """Whether the count may stay, and a line about it."""
    figure = committed["instructions"][workload]
    change = count / figure - 1
    line = f"instructions: {workload} {count:,} a request, committed {figure:,} ({change:+.1%})"
    if change > GROWTH_MAX:
        return False, f"{line}: FAILED, more than +{GROWTH_MAX:.0%}"
    if change < -SHRINKAGE_MAX:
        line += "; less than before: commit it with --renew"
    return True, line


def explain(committed: dict) -> str:
    """What to do about a failure."""
    now, then = setting(), committed["setting"]
    other = [f"{name}: {now[name]!r} here, {then[name]!r} there" for name in then if now.get(name) != then[name]]
    advice = "If the cost is worth it: `make instructions ARGS=--renew`, commit benches/instructions/figures.json and say why."
    if other:
        advice += f"\nThe figures were taken elsewhere ({'; '.join(other)}): renew them there before looking for a cause here."
    return advice


def main() -> int:
    committed = json.loads(FIGURES.read_text())
    known = ", ".join(WORKLOADS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--banyan", type=Path, default=BINARY, help="a release binary (default: %(default)s)")
    parser.add_argument("--workloads", default=",".join(committed["instructions"]), help=f"of {known} (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="count N times, show the spread, hold nothing")
    parser.add_argument("--renew", action="store_true", help="write the counts as the figures to hold")
    chosen = parser.parse_args()
    held, counts = True, {}
    with tempfile.TemporaryDirectory(prefix="banyan-count-") as name:
        program = stripped(chosen.banyan, Path(name))
        for workload in chosen.workloads.split(","):
            found = [per_request(program, workload) for _ in range(chosen.repeat)]
            counts[workload] = found[0]
            if chosen.repeat > 1:
                print(f"{workload}: {found}, spread {max(found) / min(found) - 1:.2%}", flush=True)
            elif not chosen.renew:
                fine, line = verdict(workload, found[0], committed)
                held &= fine
                print(line, flush=True)
    if chosen.renew:
        committed["setting"] = setting()
        committed["instructions"] |= counts
        FIGURES.write_text(json.dumps(committed, indent=2) + "\n")
        print(f"written: {counts}")
    if not held:
        print(explain(committed))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
