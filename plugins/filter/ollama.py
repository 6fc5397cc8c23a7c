# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the tasks of the role ollama read while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .tables import probe_table


def ollama_previous(host: Mapping[str, Any], port: int | str) -> dict[str, Any]:
    """Return what the recorded route uses of Ollama, or a switch that was broken off had still to unload, and where that Ollama is."""
    from ..module_utils.plan.ollama_outcome import previous

    return previous(host, int(port))


def ollama_outcome(
    decision: Mapping[str, Any], host: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what follows from what the tasks have brought so far."""
    # Every process that Ansible forks for a task loads this file, and few need what these functions import.
    from ..module_utils.plan.ollama_outcome import Outcome

    found = Outcome(decision, host, results).as_result()
    proof = results.get("proof") or {}
    if "probes" in proof and "failure" not in proof:
        found["lines"] += probe_table(dict(proof))
    return found


def ollama_restored(result: Mapping[str, Any]) -> str:
    """Return what came of the attempt to put the Ollama back that an upgrade replaced."""
    from ..module_utils.plan.ollama_outcome import restored_in_words

    return restored_in_words(result)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "ollama_previous": ollama_previous,
            "ollama_outcome": ollama_outcome,
            "ollama_restored": ollama_restored,
        }
