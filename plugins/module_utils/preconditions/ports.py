# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether the port of a server is free where it will listen, and who has it if it is not."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import find_listeners


def check_port(
    machine: Machine, port: int, addresses: Collection[str], published: Mapping[int, str] | None = None
) -> None:
    """Refuse a port that somebody listens on, at one of the addresses or at all.

    Call it only where no container of ours has the port itself.

    Args:
        machine: The host.
        port: The TCP port.
        addresses: Where it will be published, for example C(127.0.0.1) and the bridge's gateway.
        published: Names of running containers by the port of the host that they publish, for the sentence: Docker's own
            listeners tell no container's name.

    Raises:
        Failure: C(port_taken), naming who listens. It is never killed.

    """
    wanted = {ipaddress.ip_address(address) for address in addresses}
    for listener in find_listeners(machine, [port]):
        if (
            listener["scope"] != "any"
            and ipaddress.ip_address(listener["address"].replace("::ffff:", "")) not in wanted
        ):
            continue
        container = (published or {}).get(port)
        raise Failure(
            "port_taken",
            f"Looked at the port {port} for the server: {_holder(listener, container)} listens on {listener['address']}. Stop it, "
            "or choose another port (NEMOCLAW_VLLM_PORT).",
            port=port,
            address=listener["address"],
            process=listener["process"],
            pid=listener["pid"],
            user=listener["user"],
            container=container,
        )


def _holder(listener: Mapping[str, Any], container: str | None) -> str:
    if container:
        return f"the container {container}"
    if listener["process"]:
        return f"{listener['process']} (pid {listener['pid']}, user {listener['user'] or listener['uid']})"
    return f"a process of {listener['user'] or listener['uid']}"
