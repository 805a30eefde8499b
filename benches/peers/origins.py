"""Owns what stands behind every contender: one nginx with two ports, legacy and modern."""

import shutil
from pathlib import Path

from workloads import ANSWER_BYTES, BIG_BYTES, BODY_BYTES


def command(folder: Path, legacy: int, modern: int) -> list[str]:
    """An nginx that answers 100 bytes, 10 KiB under /body, 1 MB under /big, and reads all of a body under /upload."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "big").write_bytes(b"b" * BIG_BYTES)
    block = "b" * 1024
    servers = ""
    for name, port in (("legacy", legacy), ("modern", modern)):
        answer = f"{name} ".ljust(ANSWER_BYTES, ".")
        # `return` would answer before the body is there; asking itself makes nginx read the body first.
        servers += f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        set $block "{block}";
        location / {{ return 200 "{answer}"; }}
        location = /status {{ stub_status; }}
        location /body {{ return 200 "{"$block" * (BODY_BYTES // 1024)}"; }}
        location = /big {{ root {folder}; }}
        location /upload {{
            client_body_buffer_size 1m;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_body "";
            proxy_method GET;
            proxy_pass http://{name}/;
        }}
    }}
    upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 100000000; }}"""
    return nginx(folder, servers, workers=1)


def nginx(folder: Path, servers: str, workers: int) -> list[str]:
    """An nginx with these servers."""
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
{temporary}{servers}
}}
"""
    path = folder / "nginx.conf"
    path.write_text(config)
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-e", f"{folder}/start.log", "-c", str(path)]
