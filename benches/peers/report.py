"""Owns what is made of the runs: medians of ratios within a round, tables, and whether goals were met."""

import platform
import statistics
from pathlib import Path

import contenders
from workloads import PEERS, Workload

# What issue and docs promise besides each workload's goals.
PEAK_MIB_MAX = 16
# Ratios closer than this are ties on a shared machine.
TIE = 0.07


def ratio(results: dict, name: str, other: str, figure: str) -> float | None:
    """The median over the rounds of `name` over `other`."""
    if name not in results or other not in results:
        return None
    pairs = zip(results[name]["runs"], results[other]["runs"])
    return statistics.median(getattr(a, figure) / max(getattr(b, figure), 1e-9) for a, b in pairs)


def summary(results: dict, others_max: float) -> list[dict]:
    """One row a contender, cheapest first."""
    rows = []
    for name, result in results.items():
        def middle(figure):
            return statistics.median(getattr(run, figure) for run in result["runs"])

        costs = [run.cpu_us for run in result["runs"]]
        row = {"contender": name, "cpu_us": middle("cpu_us"), "cpu_us_min": min(costs), "cpu_us_max": max(costs)}
        row |= {f"cpu_vs_{peer}": ratio(results, name, peer, "cpu_us") for peer in PEERS}
        row |= {figure: middle(figure) for figure in ("user_us", "requests_per_s", "p50_ms", "p99_ms", "p999_ms")}
        row |= {"peak_mib": result["peak_mib"], "dropped": result["dropped"]}
        row["disturbed"] = sum(run.others > others_max for run in result["runs"])
        rows.append(row)
    return sorted(rows, key=lambda row: row["cpu_us"])


def verdicts(workload: Workload, results: dict) -> list[dict]:
    """The goals of the workload, and whether they were met."""
    found = []
    for goal in workload.goals:
        value = ratio(results, goal.of, goal.against, goal.figure)
        if value is not None:
            found.append({"goal": goal.what, "value": value, "at_most": goal.at_most, "tie": value <= goal.at_most + TIE})
    # Memory grows with connections and routes; the goal is for the usual ones.
    if "banyan" in results and workload.name in ("plain", "split", "body"):
        peak = results["banyan"]["peak_mib"]
        found.append({"goal": "peak MiB", "value": peak, "at_most": PEAK_MIB_MAX, "tie": False})
    for verdict in found:
        verdict |= {"workload": workload.name, "met": verdict["value"] <= verdict["at_most"]}
    return found


def table(rows: list[dict]) -> str:
    titles = ["contender", "CPU µs/req (min–max)", "user µs", "vs HAProxy", "vs nginx", "vs Envoy", "req/s"]
    titles += ["p50 / p99 / p99.9 ms", "peak RSS MiB"]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|--:" * (len(titles) - 1) + "|"]
    for row in rows:
        ratios = [row[f"cpu_vs_{peer}"] for peer in PEERS]
        cells = [row["contender"] + (" *" if row["disturbed"] else "")]
        cells.append(f"{row['cpu_us']:.1f} ({row['cpu_us_min']:.1f}–{row['cpu_us_max']:.1f})")
        cells.append(f"{row['user_us']:.1f}")
        cells += ["–" if value is None else f"{value:.2f}" for value in ratios]
        cells += [f"{row['requests_per_s']:,.0f}", " / ".join(f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "p999_ms"))]
        lines.append("| " + " | ".join([*cells, f"{row['peak_mib']:.0f}"]) + " |")
    return "\n".join(lines)


def machine(programs: dict, names: list[str]) -> dict:
    """What the figures were measured on and with."""
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    used = sorted({name.split("+")[0].split(" ")[0] for name in names} | {"nginx", "wrk", "h2load"})
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(models),
        "kernel": platform.release(),
        "versions": {name: contenders.version(name, programs) for name in used},
    }


def show(workload: Workload, rows: list[dict], found: list[dict], others_max: float):
    """Prints a workload's table and its goals as Markdown."""
    print(f"\n**{workload.name}: {workload.title}**\n\n{table(rows)}\n")
    for verdict in found:
        word = "met" if verdict["met"] else "a tie" if verdict["tie"] else "MISSED"
        print(f"- {verdict['goal']}: {verdict['value']:.2f} (at most {verdict['at_most']:.2f}): {word}")
    if any(row["disturbed"] for row in rows):
        print(f"\n\\* in some runs other programs used over {others_max} CPUs, after repeats too")
