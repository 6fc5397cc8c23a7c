# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The container engine: which one it is, whether this process may talk to it, and if not, why."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import stat
import urllib.parse
from typing import Any, NamedTuple

from ..transport.client import NotAnswering, UnixConnection, get_json
from ..untrusted import object_of, parse_json
from .machine import Account, Machine, user_name

# Upstream gives C(docker info) 1.5 s (upstream-facts N3); under load an engine needed more than 3 s.
LIMIT_S = 10.0
_PLAIN_DOCKER_TCP_PORT = 2375

# In the order in which a user's docker CLI or SDK would find them; {uid} and {home} are the set-up owner's.
_SOCKETS = (
    "/var/run/docker.sock",
    "/run/user/{uid}/docker.sock",
    "{home}/.docker/run/docker.sock",
    "{home}/.docker/desktop/docker.sock",
    "{home}/.colima/default/docker.sock",
    "/run/podman/podman.sock",
    "/run/user/{uid}/podman/podman.sock",
)

# What shows that the engine of this WSL may be Docker Desktop while it does not run: what it shares with distributions, and its
# installation on Windows' own drive.
_DESKTOP_SIGNS = ("/mnt/wsl/docker-desktop", "/mnt/c/Program Files/Docker/Docker")

_REASONS = {
    "daemon_stopped": "Opened {endpoint}, but no daemon answers there: start it (systemctl start docker).",
    "permission_denied": (
        "Opening {endpoint} was denied to the user {process_user}: add that user to the socket's group (usermod -aG "
        "docker {process_user}, then log in again), or run the task with become."
    ),
    "timeout": "Asked the engine at {endpoint} and got no answer within {limit:g} s: it hangs; check its log.",
    "no_socket": "{program} is installed, but none of its sockets exists: start the daemon (systemctl start {unit}).",
    "cli_only": "The docker command is installed, but neither an engine nor one of its sockets is: install an engine.",
    "desktop_stopped": (
        "Docker Desktop is on the Windows side, but its engine does not answer in this WSL: start it on Windows, and enable its WSL "
        "integration for this distribution (Settings, Resources)."
    ),
    "absent": "No container engine is installed: there is neither a socket nor a docker, dockerd or podman command.",
    "unsupported_endpoint": (
        "DOCKER_HOST is {endpoint}, which this collection cannot use: it takes unix:// and unencrypted tcp:// "
        "addresses only. Unset the variable, or point it to a socket of this host."
    ),
    "unexpected_answer": "Asked the engine at {endpoint}, but {detail}: see what listens there.",
}


class Endpoint(NamedTuple):
    """Where an engine may listen: a Unix socket's path, or a host and port."""

    url: str
    socket_path: str | None
    host: str = ""
    port: int = 0


def find_engine(machine: Machine, account: Account, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Return C(nemoclaw_host.docker).

    As C(docker) of the account would choose: C(DOCKER_HOST) decides where it is set, then the account's context; otherwise the first
    socket that answers, else the first that exists.

    Returns:
        C(kind) (C(none), C(native), C(desktop), C(podman), C(colima)), C(reachable), C(code) and C(reason) (None when
        reachable), C(endpoint), C(user_has_access), C(version), C(api_version), C(cgroup_version), C(runtimes),
        C(nvidia_runtime), C(rootless).

    """
    configured = machine.environ.get("DOCKER_HOST", "").strip() or find_context_host(machine, account)
    if configured:
        endpoint = parse_docker_host(configured)
        if endpoint is None or machine.environ.get("DOCKER_TLS_VERIFY"):
            return _unreachable("unsupported_endpoint", "native", endpoint=_without_credentials(configured))
        return _ask(machine, account, endpoint, limit_s)
    failures = []
    for endpoint in _present_sockets(machine, account):
        answer = _ask(machine, account, endpoint, limit_s)
        if answer["reachable"]:
            return answer
        failures.append(answer)
    return failures[0] if failures else _explain_no_socket(machine)


def find_context_host(machine: Machine, account: Account) -> str:
    """Return the address of the context that C(docker) of the account uses, empty for the default one.

    A rootless engine is set up with a context of its own, while the one of root may run beside it (docker.com, "Docker contexts").
    """
    folder = machine.environ.get("DOCKER_CONFIG") or f"{account.home}/.docker"
    name = machine.environ.get("DOCKER_CONTEXT") or _json(machine, f"{folder}/config.json").get("currentContext")
    if not isinstance(name, str) or name in ("", "default"):
        return ""
    digest = hashlib.sha256(name.encode()).hexdigest()
    endpoints = object_of(_json(machine, f"{folder}/contexts/meta/{digest}/meta.json").get("Endpoints"))
    host = object_of(endpoints.get("docker")).get("Host")
    return host.strip() if isinstance(host, str) else ""


def _json(machine: Machine, path: str) -> dict[str, Any]:
    try:
        return object_of(parse_json(machine.read(path) or "{}"))
    except ValueError:
        return {}


def parse_docker_host(value: str) -> Endpoint | None:
    """Return the endpoint that C(DOCKER_HOST) names, or None for a scheme we do not speak (ssh, https, npipe)."""
    scheme, separator, rest = value.partition("://")
    if scheme == "unix" and separator and rest.startswith("/"):
        return Endpoint(value, rest)
    if scheme not in ("tcp", "http"):
        return None
    try:
        parts = urllib.parse.urlsplit(f"http://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    port = port or _PLAIN_DOCKER_TCP_PORT
    return Endpoint(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}", None, host, port)


def describe_engine(endpoint: Endpoint, version: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Return what C(/version) and C(/info) of an engine tell, in the shape of find_engine."""
    runtimes = info.get("Runtimes")
    names = sorted(runtimes) if isinstance(runtimes, dict) else []
    options = info.get("SecurityOptions")
    rootless = any("rootless" in str(option) for option in options) if isinstance(options, list) else False
    return {
        "kind": classify_engine(endpoint, version, info),
        "reachable": True,
        "code": None,
        "reason": None,
        "endpoint": endpoint.url,
        "user_has_access": None,
        "version": _text(version.get("Version")),
        "api_version": _text(version.get("ApiVersion")),
        # Engines before 20.10 do not say it, and knew version 1 only.
        "cgroup_version": _text(info.get("CgroupVersion")) or "1",
        "runtimes": names,
        "nvidia_runtime": "nvidia" in names,
        "rootless": rootless,
    }


def classify_engine(endpoint: Endpoint, version: dict[str, Any], info: dict[str, Any]) -> str:
    """Tell Podman, Colima and Docker Desktop from a native engine, in that order (upstream-facts N3).

    Upstream looks for these words anywhere in C(docker info); we look only where the product names itself, because a
    label or a host name may contain any word.
    """
    components = version.get("Components")
    names = " ".join(
        str(component.get("Name"))
        for component in (components if isinstance(components, list) else [])
        if isinstance(component, dict)
    ).lower()
    system = str(info.get("OperatingSystem", "")).lower()
    if "podman" in names or "podman" in (endpoint.socket_path or ""):
        return "podman"
    if str(info.get("Name", "")).lower().startswith("colima") or "/.colima/" in (endpoint.socket_path or ""):
        return "colima"
    return "desktop" if "docker desktop" in system else "native"


def may_use_socket(machine: Machine, account: Account, socket_path: str) -> bool | None:
    """Tell whether C(account) itself could open the socket, whoever runs this module; None when it cannot be seen."""
    try:
        status = machine.path(socket_path).stat()
    except OSError:
        return None
    if account.uid in (0, status.st_uid):
        return True
    if status.st_gid in account.groups:
        return bool(status.st_mode & stat.S_IWGRP)
    return bool(status.st_mode & stat.S_IWOTH)


def _present_sockets(machine: Machine, account: Account) -> list[Endpoint]:
    paths = [template.format(uid=account.uid, home=account.home) for template in _SOCKETS]
    return [Endpoint(f"unix://{path}", path) for path in paths if machine.exists(path)]


def _ask(machine: Machine, account: Account, endpoint: Endpoint, limit_s: float) -> dict[str, Any]:
    kind = classify_engine(endpoint, {}, {})
    try:
        version = get_json(connect(machine, endpoint, limit_s), "/version", limit_s)
        info = get_json(connect(machine, endpoint, limit_s), "/info", limit_s)
        answer = describe_engine(endpoint, version, info)
    except PermissionError:
        answer = _unreachable("permission_denied", kind, endpoint=endpoint.url, process_user=_process_user())
    except (TimeoutError, socket.timeout):  # one and the same from Python 3.10 on
        answer = _unreachable("timeout", kind, endpoint=endpoint.url, limit=limit_s)
    except NotAnswering as error:
        answer = _unreachable("unexpected_answer", kind, endpoint=endpoint.url, detail=error)
    except OSError:
        answer = _unreachable("daemon_stopped", kind, endpoint=endpoint.url)
    if endpoint.socket_path:
        answer["user_has_access"] = may_use_socket(machine, account, endpoint.socket_path)
    return answer


def connect(machine: Machine, endpoint: Endpoint, limit_s: float) -> http.client.HTTPConnection:
    """Return a connection to the engine, by its socket or by TCP; not yet connected."""
    if endpoint.socket_path:
        return UnixConnection(machine.path(endpoint.socket_path), limit_s)
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=limit_s)


def _explain_no_socket(machine: Machine) -> dict[str, Any]:
    if machine.find_command("dockerd"):
        return _unreachable("daemon_stopped", "native", reason="no_socket", program="Docker", unit="docker")
    if machine.find_command("podman"):
        return _unreachable("daemon_stopped", "podman", reason="no_socket", program="Podman", unit="podman.socket")
    if any(machine.exists(path) for path in _DESKTOP_SIGNS):
        return _unreachable("daemon_stopped", "desktop", reason="desktop_stopped")
    return _unreachable("absent", "none", reason="cli_only" if machine.find_command("docker") else "absent")


def _unreachable(code: str, kind: str, reason: str | None = None, **facts: Any) -> dict[str, Any]:
    return unreachable_engine(code, kind, _REASONS[reason or code].format(**facts), facts.get("endpoint"))


def unreachable_engine(code: str, kind: str, reason: str, endpoint: str | None = None) -> dict[str, Any]:
    """Return the shape of find_engine for an engine that cannot be used, with the C(reason) as a sentence."""
    return {
        "kind": kind,
        "reachable": False,
        "code": code,
        "reason": reason,
        "endpoint": endpoint,
        "user_has_access": None,
        "version": None,
        "api_version": None,
        "cgroup_version": None,
        "runtimes": [],
        "nvidia_runtime": False,
        "rootless": None,
    }


def _process_user() -> str:
    return user_name(os.geteuid()) or f"uid {os.geteuid()}"


def _without_credentials(url: str) -> str:
    """Return an address without the user and password that it may carry."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
