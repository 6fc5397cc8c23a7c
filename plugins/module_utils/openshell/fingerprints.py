# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What was last given to the gateway, known by its keyed hash: the gateway itself shows no value again.

One JSON file per user, mode 0600. An entry holds for one provider (by the id that the gateway gave it) and for one version
of it, so a change that anybody else made is noticed (upstream-facts O5).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.files import read_file, replace_file
from ..route.record import record_path
from ..untrusted import object_of, parse_json

STATE_NAME = "openshell-providers.json"
_KEY_BYTES = 32


def state_path(home: str) -> str:
    """Return where the file of the user with this home lies: beside the route record, with the same rules.

    Raises:
        Failure: C(home_refused).

    """
    return str(Path(record_path(home)).with_name(STATE_NAME))


@dataclass
class Remembered:
    """The file's content. The key is made on first use; without it, nothing in the file says anything about a secret."""

    key: str = field(default_factory=lambda: secrets.token_hex(_KEY_BYTES), repr=False)
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fingerprint(self, kind: str, credentials: Mapping[str, str], config: Mapping[str, str]) -> str:
        """Return what tells two settings of a provider apart, for who has the key."""
        content = json.dumps([kind, sorted(credentials.items()), sorted(config.items())])
        return hmac.new(self.key.encode(), content.encode(), hashlib.sha256).hexdigest()

    def holds(self, provider_id: str, version: int, fingerprint: str) -> bool:
        """Tell whether this version of the provider is what was given with this fingerprint."""
        entry = self.providers.get(provider_id, {})
        same = hmac.compare_digest(str(entry.get("fingerprint", "")), fingerprint)
        return same and entry.get("resource_version") == version

    def fingerprint_of(self, provider_id: str) -> str | None:
        """Return the fingerprint that was kept of a provider."""
        found = self.providers.get(provider_id, {}).get("fingerprint")
        return found if isinstance(found, str) else None


def read_state(path: str) -> Remembered:
    """Return what is remembered. A file that is absent, or that nobody can read any more, remembers nothing."""
    try:
        content = object_of(parse_json(read_file(path).decode("utf-8")))
    except (OSError, ValueError):
        return Remembered()
    key, providers = content.get("key"), object_of(content.get("providers"))
    if not isinstance(key, str) or len(key) < _KEY_BYTES:
        return Remembered()
    return Remembered(key, {name: entry for name, entry in providers.items() if isinstance(entry, dict)})


def write_state(path: str, remembered: Remembered) -> None:
    """Replace the file in one step.

    Raises:
        Failure: C(openshell_state_unwritable).

    """
    content = json.dumps({"schema": 1, "key": remembered.key, "providers": remembered.providers}, indent=2) + "\n"
    try:
        Path(path).parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(path, content, 0o600)
    except OSError as error:
        raise Failure(
            "openshell_state_unwritable",
            f"{path}, where the fingerprints of the gateway's providers are kept, cannot be written: {error.strerror or error}. "
            "Check the folder's owner and the room on the disk.",
            path=path,
        ) from error
