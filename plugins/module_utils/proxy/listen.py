# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What C(bridge) among the addresses of the auth proxy stands for on a host: its own address where sandboxes come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..failure import Failure
from ..host.machine import Account, Machine, find_account
from ..host.sockets import is_of_this_host
from ..openshell.network import Docker, Unavailable, find_docker
from ..profiles import BRIDGE
from .configuration import ProxySettings

# Docker's own network, which sandboxes come from until OpenShell has made its network.
_DOCKERS_OWN = "bridge"


def at_bridge(machine: Machine, account: Account, settings: ProxySettings) -> tuple[ProxySettings, list[str]]:
    """Return the settings with the address for C(bridge), and what is to be said about it.

    Args:
        machine: The host.
        account: Whose sandboxes. Root asks the engine where this user may not.
        settings: As they were given.

    Raises:
        Failure: C(proxy_bridge_unknown) where the engine does not tell, C(proxy_settings_invalid) where nothing is left to listen on.

    """
    if BRIDGE not in settings.listen:
        return settings, []
    address, said = _address(machine, account)
    found = [address if one == BRIDGE else one for one in settings.listen]
    listen = list(dict.fromkeys(one for one in found if one))
    if not listen:
        raise Failure("proxy_settings_invalid", f"proxy_listen is {BRIDGE} alone, and {said}. Name 127.0.0.1 as well.")
    notes = [f"The auth proxy listens on {', '.join(listen)}: {said}."] if said else []
    return replace(settings, listen=listen), notes


def _address(machine: Machine, account: Account) -> tuple[str, str]:
    """Return the address, empty where there is none, and what is to be said, empty for nothing."""
    if machine.find_command("docker") is None:
        return "", "this host has no Docker, so there is no bridge that sandboxes could come by"
    engine = _engine(machine, account)
    if engine.system == "desktop":
        return (
            "",
            "the bridge of Docker Desktop lies in a virtual machine, whose containers reach loopback by themselves",
        )
    try:
        network = engine.network(None, _DOCKERS_OWN)
    except Unavailable as error:
        raise _unknown(str(error)) from None
    address = str(network.gateway)
    if not is_of_this_host(address):
        return (
            "",
            f"{address}, the gateway of the network {network.name}, is no address of this host (a rootless engine?)",
        )
    if network.name == _DOCKERS_OWN:
        return address, (
            "OpenShell's network is not there yet, so the last one is of Docker's own bridge. Run this again once OpenShell has made its "
            "network, from where sandboxes reach another address"
        )
    return address, ""


def _engine(machine: Machine, account: Account) -> Docker:
    problems = []
    for one in _askers(account):
        try:
            return find_docker(machine, one)
        except Unavailable as error:
            problems.append(str(error))
    raise _unknown(problems[0])


def _askers(account: Account) -> Iterator[Account]:
    yield account
    if find_account(None).uid != account.uid:
        yield find_account(None)


def _unknown(problem: str) -> Failure:
    return Failure(
        "proxy_bridge_unknown",
        f"Asked Docker for the address of the sandboxes' bridge, on which the auth proxy is to listen (proxy_listen): {problem}. Start "
        "Docker, or name the addresses in proxy_listen.",
    )
