# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which failures may pass by themselves, and how long to wait for that."""

from __future__ import annotations

from collections.abc import Collection
from typing import Callable, TypeVar

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

Result = TypeVar("Result")

# Codes that a wait can cure, with the most tries each is worth. A busy or loading server gets the whole time limit, a
# model that crashes does not: it will crash again (upstream-facts N18; NemoClaw #8714).
_TRIES = {"rate_limited": 1000, "server_busy": 1000, "timeout": 3, "connection_lost": 3, "server_error": 3}

# Seconds between tries: short at first, because most loads end soon, then no more often than NemoClaw's last step.
_WAITS = (1, 2, 4, 8, 15)

# A time-out must leave time for another try: each attempt gets this share of what is left.
SHARE_OF_A_TRY = 2 / 3


def with_retries(
    attempt: Callable[[float], Result],
    deadline: Deadline,
    share: float = SHARE_OF_A_TRY,
    final: Collection[str] = (),
) -> Result:
    """Return what the attempt returns, trying again while that can help and the deadline allows it.

    Args:
        attempt: Called with the seconds it may take.
        deadline: The limit over everything.
        share: How much of the remaining time one attempt may take.
        final: Codes that are not worth another try this time.

    Raises:
        Failure: The last one; its sentence counts the tries when there were several.

    """
    tries = 0
    while True:
        tries += 1
        try:
            return attempt(deadline.remaining * share)
        except Failure as failure:
            wait = float(_WAITS[min(tries, len(_WAITS)) - 1])
            wait = max(wait, failure.details.get("retry_after") or 0)
            most = 1 if failure.code in final else _TRIES.get(failure.code, 1)
            if tries >= most or wait >= deadline.remaining:
                if tries > 1:
                    failure.message += (
                        f" This was try {tries}, {deadline.elapsed:.0f} s into the limit of {deadline.seconds:.0f} s."
                    )
                raise
            deadline.sleep(wait)
