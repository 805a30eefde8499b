"""Owns how each contender is configured and started; it measures nothing.

All get the same job: so many workers, upstream keep-alive, X-Forwarded-For added, no logs.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import origins
from workloads import ISOLATED, ROUTES, SPLIT_PERCENT, Workload, route_path, upstream_of

# Upstream connections that a contender keeps open: more than any workload has at once.
KEPT_UPSTREAM = 1024


@dataclass
class Ports:
    """The loopback ports of the two origins and of one contender."""

    legacy: int
    modern: int
    listen: int
    admin: int


@dataclass
class Contender:
    """A proxy to measure: its name and its command line."""

    name: str
    command: list[str]


@dataclass
class Certificate:
    """A self-signed pair, apart and in one file."""

    certificate: Path
    key: Path
    both: Path


def make_certificate(folder: Path) -> Certificate:
    """What the web has most of: a P-256 key."""
    made = Certificate(folder / "tls.crt", folder / "tls.key", folder / "tls.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-keyout", made.key, "-out", made.certificate, "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    made.both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    return made


def nginx(folder: Path, workload: Workload, ports: Ports, certificate: Certificate) -> Contender:
    proxy = """proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"""
    if workload.name in ("upload", "download"):
        # Everybody else streams; its own way is by files on disk.
        proxy += " proxy_request_buffering off; proxy_max_temp_file_size 0;"
    upstreams = "".join(
        f"    upstream {name} {{ server 127.0.0.1:{port}; keepalive {KEPT_UPSTREAM}; keepalive_requests 100000000; }}\n"
        for name, port in (("legacy", ports.legacy), ("modern", ports.modern))
    )
    target = "$side" if workload.name in ("split", "reload") else "legacy"
    split = f'    split_clients "$cookie_session" $side {{ {SPLIT_PERCENT}% modern; * legacy; }}\n'
    locations = f"        location / {{ proxy_pass http://{target}; {proxy} }}\n"
    if workload.name == "routes":
        locations += "".join(
            f"        location {route_path(n)} {{ proxy_pass http://{upstream_of(n)}; {proxy} }}\n" for n in range(ROUTES)
        )
    if workload.copied:
        locations = f"""        location / {{ mirror /copy; mirror_request_body on; proxy_pass http://legacy; {proxy} }}
        location = /copy {{ internal; proxy_pass http://modern$request_uri; {proxy} }}
"""
    how, tls = ("http2" if workload.streams else ""), ""
    if workload.tls:
        how = "ssl"
        tls = f"        ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key}; ssl_protocols TLSv1.3;\n"
    listen = f"        listen 127.0.0.1:{ports.listen} backlog=4096 {how};\n"
    servers = f"{upstreams}{split}    server {{\n{listen}{tls}{locations}    }}"
    return Contender("nginx", origins.nginx(folder, servers, workload.workers))


def haproxy(folder: Path, workload: Workload, ports: Ports, certificate: Certificate) -> Contender:
    rules = ""
    if workload.name == "split":
        rules = f"""    http-request set-var(txn.bucket) req.cook(session),xxh32,mod(100)
    use_backend modern if {{ var(txn.bucket) -m int lt {SPLIT_PERCENT} }}
"""
    if workload.name == "routes":
        lines = "".join(f"{route_path(n)} {upstream_of(n)}\n" for n in range(ROUTES))
        (folder / "routes.map").write_text(lines)
        rules = f"    use_backend %[path,map_beg({folder}/routes.map,legacy)]\n"
    how = "proto h2" if workload.streams else ""
    if workload.tls:
        how = f"ssl crt {certificate.both} alpn http/1.1 ssl-min-ver TLSv1.3"
    config = f"""global
    nbthread {workload.workers}
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
    bind 127.0.0.1:{ports.listen} backlog 4096 {how}
{rules}    default_backend legacy
backend legacy
    server origin 127.0.0.1:{ports.legacy} pool-max-conn {KEPT_UPSTREAM}
backend modern
    server origin 127.0.0.1:{ports.modern} pool-max-conn {KEPT_UPSTREAM}
"""
    path = folder / "haproxy.cfg"
    path.write_text(config)
    return Contender("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-q", "-f", str(path)])


def envoy(folder: Path, workload: Workload, ports: Ports, certificate: Certificate, program: str) -> Contender:
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
    if workload.name == "split":
        weights = {"modern": SPLIT_PERCENT, "legacy": 100 - SPLIT_PERCENT}
        clusters = [{"name": name, "weight": weight} for name, weight in weights.items()]
        routes[0]["route"] = {
            "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
            "hash_policy": [{"cookie": {"name": "session"}}],
        }
    if workload.name == "routes":
        # The plain route list, as Envoy is configured nearly everywhere; its matcher tree costs about a third of it.
        many = [{"match": {"prefix": route_path(n)}, "route": {"cluster": upstream_of(n)}} for n in range(ROUTES)]
        routes = many + routes
    if workload.copied:
        routes[0]["route"]["request_mirror_policies"] = [{"cluster": "modern"}]
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
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if workload.tls:
        files = {"certificate_chain": certificate.certificate, "private_key": certificate.key}
        tls = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{kind: {"filename": str(path)} for kind, path in files.items()}],
                "alpn_protocols": ["http/1.1"],
            },
        }
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    listener = {"name": "in", "address": address(ports.listen), "filter_chains": [chain]}
    clusters = [cluster("legacy", ports.legacy), cluster("modern", ports.modern)]
    path = folder / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    options = ["--concurrency", str(workload.workers), "--disable-hot-restart", "--log-level", "error"]
    return Contender("envoy", [program, *options, "-c", str(path)])


def banyan(name: str, folder: Path, workload: Workload, ports: Ports, certificate: Certificate, program: str) -> Contender:
    """Banyan by any of its names: with metrics, with one route where others have many, with reloads."""
    for part in ("flags", "routes"):
        (folder / part).mkdir(exist_ok=True)
    rest = {"name": "rest", "match": {"path": "/{*rest}"}}
    if workload.name in ("split", "reload"):
        rest |= {"flag": "side", "variants": {"legacy": "legacy", "modern": "modern"}, "fallback": "legacy"}
    elif workload.copied or name in ISOLATED:
        # What others promise is `async`; `overlap`, the default, makes a write durable before it is answered.
        mode = "overlap" if name == "banyan" else "async"
        rest |= {"flag": "side", "migration": {"legacy": "legacy", "modern": "modern"}, "copies": {"mode": mode}}
    else:
        rest |= {"upstream": "legacy"}
    routes = [rest]
    if workload.name == "routes" and name != "banyan 1 route":
        for n in range(ROUTES):
            path = route_path(n) + "{*rest}"
            routes.append({"name": f"r{n:05d}", "match": {"path": path}, "upstream": upstream_of(n)})
    document = {
        "identity": {"targeting_key": ["cookie:session"]},
        "upstreams": {
            name: {"endpoints": [f"http://127.0.0.1:{port}"], "connections_max": 4 * KEPT_UPSTREAM}
            for name, port in (("legacy", ports.legacy), ("modern", ports.modern))
        },
        "routes": routes,
    }
    # JSON is YAML, and both folders take it.
    if "copies" in rest:
        write_stage(folder, "off" if name == "banyan copies off" else "dualwrite")
    else:
        write_flags(folder, SPLIT_PERCENT)
    (folder / "routes" / "routes.json").write_text(json.dumps(document))
    command = [program, "serve", "--flags", f"{folder}/flags", "--routes", f"{folder}/routes"]
    command += ["--workers", str(workload.workers), "--state", f"{folder}/state", "--admin", f"127.0.0.1:{ports.admin}"]
    command += ["--access-log", "off", "--tracing", "off", "--debounce-ms", "0"]
    # One machine makes all connections, and none of the others counts requests a connection.
    command += ["--limit", "connections_per_address_max=0", "--limit", "keep_alive_requests_max=0"]
    if workload.tls:
        command += ["--listen-tls", f"127.0.0.1:{ports.listen}"]
        command += ["--tls-certificate", str(certificate.certificate), "--tls-key", str(certificate.key)]
    else:
        command += ["--listen", f"127.0.0.1:{ports.listen}"]
    # How many copies are on their way is a metric.
    command += [] if name == "banyan+metrics" or "copies" in rest else ["--metrics", "off"]
    return Contender(name, command)


def write_flags(folder: Path, percent: int):
    """Writes a flag that splits."""
    write_flag(folder, {
        "variants": {"legacy": "legacy", "modern": "modern"},
        "defaultVariant": "legacy",
        "targeting": {"fractional": [["modern", percent], ["legacy", 100 - percent]]},
    })


def write_stage(folder: Path, stage: str):
    """Writes a migration's flag."""
    stages = ("off", "dualwrite", "shadow", "live", "rampdown", "complete")
    write_flag(folder, {"variants": {name: name for name in stages}, "defaultVariant": stage})


def write_flag(folder: Path, flag: dict):
    """Writes the flag file whole, by renaming."""
    flag = {"state": "ENABLED", **flag, "metadata": {"owner": "bench"}}
    path, draft = folder / "flags" / "flags.json", folder / "draft.json"
    draft.write_text(json.dumps({"flags": {"side": flag}}))
    os.replace(draft, path)


def make(
    name: str, folder: Path, workload: Workload, ports: Ports, certificate: Certificate, programs: dict[str, str]
) -> Contender:
    """Writes the contender's configuration for a workload into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "nginx":
        return nginx(folder, workload, ports, certificate)
    if name == "haproxy":
        return haproxy(folder, workload, ports, certificate)
    if name == "envoy":
        return envoy(folder, workload, ports, certificate, programs["envoy"])
    return banyan(name, folder, workload, ports, certificate, programs["banyan"])


def version(name: str, programs: dict[str, str]) -> str:
    """What the program says its version is, in one line."""
    commands = {
        "nginx": [shutil.which("nginx") or "/usr/sbin/nginx", "-v"],
        "haproxy": [shutil.which("haproxy") or "/usr/sbin/haproxy", "-v"],
        "envoy": [programs["envoy"], "--version"],
        "banyan": [programs["banyan"], "--version"],
        "wrk": ["wrk", "-v"],
        "h2load": ["h2load", "--version"],
    }
    output = subprocess.run(commands[name], capture_output=True, text=True, env=os.environ, check=False)
    lines = [line.strip() for line in (output.stdout + output.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"
