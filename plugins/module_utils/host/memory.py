# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The host's memory, from /proc/meminfo."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


class Memory(NamedTuple):
    """MiB, rounded down as C(free -m) does; None where the kernel does not say."""

    total_mib: int | None
    available_mib: int | None


def parse_meminfo(text: str | None) -> Memory:
    """Return the total, and what the kernel thinks a new process can get without swapping (MemAvailable).

    MemAvailable and not MemFree: page cache holds nearly all of an idle host's memory, and it is the figure that the
    model choice needs on unified memory (upstream-facts N2, upstream issue 3251).
    """
    found = {key: int(kib) // 1024 for key, kib in _LINE.findall(text or "")}
    return Memory(found.get("MemTotal"), found.get("MemAvailable"))
