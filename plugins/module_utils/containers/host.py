# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a managed container has to know of its host: whose it is, its GPUs, its profile. Looked at once, when it is asked for."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ..host.gpus import find_gpus, parse_meminfo
from ..host.machine import Account, Machine
from ..host.platform import normalise_architecture, read_platform, refine_by_gpu_names, vllm_profile


class Host:
    """A host that runs a managed container for an account."""

    def __init__(self, machine: Machine, account: Account) -> None:
        self.machine = machine
        self.account = account

    @functools.cached_property
    def gpus(self) -> dict[str, Any]:
        """C(nemoclaw_host.gpus)."""
        memory = parse_meminfo(self.machine.read("/proc/meminfo"))
        return find_gpus(self.machine, read_platform(self.machine).name, memory)

    @property
    def profile(self) -> str:
        """C(nemoclaw_host.profile)."""
        unified = [one["name"] for one in self.gpus["devices"] if one["trusted"] and one["unified_memory"]]
        platform = refine_by_gpu_names(read_platform(self.machine), unified)
        return vllm_profile(platform.name, self.gpus["count"] > 0)

    @property
    def architecture(self) -> str:
        """C(nemoclaw_host.architecture)."""
        return normalise_architecture(self.machine.architecture)

    def folder(self, given: str, default: str) -> str:
        """Return the folder that an option names, with C(~) of the account; the default lies in its home."""
        path = given.strip() or default
        if path == "~" or path.startswith("~/"):
            path = path[2:]
        return str(Path(self.account.home) / path)
