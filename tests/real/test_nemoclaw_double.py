# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The double of NemoClaw's program refuses what it does not know, and says what real releases were recorded to say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import nemoclaw_double
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.desired import (
    ONBOARD,
    Desired,
    environment,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import PASSED_ON
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from nemoclaw_releases import RECORDED, RELEASES

SETTINGS = environment(
    Desired(
        "lab",
        build_route(
            provider="custom", base_url="http://127.0.0.1:9/v1", model="m", api="openai-completions", timeout=9
        ),
    )
)


@pytest.fixture
def openshell_111(gateways: dict[str, openshell_parts.Gateway]) -> openshell_parts.Gateway:
    found = gateways["0.0.111"]
    found.forget()
    return found


def run(
    tmp_path: Path, *words: str, release: str = "0.0.58", behaviour: str = "preflight", **settings: str
) -> subprocess.CompletedProcess[str]:
    double = nemoclaw_double.install(tmp_path / "double", release)
    double.behave(behaviour)
    path = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(
        [double.program, *words],
        env={**path, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "settings", "says"),
    [
        ([*ONBOARD, "--skip-verify"], SETTINGS, "Nonexistent flag: --skip-verify"),
        ([*ONBOARD, "extra"], SETTINGS, "Nonexistent flag: extra"),
        ([*ONBOARD, "--name"], SETTINGS, "--name requires a value"),
        (["onboard"], {**SETTINGS, "NEMOCLAW_NON_INTERACTIVE": ""}, "it asks no questions"),
        (ONBOARD, {**SETTINGS, "NEMOCLAW_ENDPOINT": "x"}, "unknown settings NEMOCLAW_ENDPOINT"),
        (ONBOARD, {**SETTINGS, "NEMOCLAW_PROVIDER": "compatible"}, "Unsupported NEMOCLAW_PROVIDER"),
        (
            ONBOARD,
            {**SETTINGS, "NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE": "true"},
            "requires --yes-i-accept-third-party-software",
        ),
        (["install"], {}, "Sandbox 'install' does not exist."),
        (["inference", "set", "--provider", "ollama-local", "--model", "m", "--timeout", "9"], {}, "--timeout"),
        (["inference", "set", "--provider", "another", "--model", "m"], {}, "Unsupported provider"),
        (["inference", "set", "--provider", "ollama-local", "--model", "m", "--sandbox", "x"], {}, "is not registered"),
    ],
)
def test_what_it_does_not_know(tmp_path: Path, words: list[str], settings: dict[str, str], says: str) -> None:
    done = run(tmp_path, *words, **settings)
    assert done.returncode in (1, 2)
    assert says in done.stdout


def test_what_the_collection_says_is_known(tmp_path: Path) -> None:
    done = run(tmp_path, *ONBOARD, **SETTINGS, **dict.fromkeys(PASSED_ON, "1"))
    assert "Docker is not reachable" in done.stdout, "it got past every flag and setting"


@pytest.mark.parametrize("release", RELEASES)
def test_its_release(tmp_path: Path, release: str) -> None:
    assert run(tmp_path, "--version", release=release).stdout == f"nemoclaw v{RELEASES[release].version}\n"


# OpenShell's part of a recorded command: it knew a provider, and could not verify it.
OPENSHELL = """#!/bin/sh
case "$*" in
  *ollama-local*) printf "Error:   \u00d7 provider 'ollama-local' not found\\n" >&2; exit 1 ;;
  *--no-verify) exit 0 ;;
  "inference set"*) printf "Error:   \u00d7 failed to verify inference endpoint for provider 'compatible-endpoint' and\\n" >&2; exit 1 ;;
esac
"""


def recorded_commands() -> dict[str, tuple[list[str], int]]:
    """Return what release 0.0.58 said to each command, without what OpenShell said, and the exit status."""
    found = {}
    for part in (RECORDED / "0.0.58-commands.txt").read_text(encoding="utf-8").split("### nemoclaw ")[1:]:
        words, _end, said = part.partition("\n")
        said, _end, code = said.rpartition("rc=")
        found[words] = ([line for line in said.splitlines() if line.strip()], int(code))
    return found


def openshell_said(line: str) -> bool:
    return bool(re.match(r"Gateway inference|  (Route|Provider|Model|Version|Timeout):|  \u2502", line))


@pytest.mark.parametrize("words", recorded_commands())
def test_it_answers_commands_as_recorded(tmp_path: Path, words: str) -> None:
    said, code = recorded_commands()[words]
    (tmp_path / ".nemoclaw").mkdir()
    entry = {"name": "my-assistant", "provider": "compatible-endpoint", "model": "scripted"}
    content = {"sandboxes": {"my-assistant": entry}, "defaultSandbox": "my-assistant"}
    (tmp_path / ".nemoclaw" / "sandboxes.json").write_text(json.dumps(content), encoding="utf-8")
    program = tmp_path / "openshell"
    program.write_text(OPENSHELL, encoding="utf-8")
    program.chmod(0o755)
    asked = words.replace("bad model", "bad+model").split()
    asked = [word.replace("bad+model", "bad model") for word in asked]
    done = run(tmp_path, *asked, behaviour="unwritten", NEMOCLAW_OPENSHELL_BIN=str(program))
    assert done.returncode == code
    # The container's id in the recording is the real one's.
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert lines == [line for line in said if not openshell_said(line)]


@pytest.mark.parametrize(
    ("release", "behaviour", "recording", "settings"),
    [
        ("0.0.58", "no-registry", "0.0.58-onboard-no-registry.txt", {}),
        ("0.0.58", "unwell", "0.0.58-onboard-unwell.txt", {}),
        ("2026-08", "port-held", "2026-08-onboard-port-held.txt", {}),
        ("2026-08", "dockerfile", "2026-08-onboard-dockerfile-refused.txt", {}),
        (
            "2026-08",
            "well",
            "2026-08-onboard-private-endpoint.txt",
            {"NEMOCLAW_ENDPOINT_URL": "http://172.17.0.1:18181/v1"},
        ),
    ],
)
def test_it_onboards_as_recorded(
    tmp_path: Path,
    openshell_111: openshell_parts.Gateway,
    release: str,
    behaviour: str,
    recording: str,
    settings: dict[str, str],
) -> None:
    """It says nothing that the real one did not say, in the same order, with the same end and exit status."""
    route = {
        "NEMOCLAW_SANDBOX_NAME": "my-assistant",
        "NEMOCLAW_MODEL": "scripted",
        "NEMOCLAW_ENDPOINT_URL": "http://host.openshell.internal:18181/v1",
        "NEMOCLAW_OPENSHELL_BIN": str(openshell_111.cli),
        "OPENSHELL_GATEWAY_ENDPOINT": openshell_111.endpoint,
    }
    done = run(tmp_path, *ONBOARD, release=release, behaviour=behaviour, **{**SETTINGS, **route, **settings})
    text, _end, code = (RECORDED / recording).read_text(encoding="utf-8").rpartition("rc=")
    recorded, said = ([line.strip() for line in lines.splitlines() if line.strip()] for lines in (text, done.stdout))
    assert done.returncode == int(code)
    assert said[-3:] == recorded[-3:]
    rest = iter(recorded)
    assert [line for line in said if line not in rest] == []
    if behaviour == "dockerfile":
        kept = json.loads((tmp_path / ".nemoclaw" / "sandboxes.json").read_text(encoding="utf-8"))
        pending = json.loads((RECORDED / "2026-08-sandboxes-pending.json").read_text(encoding="utf-8"))
        real = pending["sandboxes"]["my-assistant"]
        ours = kept["sandboxes"]["my-assistant"]
        assert kept["defaultSandbox"] is None
        assert ours == {name: real[name] for name in ours}
