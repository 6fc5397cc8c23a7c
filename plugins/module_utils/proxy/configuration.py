# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the auth proxy of a host is to be: its settings, what is wrong with them, its files, and what of its parts is there.

The plan compares by these texts and the module proxy_gate writes them: there is no second opinion (decisions 0008, 0019, 0023).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..host.machine import READ_LIMIT, Machine
from ..profiles import BRIDGE

# The system account that nginx runs as, and its group.
ACCOUNT = "nemoclaw-proxy"
UNIT = "nemoclaw-ollama-proxy.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
# What nginx is started with, and what that includes. In /etc itself: folders of their own would be more to make and to remove.
CONFIG = "/etc/nemoclaw-ollama-proxy.conf"
TOKENS = "/etc/nemoclaw-ollama-proxy.tokens"
RUN = "/run/nemoclaw-ollama-proxy"
# The sums of both as nginx read them last, written by the unit.
LOADED = f"{RUN}/loaded"
PID = f"{RUN}/nginx.pid"
# The first is root's, so that nobody else can put a link in place of the second.
STATE = "/var/lib/nemoclaw-ollama-proxy"
TEMP = f"{STATE}/temp"
# What the two files held before a change that is not proved yet.
BEFORE = f"{STATE}/before.json"
# How the auth proxy says that an answer is its own and not that of the server behind it.
REALM = "nemoclaw.local_inference"
# What distributions call nginx, for a host that is still to get it.
USUAL_NGINX = "/usr/sbin/nginx"

# What the configuration has above each server.
_GATE = re.compile(r"^\s*# gate: ([a-z][a-z0-9_]*) (\d{1,5}) (/\S*)$", re.MULTILINE)


def find_gate(machine: Machine) -> dict[str, Any]:
    """Return C({nginx, account, unit, gates}).

    That is the path of nginx or None, whether our account and our unit are there, and what the gates are as C(proxy_gate) takes
    them: by the configuration that is there, which the settings of another play need not describe.
    """
    # All of it: a system account stands at the end, and hosts with a thousand users have more than a usual read takes.
    accounts = machine.read("/etc/passwd", READ_LIMIT) or ""
    return {
        "nginx": _file_itself(machine, machine.find_system_command("nginx")),
        "account": any(line.startswith(f"{ACCOUNT}:") for line in accounts.splitlines()),
        "unit": machine.exists(UNIT_PATH),
        "gates": [
            {"name": name, "port": int(port), "probe_path": path}
            for name, port, path in _GATE.findall(machine.read(CONFIG, READ_LIMIT) or "")
        ],
    }


def _file_itself(machine: Machine, path: str | None) -> str | None:
    """Return the path without links: where C(/sbin) is a link, each user's PATH finds another name of the same program."""
    return f"/{machine.path(path).resolve().relative_to(machine.root.resolve())}" if path else None


# Ollama, vLLM and NIM all have it, and it costs none of them anything (upstream-facts N21).
PROBE_PATH = "/v1/models"

_ADDRESS = re.compile(r"\d{1,3}(?:[.]\d{1,3}){3}|\[[0-9a-fA-F:.]+\]")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Gate(NamedTuple):
    """A server behind the auth proxy: what it is called, the proxy's port and its own, and what is asked of it.

    Attributes:
        name: As messages and the configuration call it.
        port: On which the proxy listens for it.
        probe_path: What is asked for when it is proved.
        serving: Whether the server has to answer that with 2xx.
        upstream_port: Its own on loopback; None where it does not matter.
        paths: Those that are passed on; empty means all.

    """

    name: str
    port: int
    probe_path: str = PROBE_PATH
    serving: bool = False
    upstream_port: int | None = None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProxySettings:
    """What the files are made of; the names are those of the role's variables, without C(proxy_)."""

    gates: list[Gate]
    listen: list[str] = field(default_factory=lambda: ["0.0.0.0"])  # noqa: S104 - the page's own default
    max_body_size: str = "512m"
    read_timeout: int = 600
    connect_timeout: int = 5
    drain_timeout: int = 3600
    max_connections: int = 1024
    max_connections_per_address: int = 256
    workers: int = 1
    memory_max: str = "256M"

    @classmethod
    def of(cls, gates: list[Gate], values: Mapping[str, Any]) -> ProxySettings:
        """Return the settings for these servers, of values by the names of the fields."""
        return cls(gates, **{one.name: values[one.name] for one in fields(cls) if one.name != "gates"})


def problems(settings: ProxySettings) -> list[str]:
    """Return what is wrong with the settings, as sentences that name the role's variables."""
    return [*_problems(settings)]


def _problems(settings: ProxySettings) -> Iterator[str]:
    ports = [port for gate in settings.gates for port in (gate.port, gate.upstream_port) if port is not None]
    shown = ", ".join(map(str, ports))
    names = [gate.name for gate in settings.gates]
    if not names:
        yield "The auth proxy needs at least one server behind it, but none is named."
    unknown = ", ".join(gate.name for gate in settings.gates if gate.upstream_port is None)
    if unknown:
        yield f"The auth proxy must know each server's port on 127.0.0.1 (upstream_port), but it is not set for {unknown}."
    if not all(1024 <= port <= 65_535 for port in ports):
        yield f"The ports of the auth proxy and of the servers behind it must be between 1024 and 65535, but they are {shown}."
    if len(set(ports)) < len(ports):
        yield (
            f"Each auth proxy needs its own port, different from those of the servers behind it, or it would call itself; the ports are "
            f"{shown}. Correct nemoclaw_ollama_port, nemoclaw_ollama_proxy_port or proxy_backends."
        )
    if not settings.listen or not all(one == BRIDGE or _ADDRESS.fullmatch(one) for one in settings.listen):
        wrong = ", ".join(settings.listen) or "empty"
        yield f"proxy_listen holds addresses such as 127.0.0.1, 172.17.0.1 or [::1], or the word {BRIDGE}, but it is {wrong}."
    for gate in settings.gates:
        if not _NAME.fullmatch(gate.name):
            yield f"The name {gate.name!r} in proxy_backends may contain only lower-case letters, digits and underscores."
        if not all(_PATH.fullmatch(path) for path in gate.paths):
            yield (
                f"The paths of {gate.name} must begin with / and be plain (letters, digits and . _ ~ / -): {', '.join(gate.paths)}."
            )
        if not re.fullmatch(r"/\S*", gate.probe_path):
            yield f"The probe_path of {gate.name} must begin with / and contain no white space, but it is {gate.probe_path!r}."
    if len(set(names)) < len(names):
        yield "Two of proxy_backends have the same name, or one is called ollama, which is the proxy itself."
    for name, value, form, example in (
        ("proxy_max_body_size", settings.max_body_size, r"[0-9]+[kKmMgG]?", "512m"),
        ("proxy_memory_max", settings.memory_max, r"[0-9]+[KMG]?", "256M"),
    ):
        if not re.fullmatch(form, value):
            yield f"{name} must be a size such as {example}, but it is {value!r}."


def render_config(settings: ProxySettings) -> str:
    """Return the configuration of nginx."""
    values = {
        **{one.name: getattr(settings, one.name) for one in fields(settings)},
        "account": ACCOUNT,
        "pid": PID,
        "temp": TEMP,
        "tokens": TOKENS,
        "worker_connections": 2 * settings.max_connections + 64,
    }
    servers = "".join(_render_server(gate, settings.listen) for gate in settings.gates)
    return _Text(_HTTP).substitute(values) + servers + "}\n"


def _render_server(gate: Gate, addresses: list[str]) -> str:
    listen = "".join(f"        listen {address}:{gate.port};\n" for address in addresses)
    return _Text(_SERVER).substitute(gate._asdict(), realm=REALM, listen=listen, locations=_render_locations(gate))


def _render_locations(gate: Gate) -> str:
    if not gate.paths:
        return f"\n        location / {{\n            proxy_pass http://{gate.name};\n        }}\n"
    found = []
    for path in gate.paths:
        is_folder = path.endswith("/")
        found.append(
            "\n        # Passed on as it was compared, so that no other spelling of a path gets through.\n"
            f"        location {'^~' if is_folder else '='} {path} {{\n            proxy_pass http://{gate.name}{path};\n        }}\n"
        )
        if is_folder and path != "/" and path[:-1] not in gate.paths:
            found.append(
                "        # nginx would redirect to the path with the slash.\n"
                f"        location = {path[:-1]} {{\n{_NOT_PASSED_ON}        }}\n"
            )
    return "".join(found) + f"\n        location / {{\n{_NOT_PASSED_ON}        }}\n"


def render_unit(settings: ProxySettings, nginx: str) -> str:
    """Return the unit, which runs the program C(nginx)."""
    sockets = ", ".join(f"{address}:{gate.port}" for address in settings.listen for gate in settings.gates)
    return _Text(_UNIT).substitute(
        sockets=sockets,
        account=ACCOUNT,
        pid=PID,
        config=CONFIG,
        tokens=TOKENS,
        loaded=LOADED,
        nginx=nginx,
        files=2 * settings.max_connections + 128,
        memory_max=settings.memory_max,
        confinement=confine("AF_INET AF_INET6 AF_UNIX"),
    )


class _Text(string.Template):
    """Names are written %{name}: both files have dollar signs of their own."""

    delimiter = "%"


_NOT_PASSED_ON = (
    """            return 404 '{"error": {"message": "This proxy does not pass on this path", """
    """"code": "path_not_allowed"}}\\n';\n"""
)

_HTTP = r"""# Managed by nemoclaw.local_inference, role proxy: changes are overwritten.
# The token gate before the model servers of this host. Every path and every method needs a token of %{tokens}.
# No regular expressions, no rewrite, no set: the faults of nginx in 2026 were there.
# The unit runs this as the account below. Root may as well check it or signal it: nginx -t and nginx -s, with -c and this file.
user %{account};
# Without this, root's nginx -s stop would end the nginx that the distribution starts.
pid %{pid};
worker_processes %{workers};
worker_shutdown_timeout %{drain_timeout}s;
error_log stderr warn;

events {
    # A request takes two: from the client, and to the server.
    worker_connections %{worker_connections};
}

http {
    access_log off;
    server_tokens off;
    default_type application/json;
    merge_slashes off;
    keepalive_timeout 75s;
    client_header_timeout 15s;
    client_body_timeout %{read_timeout}s;
    send_timeout %{read_timeout}s;
    client_max_body_size %{max_body_size};

    # Nothing is ever buffered in files. nginx insists on these folders, and run as root it gives them to the user above: so they
    # are one folder of its own, in one of root's where that account cannot put a link in its place.
    client_body_temp_path %{temp};
    proxy_temp_path %{temp};
    fastcgi_temp_path %{temp};
    uwsgi_temp_path %{temp};
    scgi_temp_path %{temp};

    # Plain strings: nginx compares them without regard to case, which costs nothing with lowercase hexadecimal digits.
    map_hash_bucket_size 256;
    map $http_authorization $nemoclaw_token_is_valid {
        default 0;
        include %{tokens};
    }

    limit_conn_zone $binary_remote_addr zone=per_address:1m;
    limit_conn per_address %{max_connections_per_address};
    limit_conn_status 429;

    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_connect_timeout %{connect_timeout}s;
    proxy_read_timeout %{read_timeout}s;
    proxy_send_timeout %{read_timeout}s;
    # Asks once more only where nothing of a request was sent yet (a kept connection that the server closed).
    proxy_next_upstream error;
    proxy_next_upstream_tries 2;
"""

_SERVER = r"""
    upstream %{name} {
        server 127.0.0.1:%{upstream_port} max_fails=0;
        keepalive 32;
        # Below the 5 seconds after which the servers of vLLM and llama.cpp close a connection that rests.
        keepalive_timeout 2s;
    }

    # gate: %{name} %{port} %{probe_path}
    server {
%{listen}        server_name _;
        # Ollama answers 403 to other names while it listens on loopback.
        proxy_set_header Host localhost:%{upstream_port};
        proxy_set_header Connection "";
        proxy_set_header Authorization "";
        proxy_set_header Origin "";
        proxy_set_header Upgrade "";
        proxy_set_header TE "";
        proxy_set_header Proxy-Authorization "";

        if ($nemoclaw_token_is_valid = 0) {
            return 401;
        }
        error_page 401 @no_token;
        # TRACE and CONNECT, which nginx refuses before it looks at the token: whoever asks learns no more than from any other method.
        error_page 405 =401 @no_token;
        error_page 502 @backend_down;
        error_page 504 @backend_silent;

        location @no_token {
            add_header WWW-Authenticate 'Bearer realm="%{realm}"' always;
            return 401 '{"error": {"message": "This proxy needs its token: Authorization: Bearer <token>", "code": "unauthorized"}}\n';
        }
        location @backend_down {
            return 502 '{"error": {"message": "The server behind the proxy does not answer", "code": "backend_down"}}\n';
        }
        location @backend_silent {
            return 504 '{"error": {"message": "The server behind the proxy did not answer in time", "code": "backend_silent"}}\n';
        }
%{locations}    }
"""

_UNIT = r"""# Managed by nemoclaw.local_inference, role proxy: changes are overwritten. Own lines belong into a drop-in.
[Unit]
# The sockets stand here because another socket needs a restart, which follows a change of this file.
Description=Token gate before the model servers (%{sockets})
Documentation=https://docs.nvidia.com/nemoclaw/inference/use-local-inference
After=network.target
# It keeps trying: an address of proxy_listen may appear only once Docker runs.
StartLimitIntervalSec=0

[Service]
Type=simple
User=%{account}
Group=%{account}
RuntimeDirectory=nemoclaw-ollama-proxy
RuntimeDirectoryMode=0700
# It stays after a stop: nginx -t looks whether its pid file can be written.
RuntimeDirectoryPreserve=yes
StateDirectory=nemoclaw-ollama-proxy/temp
StateDirectoryMode=0700
# One that root's nginx -t has left belongs to root, and could not be written.
ExecStartPre=/bin/rm -f %{pid}
# This file tells which files were read. A sum of random tokens says nothing about them.
ExecStartPre=/bin/sh -c 'sha256sum %{config} %{tokens} >%{loaded}'
ExecStart=%{nginx} -c %{config} -g 'daemon off;'
ExecReload=%{nginx} -t -q -c %{config}
ExecReload=/bin/sh -c 'sha256sum %{config} %{tokens} >%{loaded}'
ExecReload=/bin/kill -HUP $MAINPID
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=5
Restart=on-failure
RestartSec=2
LimitNOFILE=%{files}
MemoryMax=%{memory_max}
TasksMax=64

%{confinement}UMask=0077

[Install]
WantedBy=multi-user.target
"""


# What no service of ours needs; C(systemd-analyze security) calls what is left below 2.
_CONFINEMENT = """NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet={capabilities}
AmbientCapabilities=
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies={families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""


def confine(families: str, home: str = "yes", capabilities: str = "") -> str:
    """Return the lines for a unit that uses these kinds of sockets, by default without the homes of users and without capabilities."""
    return _CONFINEMENT.format(families=families, home=home, capabilities=capabilities)
