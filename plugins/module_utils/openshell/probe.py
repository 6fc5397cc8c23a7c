# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether a sandbox could reach a port of this host: found out by a container on the sandboxes' own network.

Three outcomes (the page, Authenticated Reverse Proxy; upstream-facts N22): C(reachable); C(blocked), on which nothing may be
saved; C(unavailable), which says nothing about the way and lets the work go on with a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..failure import Failure
from ..host.accounts import Account
from ..host.machine import Machine
from ..host.sockets import find_listeners
from ..host.wsl import WINDOWS_HOST
from ..windows.presence import firewall_commands, hyper_v_command
from .bridge import (
    SANDBOX_NAMES,
    Network,
    Unavailable,
    find_docker,
)
from .firewall import (
    KEEP,
    allow_command,
    close_command,
    find_firewall,
)

REACHABLE = "reachable"
BLOCKED = "blocked"
UNAVAILABLE = "unavailable"

# NemoClaw's own image for this (upstream-facts N22).
DEFAULT_IMAGE = "busybox@sha256:73aaf090f3d85aa34ee199857f03fa3a95c8ede2ffd4cc2cdb5b94e566b11662"
# With colons, for the name of a model and its tag.
_PATH = re.compile(r"(/[A-Za-z0-9._:/-]*)?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Desired:
    """What is to be reached, and from where: timeout in seconds, for the connection; path is asked for over HTTP."""

    host: str = "host.openshell.internal"
    port: int = 11435
    path: str = ""
    network: str | None = None
    fallback_network: str | None = None
    image: str = DEFAULT_IMAGE
    busybox: str | None = None
    timeout: int = 5


def probe(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Return the module's result.

    Raises:
        Failure: C(port_invalid), C(probe_host_invalid), C(probe_path_invalid), C(timeout_invalid): the options make no sense.

    """
    _check(desired)
    result: dict[str, Any] = {
        "changed": False,
        "outcome": UNAVAILABLE,
        "reason": None,
        "hint": None,
        "command": None,
        "close_command": None,
        "firewall": None,
        "engine": None,
        "status": None,
        "network": desired.network,
        "subnet": None,
        "gateway": None,
        "image": None,
        "host": desired.host,
        "port": desired.port,
    }
    try:
        docker = find_docker(machine, account)
        result["engine"] = docker.system
        network = docker.network(desired.network, desired.fallback_network)
        result.update(network=network.name, subnet=network.subnet, gateway=network.gateway)
        result["image"] = docker.have_image(desired.image, desired.busybox, check_mode)
        try:
            answer = docker.open(result["image"], network, desired.host, desired.port, desired.timeout, desired.path)
        finally:
            result["changed"] = docker.added_image
    except Unavailable as reason:
        result.update(
            reason="not_probed",
            hint=f"Whether a sandbox reaches {desired.host}:{desired.port} could not be probed: {reason}. It may still work; prove it "
            "from a sandbox.",
        )
        return result
    if answer.open:
        result.update(outcome=REACHABLE, reason="open", status=answer.status)
    elif docker.system == "desktop" and desired.host == WINDOWS_HOST:
        result.update(outcome=BLOCKED, reason="windows", hint=_of_windows(desired, answer.said))
    elif docker.system == "desktop":
        # No failure there is fatal (upstream-facts N22): the path goes through Docker Desktop's own machine.
        result.update(
            reason="not_probed",
            hint=f"A container of Docker Desktop did not reach {desired.host}:{desired.port} ({answer.said}). Prove it from a sandbox.",
        )
    else:
        result.update(outcome=BLOCKED, **explain(machine, desired, network, answer.said))
    return result


def explain(machine: Machine, desired: Desired, network: Network, said: str) -> dict[str, Any]:
    """Return why a connection failed: nobody listens, nobody listens where the bridge is, or a firewall drops it."""
    at = f"{desired.host}:{desired.port} from the network {network.name}"
    if desired.host in (*SANDBOX_NAMES, network.gateway):
        listeners = find_listeners(machine, [desired.port])
        if not listeners:
            return {
                "reason": "not_listening",
                "hint": f"A sandbox cannot reach {at}, because nothing listens on port {desired.port} of this host. Start the "
                "server or the proxy, then run this again.",
            }
        if not any(_is_open_to(listener, str(network.gateway)) for listener in listeners):
            where = ", ".join(sorted({listener["address"] for listener in listeners}))
            return {
                "reason": "wrong_address",
                "hint": f"A sandbox cannot reach {at}, because what listens on port {desired.port} does so on {where} alone. Have it "
                f"listen on {network.gateway} or on all addresses, behind the proxy's token; never open an unprotected server.",
            }
    firewall = find_firewall(machine, network.bridge)
    command = allow_command(firewall, str(network.subnet), str(network.gateway), desired.port)
    way = f"{network.subnet} to {network.gateway}, TCP port {desired.port}"
    advice = (
        f"Run this, then this play again: {command}" if command else f"Open the path from {way}, then run this again."
    )
    kept = f"{KEEP[firewall.kind]} " if firewall.kind in KEEP else ""
    return {
        "reason": "firewall",
        "firewall": firewall.kind,
        "command": command,
        "close_command": close_command(firewall, str(network.subnet), str(network.gateway), desired.port),
        "hint": f"A sandbox cannot reach {at}: {said or 'no answer'}. The host's firewall blocks the path from the containers' "
        f"bridge. {kept}{advice}",
    }


def _of_windows(desired: Desired, said: str) -> str:
    """Return what to do about a port of Windows: there is no other way to it than the one that was tried."""
    look, allow = firewall_commands(desired.port)
    return (
        f"A container of Docker Desktop does not reach {desired.host}:{desired.port}, which is Windows: {said or 'no answer'}. Either "
        "nothing listens there, or on an address that Docker Desktop does not ask (OLLAMA_HOST there), or a firewall of Windows blocks it. "
        f"Look in PowerShell on Windows: Get-NetTCPConnection -State Listen -LocalPort {desired.port} | Select-Object "
        f"LocalAddress,OwningProcess; its firewall's rules for Ollama: {look}. As administrator, this opens the port for WSL and its "
        f"containers: {allow} (with mirrored networking: {hyper_v_command(desired.port)})."
    )


def _is_open_to(listener: dict[str, Any], gateway: str) -> bool:
    return bool(listener["scope"] == "any" or listener["address"].rpartition("::ffff:")[2] == gateway)


def _check(desired: Desired) -> None:
    if not 1 <= desired.port <= 65535:
        raise Failure("port_invalid", f"The port to probe is {desired.port}. Give one between 1 and 65535.")
    if not _HOST.fullmatch(desired.host):
        raise Failure(
            "probe_host_invalid",
            f"The host to probe is {desired.host!r}, which is no name or IPv4 address. Give a name that the sandbox uses, such as "
            "host.openshell.internal.",
        )
    if not _PATH.fullmatch(desired.path):
        raise Failure(
            "probe_path_invalid",
            f"The path to ask for is {desired.path!r}. Give one that begins with / and has letters, digits, dots, colons and dashes only, "
            "such as /api/version.",
        )
    if not 1 <= desired.timeout <= 60:
        raise Failure("timeout_invalid", f"The time limit of the probe is {desired.timeout} s. Give 1 to 60 seconds.")
