# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Run independent probes side by side, each under the same limit, so that the slowest one sets the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any


def run_together(probes: Mapping[str, Callable[[], Any]], limit_s: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Run every probe in a thread of its own and return their answers and the reasons of those without one.

    Args:
        probes: What to call, by name.
        limit_s: Seconds for all of them together; a probe that is not back by then is left behind (the threads are
            daemons, so it cannot keep the process alive).

    Returns:
        C({name: answer}) with None for a probe that failed, and C({name: sentence}) for those.

    """
    answers: dict[str, Any] = dict.fromkeys(probes)
    problems: dict[str, str] = {}

    def call(name: str, probe: Callable[[], Any]) -> None:
        try:
            answer = probe()
        except Exception as error:  # a probe met something nobody foresaw: the other facts are still wanted
            problems[name] = f"The {name} probe failed: {type(error).__name__}: {error}."
        else:
            answers[name] = answer

    threads = {
        name: threading.Thread(target=call, args=(name, probe), name=f"probe-{name}", daemon=True)
        for name, probe in probes.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + limit_s
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0))
        if thread.is_alive():
            problems[name] = f"The {name} probe did not answer within {limit_s:g} s."
    # Copies: a probe left behind may still write to its own.
    return dict(answers), dict(problems)
