"""Measures Banyan beside nginx, HAProxy and Envoy on the same upstreams and prints ratios.

Contenders take turns within a round, and ratios are taken within a round: the machine drifts, ratios hardly do.
Every contender's answers are checked before it is measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import checks
import contenders
import copies
import load
import measure
import origins
import reloads
import report
from workloads import FAILING, USUAL, WORKLOADS, Workload

# A run is taken again while others used more CPU than this, at most so many times.
OTHERS_MAX = 0.3
REPEATS_MAX = 3


@dataclass
class Bench:
    """What is the same for all workloads."""

    programs: dict[str, str]
    folder: Path
    certificate: contenders.Certificate
    wanted: list[str]
    rounds: int
    seconds: int


@dataclass
class Started:
    """A contender that runs."""

    process: measure.Process
    folder: Path
    ports: contenders.Ports


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="some of %(default)s")
    parser.add_argument("--contenders", default=",".join(USUAL), help="some of %(default)s; some workloads bring their own")
    parser.add_argument("--rounds", type=int, default=5, help="rounds a workload (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds a run (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: a first look")
    parser.add_argument("--banyan", metavar="PATH", help="a ready binary (default: build the release)")
    parser.add_argument("--envoy", metavar="PATH", default="envoy", help="the envoy binary")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--assert", dest="hold", action="store_true", help="exit 1 if a goal is missed")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.seconds = 2, 1
    for name, known in (("workloads", WORKLOADS), ("contenders", USUAL)):
        values = getattr(chosen, name).split(",")
        if unknown := [value for value in values if value not in known]:
            parser.error(f"unknown {name}: {', '.join(unknown)}")
        setattr(chosen, name, values)
    return chosen


def build() -> str:
    """The release binary of this tree."""
    root = Path(__file__).resolve().parents[2]
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "banyan"], cwd=root, check=True)
    return str(root / "target" / "release" / "banyan")


def undisturbed(take) -> tuple[measure.Run, int]:
    """Takes a run, again while others disturb it; gives the least disturbed and how many were dropped."""
    runs, starved = [], None
    for _ in range(1 + REPEATS_MAX):
        try:
            runs.append(take())
        except load.Starved as error:
            starved = error
            continue
        if runs[-1].others <= OTHERS_MAX:
            break
    if not runs:
        raise starved
    best = min(runs, key=lambda run: run.others)
    return best, len(runs) - 1


def chosen_contenders(workload: Workload, wanted: list[str]) -> list[str]:
    """Those of the workload that are wanted; its special ones come with Banyan."""
    return [name for name in workload.contenders if name in wanted or (name not in USUAL and "banyan" in wanted)]


def start(stack: ExitStack, name: str, workload: Workload, bench: Bench, ports: contenders.Ports, cpus, load_cpus) -> Started:
    """Starts a contender and looks at its answers."""
    folder = bench.folder / workload.name / name.replace(" ", "-")
    contender = contenders.make(name, folder, workload, ports, bench.certificate, bench.programs)
    process = stack.enter_context(measure.Process(contender.command, cpus, ports.listen, folder / "log"))
    try:
        checks.check(workload, name, bench.folder, ports.listen, load_cpus)
    except (checks.Wrong, load.Failed, OSError) as error:
        raise SystemExit(f"{workload.name}, {name}: {error}\n{process.tail()}") from None
    return Started(process, folder, ports)


def measure_workload(workload: Workload, bench: Bench, progress) -> dict:
    """All rounds of one workload: `{contender: {"runs": [...], "peak_mib": ...}}`."""
    names = chosen_contenders(workload, bench.wanted)
    proxy_cpus, load_cpus = measure.cpus() if workload.pinned else (measure.all_cpus(),) * 2
    # What runs in this process, such as sides that fail, is load.
    os.sched_setaffinity(0, load_cpus)
    legacy, modern, *ports = measure.free_ports(2 + 2 * len(names))
    with ExitStack() as stack:
        command = origins.command(bench.folder / "origins", legacy, modern)
        origin = stack.enter_context(measure.Process(command, load_cpus, legacy, bench.folder / "origins.log"))
        started, failing = {}, {}
        if workload.name == "isolation":
            failing = dict(zip(FAILING, measure.free_ports(len(FAILING))))
            for how, port in failing.items():
                stack.enter_context(copies.Failing(how, port))
        for name in names:
            side = failing.get(name.rpartition(", ")[2], modern)
            mine = contenders.Ports(legacy, side, ports.pop(), ports.pop())
            started[name] = start(stack, name, workload, bench, mine, proxy_cpus, load_cpus)
        results = {name: {"runs": [], "dropped": 0} for name in names}

        def take(proxy: Started, seconds: int) -> measure.Run:
            with reloads.storm(proxy.folder, proxy.ports.admin) if proxy is started.get("banyan+reloads") else nullcontext():
                ask = lambda: load.run(workload, bench.folder, proxy.ports.listen, seconds, load_cpus)  # noqa: E731
                return measure.run(proxy.process, origin, ask, lambda: None)

        def take_copied(name: str, seconds: int) -> measure.Run:
            """A run counts only if every write has arrived on both sides."""
            proxy, before = started[name], copies.asked(legacy)
            ask = lambda: load.run(workload, bench.folder, proxy.ports.listen, seconds, load_cpus)  # noqa: E731
            run = measure.run(proxy.process, origin, ask, lambda: copies.drain(name, proxy.ports.admin))
            sides = 1 if name == "banyan copies off" else 2
            arrived, wanted = copies.asked(legacy) - before, sides * run.requests_per_s * seconds
            # Writes that were under way when the load stopped are in one count and not in the other.
            if arrived < 0.98 * wanted:
                raise load.Failed(f"{arrived} requests arrived of {wanted:.0f}")
            return run

        # Round 0 warms up: pools, caches, allocators.
        for number in range(bench.rounds + 1):
            # Each round begins with another contender: nobody always follows the same one.
            for name in names[number % len(names):] + names[: number % len(names)]:
                progress(f"{workload.name}: round {number} of {bench.rounds}, {name}")
                try:
                    seconds = bench.seconds if number else 1
                    run, dropped = undisturbed(
                        lambda: take_copied(name, seconds) if workload.copied else take(started[name], seconds)
                    )
                except load.Failed as error:
                    raise SystemExit(f"{workload.name}, {name}: {error}\n{started[name].process.tail()}") from None
                if number:
                    results[name]["runs"].append(run)
                    results[name]["dropped"] += dropped
        for name, proxy in started.items():
            results[name]["peak_mib"] = proxy.process.peak_mib()
    return results


def main() -> int:
    chosen = arguments()
    programs = {"envoy": chosen.envoy, "banyan": chosen.banyan or ""}
    if not chosen.banyan and any(name.startswith("banyan") for name in chosen.contenders):
        programs["banyan"] = build()

    def progress(text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    told = {"machine": report.machine(programs, chosen.contenders), "rounds": chosen.rounds, "seconds": chosen.seconds}
    told |= {"workloads": {}, "goals": []}
    if not chosen.json:
        print(f"{told['machine']['cpus']} × {told['machine']['cpu']}, Linux {told['machine']['kernel']}")
        print("\n".join(f"  {line}" for line in told["machine"]["versions"].values()))
        print(f"one worker on CPU 0, load and origins on CPU 1, {chosen.rounds} rounds of {chosen.seconds} s")
    with tempfile.TemporaryDirectory(prefix="banyan-peers-") as name:
        folder = Path(name)
        # The workers of an nginx that root starts are nobody.
        folder.chmod(0o755)
        certificate = contenders.make_certificate(folder)
        bench = Bench(programs, folder, certificate, chosen.contenders, chosen.rounds, chosen.seconds)
        for workload in (WORKLOADS[name] for name in chosen.workloads):
            results = measure_workload(workload, bench, progress)
            progress("")
            rows, found = report.summary(results, OTHERS_MAX), report.verdicts(workload, results)
            told["workloads"][workload.name] = rows
            told["goals"] += found
            if not chosen.json:
                report.show(workload, rows, found, OTHERS_MAX)
    if chosen.json:
        print(json.dumps(told, indent=2))
    return 1 if chosen.hold and not all(goal["met"] or goal["tie"] for goal in told["goals"]) else 0


if __name__ == "__main__":
    sys.exit(main())
