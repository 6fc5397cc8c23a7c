# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of tests/servers that loads models; what the real Ollama can do is tested against it in tests/real."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[4] / "servers"))
import loading_ollama


@pytest.fixture
def double() -> Iterator[Any]:
    """Yield a daemon with one model that can use tools, one that cannot, and one of which it does not know."""
    with loading_ollama.running(
        {"a:1b": ["completion", "tools"], "plain:latest": ["completion"], "old:1b": None}
    ) as daemon:
        yield daemon
