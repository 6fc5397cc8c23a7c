# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is wanted of the service, what is done about it, and how long we wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Address, Daemon
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import identify
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd

_POLL_S = 0.2


@dataclass(frozen=True)
class Wish:
    """What is wanted: C(started), C(stopped) or C(absent) (our drop-in), on a port, with more variables for the service."""

    state: str
    port: int
    environment: dict[str, Any]
    enabled: bool
    timeout: float


@dataclass
class Report:
    """What the module returns."""

    changed: bool = False
    restarted: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    path: str | None = None

    def plan(self, action: str) -> None:
        """Note something that is done, or would be in check mode."""
        self.changed = True
        self.actions.append(action)


def wait_until_answering(wish: Wish, systemd: Systemd | None, unit: str) -> None:
    """Wait until Ollama answers on the port."""
    deadline = Deadline(wish.timeout)
    while True:
        try:
            identify(Daemon(Address("127.0.0.1", wish.port), limit=2))
            return
        except Failure as failure:
            state = systemd.show(unit) if systemd else None
            if deadline.remaining and not (state and state.active == "failed"):
                deadline.sleep(_POLL_S)
                continue
            seen = f"the service {unit} is {state.active} ({state.result})" if state else "it runs without a service"
            log = (
                f"journalctl -u {unit}; its end is in failure.last_logs" if state else "~/.ollama/serve.log of its user"
            )
            raise Failure(
                "ollama_not_started",
                f"Started Ollama and waited {deadline.elapsed:.0f} s for it to answer on 127.0.0.1:{wish.port}: {seen}. Look at its "
                f"log ({log}).",
                last_state=state.active if state else None,
                last_logs=systemd.last_logs(unit) if systemd else [],
            ) from failure
