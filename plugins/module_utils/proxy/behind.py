# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What stands behind a gate is reached through it alone: an Ollama that left loopback is brought back, another server is named."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.exposure import (
    exposed,
    open_listeners,
    require_loopback,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import find_listeners
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import dropin
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.processes import is_ollama
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.service import converge
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import Wish

# As the module ollama_service waits by default.
_START_S = 60
# What our own drop-in has, as dropin.render() writes it.
_ASSIGNED = re.compile(r'^Environment="((?:[^"\\]|\\.)*)"$', re.MULTILINE)


def find_open(machine: Machine, ports: set[int]) -> list[dict[str, Any]]:
    """Return the listeners on the ports of what stands behind gates that others than this host reach."""
    return open_listeners(find_listeners(machine, ports))


def bring_to_loopback(machine: Machine, account: Account, ports: set[int], check_mode: bool) -> list[str]:
    """Bring each Ollama on the ports that is open to the network back to loopback, and return what was done.

    Raises:
        Failure: C(engine_exposed) for a server that is not ours to move; the codes of C(ollama_service).

    """
    actions: list[str] = []
    for port in sorted(ports):
        found = find_open(machine, {port})
        if not found:
            continue
        # Root in a container may not see who listens; what does is asked then, and answers as Ollama or does not.
        if not all(is_ollama(one) for one in found if one["process"]):
            raise exposed(machine, port, found)
        wish = Wish("started", port, kept_environment(machine), True, _START_S)
        try:
            report, _after = converge(machine, account, wish, check_mode)
        except Failure as failure:
            raise exposed(machine, port, found) if failure.code == "not_ollama" else failure from None
        actions += report.actions
        if not check_mode:
            require_loopback(machine, port)
    return actions


def kept_environment(machine: Machine) -> dict[str, str]:
    """Return the variables that our drop-in has besides the address: whoever set them wants them still."""
    words = [word for text in dropin.find(machine).values() for word in _ASSIGNED.findall(text)]
    pairs = (re.sub(r"\\(.)", r"\1", word).replace("%%", "%").split("=", 1) for word in words)
    return {name: value for name, value in pairs if name != "OLLAMA_HOST"}
