"""Measures Banyan beside nginx, HAProxy and Envoy on the same upstreams and prints ratios.

Contenders take turns within a round, and ratios are taken within a round: the machine drifts, ratios hardly do.
Every contender's answers are checked before it is measured.
"""

import argparse
import http.client
import json
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import contenders
import measure

PEERS = ["haproxy", "nginx", "envoy"]
CONTENDERS = ["banyan", "banyan+metrics", *PEERS]
# A run is taken again while others used more CPU than this, at most so many times.
OTHERS_MAX = 0.3
REPEATS_MAX = 3
# What issue and docs promise: CPU against HAProxy, p99 against nginx, the price of metrics.
CPU_MAX, P99_MAX, METRICS_MAX = 1.00, 1.00, 1.05
# Ratios closer than this are ties on a shared machine.
TIE = 0.07

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"bytes":%d,"seconds":%f,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%f,"p99_us":%f}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

SCRIPTS = {
    "plain": "",
    "split": """
local requests, next = {}, 0
init = function(args)
  for i = 1, 1000 do requests[i] = wrk.format("GET", "/", {["Cookie"] = "theme=dark; session=user-" .. i .. "; lang=en"}) end
end
request = function()
  next = next % 1000 + 1
  return requests[next]
end
""",
    "body": f"""
wrk.method, wrk.path = "POST", "/body"
wrk.body = string.rep("a", {contenders.BODY_BYTES})
""",
    "routes": f"""
wrk.path = "{contenders.route_path(contenders.ROUTES // 2)}x"
""",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(contenders.WORKLOADS), help="some of %(default)s")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="some of %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="rounds a workload (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds a run (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: a first look")
    parser.add_argument("--banyan", metavar="PATH", help="a ready binary (default: build the release)")
    parser.add_argument("--envoy", metavar="PATH", default="envoy", help="the envoy binary")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--assert", dest="hold", action="store_true", help="exit 1 if a target is missed")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.seconds = 2, 1
    for name, known in (("workloads", contenders.WORKLOADS), ("contenders", CONTENDERS)):
        values = getattr(chosen, name).split(",")
        if unknown := [value for value in values if value not in known]:
            parser.error(f"unknown {name}: {', '.join(unknown)}")
        setattr(chosen, name, values)
    return chosen


def build() -> str:
    """The release binary of this tree."""
    root = Path(__file__).resolve().parents[2]
    measure.subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "banyan"], cwd=root, check=True)
    return str(root / "target" / "release" / "banyan")


def check(workload: str, port: int):
    """Asks a few thousand times and looks at every answer: what is measured must be right."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if workload == "plain":
        assert_that(len(measure.ask(connection, "GET", "/")) == contenders.ANSWER_BYTES, "the answer's length")
    elif workload == "body":
        content = measure.ask(connection, "POST", "/body", b"a" * contenders.BODY_BYTES)
        assert_that(len(content) == contenders.BODY_BYTES, "the answer's length")
    elif workload == "routes":
        for number in (0, 1, contenders.ROUTES // 2, contenders.ROUTES - 1):
            content = measure.ask(connection, "GET", contenders.route_path(number) + "x")
            assert_that(content.startswith(contenders.upstream_of(number).encode()), f"the upstream of route {number}")
    else:
        check_split(connection)
    connection.close()


def check_split(connection: http.client.HTTPConnection):
    users, modern = 2000, 0
    for user in range(users):
        headers = {"Cookie": f"theme=dark; session=user-{user}; lang=en"}
        answers = [measure.ask(connection, "GET", "/", headers=headers) for _ in range(2)]
        assert_that(answers[0] == answers[1], f"user {user} stays on one side")
        modern += answers[0].startswith(b"modern")
    share = modern * 100 / users
    # Four standard deviations of a fair split of so many users.
    assert_that(abs(share - contenders.SPLIT_PERCENT) < 4, f"a share of {contenders.SPLIT_PERCENT} %, not {share} %")


def assert_that(holds: bool, what: str):
    if not holds:
        raise SystemExit(f"wrong answers, nothing to measure: expected {what}")


def undisturbed(take) -> tuple[measure.Run, int]:
    """Takes a run, again while others disturb it; gives the least disturbed and how many were dropped."""
    runs, starved = [], None
    for _ in range(1 + REPEATS_MAX):
        try:
            runs.append(take())
        except measure.Starved as error:
            starved = error
            continue
        if runs[-1].others <= OTHERS_MAX:
            break
    if not runs:
        raise starved
    best = min(runs, key=lambda run: run.others)
    return best, len(runs) - 1


def measure_workload(workload: str, chosen, programs: dict, folder: Path, progress) -> dict:
    """All rounds of one workload: `{contender: {"runs": [...], "peak_mib": ...}}`."""
    script = folder / f"{workload}.lua"
    script.write_text(SCRIPTS[workload] + DONE)
    size = contenders.BODY_BYTES if workload == "body" else contenders.ANSWER_BYTES
    proxy_cpu, load_cpu = measure.cpus()
    legacy, modern, *ports = measure.free_ports(2 + 2 * len(chosen.contenders))
    with ExitStack() as stack:
        command = contenders.origins(folder / "origins", legacy, modern)
        origins = stack.enter_context(measure.Process(command, load_cpu, legacy, folder / "origins.log"))
        proxies = {}
        for name in chosen.contenders:
            mine = contenders.Ports(legacy, modern, ports.pop(), ports.pop())
            contender = contenders.make(name, folder / workload / name, workload, mine, programs)
            log = folder / workload / f"{name}.log"
            proxy = stack.enter_context(measure.Process(contender.command, proxy_cpu, mine.listen, log))
            check(workload, mine.listen)
            proxies[name] = (proxy, f"http://127.0.0.1:{mine.listen}/")
        results = {name: {"runs": [], "dropped": 0} for name in proxies}
        order = list(proxies)
        # Round 0 warms up: pools, caches, allocators.
        for number in range(chosen.rounds + 1):
            # Each round begins with another contender: nobody always follows the same one.
            for name in order[number % len(order):] + order[: number % len(order)]:
                proxy, url = proxies[name]
                progress(f"{workload}: round {number} of {chosen.rounds}, {name}")
                seconds = chosen.seconds if number else 1
                try:
                    run, dropped = undisturbed(
                        lambda: measure.run(proxy, origins, script, url, seconds, size, load_cpu)
                    )
                except measure.Failed as error:
                    raise SystemExit(f"{workload}, {name}: {error}\n{proxy.tail()}") from None
                if number:
                    results[name]["runs"].append(run)
                    results[name]["dropped"] += dropped
        for name, (proxy, _) in proxies.items():
            results[name]["peak_mib"] = proxy.peak_mib()
    return results


def ratio(results: dict, name: str, other: str, figure: str) -> float | None:
    """The median over the rounds of `name` over `other`."""
    if name not in results or other not in results:
        return None
    pairs = zip(results[name]["runs"], results[other]["runs"])
    return statistics.median(getattr(a, figure) / max(getattr(b, figure), 1e-9) for a, b in pairs)


def summary(results: dict) -> list[dict]:
    """One row a contender, cheapest first."""
    rows = []
    for name, result in results.items():
        def middle(figure):
            return statistics.median(getattr(run, figure) for run in result["runs"])

        costs = [run.cpu_us for run in result["runs"]]
        row = {"contender": name, "cpu_us": middle("cpu_us"), "cpu_us_min": min(costs), "cpu_us_max": max(costs)}
        row |= {f"cpu_vs_{peer}": ratio(results, name, peer, "cpu_us") for peer in PEERS}
        row["p99_vs_nginx"] = ratio(results, name, "nginx", "p99_ms")
        row |= {figure: middle(figure) for figure in ("user_us", "requests_per_s", "p50_ms", "p99_ms")}
        row |= {"peak_mib": result["peak_mib"], "dropped": result["dropped"]}
        row["disturbed"] = sum(run.others > OTHERS_MAX for run in result["runs"])
        rows.append(row)
    return sorted(rows, key=lambda row: row["cpu_us"])


def table(rows: list[dict]) -> str:
    titles = ["contender", "CPU µs/req (min–max)", "user µs", "vs HAProxy", "vs nginx", "vs Envoy", "req/s"]
    titles += ["p50 / p99 ms", "peak RSS MiB"]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|--:" * (len(titles) - 1) + "|"]
    for row in rows:
        ratios = [row[f"cpu_vs_{peer}"] for peer in PEERS]
        cells = [row["contender"] + (" *" if row["disturbed"] else "")]
        cells.append(f"{row['cpu_us']:.1f} ({row['cpu_us_min']:.1f}–{row['cpu_us_max']:.1f})")
        cells.append(f"{row['user_us']:.1f}")
        cells += ["–" if value is None else f"{value:.2f}" for value in ratios]
        cells += [f"{row['requests_per_s']:,.0f}", f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}", f"{row['peak_mib']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(workload: str, results: dict) -> list[dict]:
    """The targets of the workload, and whether they were met."""
    targets = [
        ("CPU a request against HAProxy", ratio(results, "banyan", "haproxy", "cpu_us"), CPU_MAX),
        ("p99 against nginx", ratio(results, "banyan", "nginx", "p99_ms"), P99_MAX),
        ("CPU a request with metrics", ratio(results, "banyan+metrics", "banyan", "cpu_us"), METRICS_MAX),
    ]
    named = [
        {"workload": workload, "target": target, "ratio": value, "at_most": limit, "met": value <= limit}
        for target, value, limit in targets
        if value is not None
    ]
    for verdict in named:
        verdict["tie"] = not verdict["met"] and verdict["ratio"] <= verdict["at_most"] + TIE
    return named


def machine(programs: dict, names: list[str]) -> dict:
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    used = sorted({name.split("+")[0] for name in names} | {"nginx", "wrk"})
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(models),
        "kernel": platform.release(),
        "versions": {name: contenders.version(name, programs) for name in used},
    }


def main() -> int:
    chosen = arguments()
    programs = {"envoy": chosen.envoy, "banyan": chosen.banyan or ""}
    if not chosen.banyan and any(name.startswith("banyan") for name in chosen.contenders):
        programs["banyan"] = build()

    def progress(text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    report = {"machine": machine(programs, chosen.contenders), "rounds": chosen.rounds, "seconds": chosen.seconds}
    report |= {"workloads": {}, "targets": []}
    if not chosen.json:
        print(f"{report['machine']['cpus']} × {report['machine']['cpu']}, Linux {report['machine']['kernel']}")
        print("\n".join(f"  {line}" for line in report["machine"]["versions"].values()))
        print(f"one worker on CPU 0, load and origins on CPU 1, {chosen.rounds} rounds of {chosen.seconds} s")
    with tempfile.TemporaryDirectory(prefix="banyan-peers-") as name:
        folder = Path(name)
        # The workers of an nginx that root starts are nobody.
        folder.chmod(0o755)
        for workload in chosen.workloads:
            results = measure_workload(workload, chosen, programs, folder, progress)
            progress("")
            report["workloads"][workload] = summary(results)
            found = verdicts(workload, results)
            report["targets"] += found
            if not chosen.json:
                print_workload(workload, report["workloads"][workload], found)
    if chosen.json:
        print(json.dumps(report, indent=2))
    return 1 if chosen.hold and not all(target["met"] or target["tie"] for target in report["targets"]) else 0


def print_workload(workload: str, rows: list[dict], found: list[dict]):
    print(f"\n### {workload}\n\n{table(rows)}\n")
    for verdict in found:
        word = "met" if verdict["met"] else "a tie" if verdict["tie"] else "MISSED"
        print(f"{verdict['target']}: {verdict['ratio']:.2f} (at most {verdict['at_most']:.2f}): {word}")
    if any(row["disturbed"] for row in rows):
        print(f"* in some runs other programs used over {OTHERS_MAX} CPUs, after {REPEATS_MAX} repeats too")


if __name__ == "__main__":
    sys.exit(main())
