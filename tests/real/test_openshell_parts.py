# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test infrastructure itself: what was recorded is what the real CLIs print, and the stand-in refuses what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import openshell_parts
import pytest
import record_openshell


def run(
    gateway: openshell_parts.Gateway, home: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "OPENSHELL_GATEWAY_ENDPOINT": gateway.endpoint}
    return subprocess.run(
        [str(gateway.cli), *words], env={**own, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("release", openshell_parts.RELEASES)
def test_the_recorded_outputs_are_those_of_the_real_cli(openshell_home: Path, release: str, tmp_path: Path) -> None:
    recorded = json.loads((record_openshell.FIXTURES / f"{release}.json").read_text(encoding="utf-8"))
    said = record_openshell.record(release, tmp_path)
    assert said.keys() == recorded.keys()
    # The CLI wraps its errors, and this one has the length of the home's path in it.
    for name in said.keys() - {"no-certificates"}:
        assert said[name] == recorded[name]


def test_a_secret_arrives_as_it_is(gateway: openshell_parts.Gateway, tmp_path: Path) -> None:
    secret = "a'b\"c%d$e\nf"
    said = run(
        gateway, tmp_path, "provider", "create", "--name", "p", "--type", "openai", "--credential", "K", K=secret
    )
    assert said.returncode == 0, said.stderr
    assert gateway.known()["providers"]["p"]["credentials"] == {"K": secret}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("provider create --name p --type no-such-type --credential K", "no"),
        ("settings set --global --key ocsf_json_enabled --value true --yes", "not found"),
        ("sandbox create --name s --from lab/ready:1 --provider nobody -- true", "nobody"),
    ],
)
def test_the_stand_in_refuses_what_it_does_not_know(
    gateway: openshell_parts.Gateway, tmp_path: Path, words: str, reason: str
) -> None:
    said = run(gateway, tmp_path, *words.split(), K="k")
    assert said.returncode == 1
    assert reason in " ".join(said.stderr.replace("\u2502", "").split())
    assert gateway.known()["providers"] == {}
    assert gateway.known()["sandboxes"] == {}
