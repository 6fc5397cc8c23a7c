# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Where a daemon of this host keeps its models, what of a download is there already, and whether the rest has room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import find_listeners
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Address
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.models.names import ModelName
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.models.registry import Size
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import environment, processes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import UNIT
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions.disk import Need, check_space

_VARIABLE = "OLLAMA_MODELS"
_BELOW_HOME = ".ollama/models"
# Of the user that Ollama's own installer and ollama_install make.
_SYSTEM_STORE = "/usr/share/ollama/.ollama/models"
_BLOCK = 512  # st_blocks of stat(2)


def find_store(machine: Machine, address: Address, account: Account) -> str | None:
    """Return the folder of a daemon's models, None for a daemon that is not on this host.

    By what its process was given, as far as we may see it; else by what its unit gives it, and its user's home. Where no daemon is yet,
    it is where the service will have it.
    """
    if not address.is_loopback:
        return None
    listener = next(iter(find_listeners(machine, [address.port])), None)
    given = processes.environment_of(machine, listener["pid"]) if listener and listener["pid"] else None
    if given is not None:
        return _by(given, None)
    if Systemd.is_running(machine):
        unit = Systemd(machine).show(UNIT)
        if unit.known:
            files = environment.in_files(machine, unit, _VARIABLE)
            own = {_VARIABLE: str(files[-1].value)} if files else unit.environment
            return _by(own, unit.user or "root")
        return _SYSTEM_STORE
    return _by({}, listener["user"] if listener else account.name)


def check_room(name: ModelName, size: Size, store: str, machine: Machine) -> None:
    """Check that what is still to come of a model has room where it will lie.

    Raises:
        Failure: C(disk_too_small).

    """
    if size.bytes is None:
        return
    place = machine.path(store)
    there = sum(min(_stored(place, digest), whole) for digest, whole in size.layers.items())
    rest = f" (what is still to come of {size})" if there else ""
    check_space(
        [Need(f"the model {name}{rest}", str(place), max(0, size.bytes - there))],
        remedy="Make room there, or have the daemon keep its models on a larger file system: OLLAMA_MODELS in its service "
        "(ollama_environment)",
    )


def _by(given: Mapping[str, str], user: str | None) -> str | None:
    if given.get(_VARIABLE):
        return given[_VARIABLE]
    home = given.get("HOME")
    if not home and user:
        try:
            home = find_account(user).home
        except Failure:
            return None
    return f"{home}/{_BELOW_HOME}" if home else None


def _stored(store: Path, digest: str) -> int:
    """Return the bytes of a blob that are on the disk, whole or in part; 0 where we may not look."""
    blob = store / "blobs" / digest.replace(":", "-")
    for path in (blob, Path(f"{blob}-partial")):
        try:
            facts = path.stat()
        except OSError:
            continue
        # A part has its full length from the beginning, with holes in it.
        return min(facts.st_size, facts.st_blocks * _BLOCK)
    return 0
