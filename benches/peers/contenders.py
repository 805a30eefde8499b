"""Owns how each contender is configured and started; it measures nothing.

All get the same job: one worker, upstream keep-alive, X-Forwarded-For added, no logs.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROUTES = 10_000
SPLIT_PERCENT = 25
BODY_BYTES = 10 * 1024
ANSWER_BYTES = 100
WORKLOADS = ["plain", "split", "body", "routes"]


@dataclass
class Ports:
    """The loopback ports of the two origins and of one contender."""

    legacy: int
    modern: int
    listen: int
    admin: int


@dataclass
class Contender:
    """A proxy to measure: its name, its command line, and what it needs besides the default."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


def route_path(number: int) -> str:
    """The prefix of one of the many routes."""
    return f"/r{number:05d}/"


def upstream_of(number: int) -> str:
    return "modern" if number % 2 else "legacy"


def origins(folder: Path, legacy: int, modern: int) -> list[str]:
    """Both origins: one nginx process that answers 100 bytes, or 10 KiB under /body."""
    folder.mkdir(parents=True, exist_ok=True)
    block = "b" * 1024
    servers = ""
    for name, port in (("legacy", legacy), ("modern", modern)):
        answer = f"{name} ".ljust(ANSWER_BYTES, ".")
        servers += f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        set $block "{block}";
        location / {{ return 200 "{answer}"; }}
        location /body {{ return 200 "{"$block" * (BODY_BYTES // 1024)}"; }}
    }}"""
    return nginx(folder, servers)


def nginx(folder: Path, servers: str) -> list[str]:
    """An nginx with one worker and these servers."""
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
{temporary}{servers}
}}
"""
    path = folder / "nginx.conf"
    path.write_text(config)
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-e", f"{folder}/start.log", "-c", str(path)]


def nginx_proxy(folder: Path, workload: str, ports: Ports) -> Contender:
    proxy = """proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"""
    upstreams = "".join(
        f"    upstream {name} {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 100000000; }}\n"
        for name, port in (("legacy", ports.legacy), ("modern", ports.modern))
    )
    target = "$side" if workload == "split" else "legacy"
    split = f'    split_clients "$cookie_session" $side {{ {SPLIT_PERCENT}% modern; * legacy; }}\n'
    locations = f"        location / {{ proxy_pass http://{target}; {proxy} }}\n"
    if workload == "routes":
        locations += "".join(
            f"        location {route_path(n)} {{ proxy_pass http://{upstream_of(n)}; {proxy} }}\n" for n in range(ROUTES)
        )
    servers = f"{upstreams}{split}    server {{\n        listen 127.0.0.1:{ports.listen} backlog=4096;\n{locations}    }}"
    return Contender("nginx", nginx(folder, servers))


def haproxy(folder: Path, workload: str, ports: Ports) -> Contender:
    rules = ""
    if workload == "split":
        rules = f"""    http-request set-var(txn.bucket) req.cook(session),xxh32,mod(100)
    use_backend modern if {{ var(txn.bucket) -m int lt {SPLIT_PERCENT} }}
"""
    if workload == "routes":
        lines = "".join(f"{route_path(n)} {upstream_of(n)}\n" for n in range(ROUTES))
        (folder / "routes.map").write_text(lines)
        rules = f"    use_backend %[path,map_beg({folder}/routes.map,legacy)]\n"
    config = f"""global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{ports.listen} backlog 4096
{rules}    default_backend legacy
backend legacy
    server origin 127.0.0.1:{ports.legacy} pool-max-conn 256
backend modern
    server origin 127.0.0.1:{ports.modern} pool-max-conn 256
"""
    path = folder / "haproxy.cfg"
    path.write_text(config)
    return Contender("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-q", "-f", str(path)])


def envoy(folder: Path, workload: str, ports: Ports, program: str) -> Contender:
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def cluster(name, port):
        endpoint = {"endpoint": {"address": address(port)}}
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }

    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "legacy"}}]
    if workload == "split":
        weights = {"modern": SPLIT_PERCENT, "legacy": 100 - SPLIT_PERCENT}
        clusters = [{"name": name, "weight": weight} for name, weight in weights.items()]
        routes[0]["route"] = {
            "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
            "hash_policy": [{"cookie": {"name": "session"}}],
        }
    if workload == "routes":
        # The plain route list, as Envoy is configured nearly everywhere; its matcher tree costs about a third of it.
        many = [{"match": {"prefix": route_path(n)}, "route": {"cluster": upstream_of(n)}} for n in range(ROUTES)]
        routes = many + routes
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {"name": "in", "address": address(ports.listen), "filter_chains": [{"filters": filters}]}
    clusters = [cluster("legacy", ports.legacy), cluster("modern", ports.modern)]
    path = folder / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Contender("envoy", [program, *options, "-c", str(path)])


def banyan(folder: Path, workload: str, ports: Ports, program: str, metrics: bool) -> Contender:
    for name in ("flags", "routes"):
        (folder / name).mkdir(exist_ok=True)
    flag = {
        "state": "ENABLED",
        "variants": {"legacy": "legacy", "modern": "modern"},
        "defaultVariant": "legacy",
        "targeting": {"fractional": [["modern", SPLIT_PERCENT], ["legacy", 100 - SPLIT_PERCENT]]},
        "metadata": {"owner": "bench"},
    }
    rest = {"name": "rest", "match": {"path": "/{*rest}"}}
    if workload == "split":
        rest |= {"flag": "side", "variants": {"legacy": "legacy", "modern": "modern"}, "fallback": "legacy"}
    else:
        rest |= {"upstream": "legacy"}
    routes = [rest]
    if workload == "routes":
        for n in range(ROUTES):
            path = route_path(n) + "{*rest}"
            routes.append({"name": f"r{n:05d}", "match": {"path": path}, "upstream": upstream_of(n)})
    document = {
        "identity": {"targeting_key": ["cookie:session"]},
        "upstreams": {
            "legacy": {"endpoints": [f"http://127.0.0.1:{ports.legacy}"]},
            "modern": {"endpoints": [f"http://127.0.0.1:{ports.modern}"]},
        },
        "routes": routes,
    }
    # JSON is YAML, and both folders take it.
    (folder / "flags" / "flags.json").write_text(json.dumps({"flags": {"side": flag}}))
    (folder / "routes" / "routes.json").write_text(json.dumps(document))
    command = [program, "serve", "--flags", f"{folder}/flags", "--routes", f"{folder}/routes", "--workers", "1"]
    command += ["--listen", f"127.0.0.1:{ports.listen}", "--admin", f"127.0.0.1:{ports.admin}"]
    command += ["--state", f"{folder}/state", "--access-log", "off", "--tracing", "off"]
    command += [] if metrics else ["--metrics", "off"]
    return Contender("banyan+metrics" if metrics else "banyan", command)


def make(name: str, folder: Path, workload: str, ports: Ports, programs: dict[str, str]) -> Contender:
    """Writes the contender's configuration for a workload into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "nginx":
        return nginx_proxy(folder, workload, ports)
    if name == "haproxy":
        return haproxy(folder, workload, ports)
    if name == "envoy":
        return envoy(folder, workload, ports, programs["envoy"])
    return banyan(folder, workload, ports, programs["banyan"], metrics=name == "banyan+metrics")


def version(name: str, programs: dict[str, str]) -> str:
    """What the program says its version is, in one line."""
    commands = {
        "nginx": [shutil.which("nginx") or "/usr/sbin/nginx", "-v"],
        "haproxy": [shutil.which("haproxy") or "/usr/sbin/haproxy", "-v"],
        "envoy": [programs["envoy"], "--version"],
        "banyan": [programs["banyan"], "--version"],
        "wrk": ["wrk", "-v"],
    }
    output = subprocess.run(commands[name], capture_output=True, text=True, env=os.environ, check=False)
    lines = [line.strip() for line in (output.stdout + output.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"
