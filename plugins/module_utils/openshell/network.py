# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The networks of the host's Docker, and the address by which a sandbox on one reaches the host (upstream-facts O8).

It calls the docker command, which every host with the docker driver has, and needs no Python library.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from ..failure import quote
from ..host.machine import Account, CommandResult, Machine
from ..host.sockets import is_of_this_host
from ..untrusted import list_of, object_of, parse_json

CALL_LIMIT_S = 20.0
# How OpenShell marks its network (upstream-facts O8).
_LABEL = "openshell.ai/managed-by=openshell"


class Unavailable(Exception):
    """Why nothing could be probed, as a sentence without its full stop."""


@dataclass(frozen=True)
class Network:
    """A bridge network: subnet and gateway as text, what the sandbox's name for the host resolves to, the bridge's own name."""

    name: str
    subnet: str | None
    gateway: str | None
    alias: str
    bridge: str | None = None


@dataclass
class Docker:
    """The docker command of a host, as one of its users."""

    machine: Machine
    account: Account
    path: str
    system: str = ""

    def network(self, name: str | None, fallback: str | None = None) -> Network:
        """Return OpenShell's network; C(name) is what it is called, None looks for it by name and by label.

        C(fallback) is taken where there is none yet.

        Raises:
            Unavailable: There is none, or it shows no IPv4 gateway.

        """
        wanted = name or self.machine.environ.get("OPENSHELL_DOCKER_NETWORK_NAME") or "openshell-docker"
        found = self._inspect("network", wanted)
        if found is None and name is None:
            listing = self._run(["network", "ls", "--filter", f"label={_LABEL}", "--format", "{{.Name}}"])
            names = listing.output.split() if listing.code == 0 else []
            wanted, found = (names[0], self._inspect("network", names[0])) if names else (wanted, None)
            if found is None and fallback:
                wanted, found = fallback, self._inspect("network", fallback)
        if found is None:
            raise Unavailable(f"Docker has no network {wanted}, which OpenShell's gateway makes when it starts")
        subnet, gateway = _ipv4(list_of(object_of(found.get("IPAM")).get("Config")))
        gateway = gateway or _first_address(subnet)
        bridge = (
            object_of(found.get("Options")).get("com.docker.network.bridge.name") or f"br-{str(found.get('Id'))[:12]}"
        )
        if self.system == "desktop":
            # Its bridge lies in a virtual machine; the host is elsewhere (upstream-facts N22).
            return Network(wanted, subnet, gateway, "host-gateway")
        if gateway is None:
            raise Unavailable(f"the network {wanted} shows no IPv4 gateway, so the host has no address on it")
        return Network(wanted, subnet, gateway, gateway, str(bridge))

    def _inspect(self, what: str, name: str) -> dict[str, Any] | None:
        answer = self._run([what, "inspect", name])
        if answer.code != 0:
            return None
        try:
            return object_of(list_of(parse_json(answer.output))[0])
        except (ValueError, IndexError):
            return None

    def _run(self, words: list[str], limit_s: float = CALL_LIMIT_S) -> CommandResult:
        return self.machine.run([self.path, *words], limit_s, self.account)


def find_docker(machine: Machine, account: Account) -> Docker:
    """Return the docker command with an engine that answers to this user.

    Raises:
        Unavailable: There is none, or it does not answer.

    """
    path = machine.find_command("docker")
    if path is None:
        raise Unavailable("the host has no docker command")
    asked = machine.run([path, "info", "--format", "{{.ServerVersion}}|{{.OperatingSystem}}"], CALL_LIMIT_S, account)
    version, separator, system = (asked.output.strip().splitlines() or [""])[-1].partition("|")
    if asked.code != 0 or not separator or not version:
        raise Unavailable(f"Docker does not answer to the user {account.name}: {words_of(asked)}")
    return Docker(machine, account, path, "desktop" if "docker desktop" in system.lower() else "native")


def _ipv4(config: list[Any]) -> tuple[str | None, str | None]:
    """Return subnet and gateway of the first IPv4 entry of a network (upstream-facts O8)."""
    for entry in map(object_of, config):
        try:
            subnet = ipaddress.IPv4Network(str(entry.get("Subnet")))
        except ValueError:
            continue
        gateway = str(entry.get("Gateway") or "")
        return str(subnet), gateway.partition("/")[0] or None
    return None, None


def _first_address(subnet: str | None) -> str | None:
    """Return the gateway that Docker gave its own bridge and does not tell before it was started anew (20.10); None where it is none."""
    first = str(ipaddress.IPv4Network(subnet)[1]) if subnet else ""
    return first if first and is_of_this_host(first) else None


def words_of(answer: CommandResult) -> str:
    """Return what a command of Docker said."""
    return quote(answer.output, "", 300) or answer.problem or f"exit status {answer.code}"
