# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Versions of Ollama, compared. A file of its own: whoever only compares needs nothing of an installation."""

from __future__ import annotations

import re


def version_key(version: str) -> tuple[int, ...]:
    """Return what to compare versions by; a release candidate counts as its release."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3])


def is_older(version: str | None, minimum: str) -> bool:
    """Tell whether a version is below another; an unknown one is."""
    return version is None or version_key(version) < version_key(minimum)
