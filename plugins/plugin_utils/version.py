# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which release of the collection this controller runs."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import yaml

_TOP = Path(__file__).resolve().parents[2]


@functools.cache
def collection_version() -> str:
    """Return the version: of the manifest where the collection was installed, of galaxy.yml in a clone."""
    manifest = _TOP / "MANIFEST.json"
    if manifest.exists():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(yaml.safe_load((_TOP / "galaxy.yml").read_text(encoding="utf-8"))["version"])
