# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What NemoClaw has recorded of its sandboxes: C(~/.nemoclaw/sandboxes.json) (upstream-facts N37).

The file is read and not C(nemoclaw list), which takes in what it finds on the gateway and so writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.files import read_file
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import STATE_DIRECTORY
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import object_of, parse_json

REGISTRY_NAME = "sandboxes.json"


@dataclass(frozen=True)
class Recorded:
    """A sandbox of NemoClaw's: provider is OpenShell's name of one; both are None where NemoClaw does not know."""

    name: str
    provider: str | None
    model: str | None


def find_recorded(home: str, name: str) -> Recorded | None:
    """Return what NemoClaw knows of the sandbox of that name, None where it has none.

    Raises:
        Failure: C(nemoclaw_registry_unreadable).

    """
    entry = _sandboxes(home).get(name)
    return Recorded(name, _text(entry, "provider"), _text(entry, "model")) if isinstance(entry, dict) else None


def recorded_names(home: str) -> list[str]:
    """Return the names of all sandboxes that NemoClaw knows.

    Raises:
        Failure: C(nemoclaw_registry_unreadable).

    """
    return sorted(_sandboxes(home))


def _sandboxes(home: str) -> dict[str, Any]:
    path = Path(home) / STATE_DIRECTORY / REGISTRY_NAME
    try:
        content = object_of(parse_json(read_file(path)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(
            "nemoclaw_registry_unreadable",
            f"NemoClaw's list of sandboxes {path} cannot be read: {error}. So nothing was changed. Look at it as its user, and "
            "run nemoclaw list, which makes it anew from the gateway.",
        ) from error
    return object_of(content.get("sandboxes"))


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    return value if isinstance(value, str) else None
