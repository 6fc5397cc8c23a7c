# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How a fleet is cut into waves, and when a rollout stops: pure functions of what the user wrote and of counts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils.failure import Failure

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")


@dataclass(frozen=True)
class Amount:
    """A number of hosts, or a share of them in percent."""

    value: float
    is_share: bool

    def of(self, total: int) -> int:
        """Return how many hosts that is; a share is rounded up, so that it is never nobody."""
        return min(total, math.ceil(total * self.value / 100) if self.is_share else int(self.value))

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.is_share else f"{self.value:g}"


def read_waves(value: Any) -> list[Amount]:
    """Return the waves that the user wrote: how many hosts each of them reaches, those before it included."""
    items = [one.strip() for one in value.strip("[] ").split(",")] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise _refuse("rollout_waves", value, "a list such as [1, 10%, 50%, 100%]")
    waves = [_read_amount("rollout_waves", one, least=1) for one in items]
    if not (waves[-1].is_share and waves[-1].value == 100):
        raise Failure(
            "rollout_settings",
            f"rollout_waves ends with {waves[-1]}, so the rest of the hosts would never be reached. Each wave says how many hosts are "
            "changed by its end, so the last one is 100%. To change a part of the fleet, name it with nemoclaw_hosts or --limit.",
        )
    for before, after in zip(waves, waves[1:]):
        if before.is_share == after.is_share and before.value >= after.value:
            raise Failure(
                "rollout_settings",
                f"rollout_waves has {after} after {before}. Each wave says how many hosts are changed by its end, so the numbers rise: "
                "for example [1, 10%, 50%, 100%].",
            )
    return waves


def cut(hosts: Sequence[str], waves: Iterable[Amount], first: int = 0) -> list[list[str]]:
    """Return the hosts of each wave. One that would add nobody, as 10% of five hosts after the first one does, is left out.

    Args:
        hosts: In their order.
        waves: How many are reached by the end of each.
        first: How many the first wave has at least, as many as canaries were named.

    """
    found: list[list[str]] = []
    done = 0
    for wave in waves:
        end = max(wave.of(len(hosts)), first)
        if end > done:
            found.append(list(hosts[done:end]))
            done = end
    return found


def in_order(hosts: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return each host once, those that are to be first before the others."""
    known = list(dict.fromkeys(hosts))
    return list(dict.fromkeys([*(one for one in first if one in known), *known]))


def read_limit(value: Any) -> Amount:
    """Return how many hosts may fail: a number, or a share of those that were reached so far."""
    return _read_amount("rollout_max_failures", value, least=0)


def is_beyond(limit: Amount, failed: int, reached: int) -> bool:
    """Tell whether more hosts have failed than may."""
    return failed * 100 > limit.value * reached if limit.is_share else failed > limit.value


def read_seconds(name: str, value: Any) -> int:
    """Return a time that the user wrote, in seconds."""
    if re.fullmatch(r"\d+", str(value).strip()) and not isinstance(value, bool):
        return int(value)
    raise _refuse(name, value, "a number of seconds")


def read_downloads(value: Any) -> int:
    """Return how many hosts of a site may download at the same time, 0 for all."""
    if re.fullmatch(r"\d+", str(value).strip()) and not isinstance(value, bool):
        return int(value)
    raise _refuse("rollout_downloads", value, "a number of hosts, with 0 for all of them")


def _read_amount(name: str, value: Any, least: int) -> Amount:
    written = str(value).strip()
    share = _SHARE.fullmatch(written)
    if share and least <= float(share.group(1)) <= 100:
        return Amount(float(share.group(1)), is_share=True)
    if not isinstance(value, bool) and re.fullmatch(r"\d+", written) and int(written) >= least:
        return Amount(int(written), is_share=False)
    raise _refuse(name, value, f"a number of hosts from {least}, or a share from {least}% to 100%")


def _refuse(name: str, value: Any, right: str) -> Failure:
    return Failure(
        "rollout_settings",
        f"{name} has {value!r}, which is not {right}. Nothing was changed. Correct it and start again.",
    )
