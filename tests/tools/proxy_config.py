"""Write the auth proxy's configuration for nginx, as the role renders it, into a folder: for the linters that read such files."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2

_TEMPLATE = Path(__file__).parents[2] / "roles" / "proxy" / "templates" / "nginx.conf.j2"
# Each way that the template can go: a proxy that passes on everything, and one that passes on some paths.
_GATES = [
    {"name": "ollama", "port": 11435, "upstream_port": 11434, "probe_path": "/v1/models", "paths": []},
    {"name": "vllm", "port": 8001, "upstream_port": 8000, "probe_path": "/v1/models", "paths": ["/v1/", "/health"]},
]


def write(folder: Path) -> Path:
    """Write the configuration and the file of tokens that it includes, and return the path of the first."""
    tokens = folder / "proxy.tokens"
    tokens.write_text(f'"Bearer {"0" * 48}" 1;\n', encoding="utf-8")
    values = {
        "__proxy_account": "nemoclaw-proxy",
        "__proxy_gates": _GATES,
        "__proxy_listen": ["0.0.0.0", "[::]"],
        "__proxy_not_passed_on": '{"error": {"message": "m", "code": "c"}}\\n',
        "__proxy_pid": "/run/nemoclaw-ollama-proxy/nginx.pid",
        "__proxy_realm": "nemoclaw.local_inference",
        "__proxy_temp": "/var/lib/nemoclaw-ollama-proxy/temp",
        "__proxy_tokens": tokens,
        "proxy_connect_timeout": 5,
        "proxy_drain_timeout": 3600,
        "proxy_max_body_size": "512m",
        "proxy_max_connections": 1024,
        "proxy_max_connections_per_address": 256,
        "proxy_read_timeout": 600,
        "proxy_workers": 1,
    }
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    config = folder / "nginx.conf"
    config.write_text(environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values), encoding="utf-8")
    return config


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
