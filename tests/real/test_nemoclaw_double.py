# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of NemoClaw's program refuses what it does not know, so that a misspelt flag or setting fails a test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nemoclaw_double
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.program import PASSED_ON
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.wish import ONBOARD, Wish, environment
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

SETTINGS = environment(
    Wish(
        "lab",
        build_route(
            provider="custom", base_url="http://127.0.0.1:9/v1", model="m", api="openai-completions", timeout=9
        ),
    )
)


def run(tmp_path: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    double = nemoclaw_double.install(tmp_path / "double")
    double.behave("preflight")
    path = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(
        [double.program, *words], env={**path, **settings}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("words", "settings", "says"),
    [
        ([*ONBOARD, "--skip-verify"], SETTINGS, "Unknown onboard option(s): --skip-verify"),
        ([*ONBOARD, "extra"], SETTINGS, "Unknown onboard option(s): extra"),
        ([*ONBOARD, "--name"], SETTINGS, "--name requires a value"),
        (["onboard"], {**SETTINGS, "NEMOCLAW_NON_INTERACTIVE": ""}, "it asks no questions"),
        (ONBOARD, {**SETTINGS, "NEMOCLAW_ENDPOINT": "x"}, "unknown settings NEMOCLAW_ENDPOINT"),
        (ONBOARD, {**SETTINGS, "NEMOCLAW_PROVIDER": "compatible"}, "Unsupported NEMOCLAW_PROVIDER"),
        (
            ONBOARD,
            {**SETTINGS, "NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE": "true"},
            "requires --yes-i-accept-third-party-software",
        ),
        (["install"], {}, "Unknown command: install"),
        (["inference", "set", "--provider", "ollama-local", "--model", "m", "--timeout", "9"], {}, "--timeout"),
        (["inference", "set", "--provider", "another", "--model", "m"], {}, "Unsupported provider"),
        (["inference", "set", "--provider", "ollama-local", "--model", "m", "--sandbox", "x"], {}, "is not registered"),
    ],
)
def test_what_it_does_not_know(tmp_path: Path, words: list[str], settings: dict[str, str], says: str) -> None:
    done = run(tmp_path, *words, **settings)
    assert done.returncode in (1, 2)
    assert says in done.stderr


def test_what_the_collection_says_is_known(tmp_path: Path) -> None:
    done = run(tmp_path, *ONBOARD, **SETTINGS, **dict.fromkeys(PASSED_ON, "1"))
    assert "Docker is not reachable" in done.stderr, "it got past every flag and setting"
    assert run(tmp_path / "second", "--version").stdout == f"nemoclaw v{nemoclaw_double.VERSION}\n"
