# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a host with NemoClaw: its double (which says why), the real OpenShell CLI, and the stand-in gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nemoclaw_double
import ollama_archives
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from conftest import Llama
from nemoclaw_double import Double
from test_playbooks import KEY, Controller
from test_playbooks_sandbox import (
    PROVIDER,
    base_url,
    fingerprints,
    on_a_host_with_openshell,
    route,
    server,
)

__all__ = ["fingerprints", "server"]  # fixtures

SANDBOX = "my-assistant"
ACCEPTED = {"NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE": "1"}


@pytest.fixture
def registry() -> Iterator[Path]:
    """Give the file with NemoClaw's sandboxes of this user, without any, and put back what was in it."""
    path = Path(find_account().home, ".nemoclaw", "sandboxes.json")
    before = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o600)


@pytest.fixture
def nemoclaw(tmp_path_factory: pytest.TempPathFactory) -> Double:
    # Not in the controller's folder, where no key may be found: it writes down what it was given.
    return nemoclaw_double.install(tmp_path_factory.mktemp("nemoclaw") / "double")


@pytest.fixture
def controller(
    tmp_path: Path, llama: Llama, server: openshell_parts.Gateway, fingerprints: Path, registry: Path, nemoclaw: Double
) -> Controller:
    """Return a controller whose host has a good model server, NemoClaw, OpenShell's CLI on PATH, and an empty gateway."""
    fingerprints.unlink(missing_ok=True)
    made = on_a_host_with_openshell(tmp_path, llama, server)
    made.environment["PATH"] = f"{nemoclaw.program.parent}:{made.environment['PATH']}"
    made.environment |= ACCEPTED
    return made


def recorded(registry: Path) -> Any:
    return json.loads(registry.read_text(encoding="utf-8"))["sandboxes"] if registry.exists() else {}


def provider(server: openshell_parts.Gateway) -> dict[str, Any]:
    return {**server.known()["providers"][PROVIDER], "resource_version": 0}


def onboardings(nemoclaw: Double) -> list[dict[str, Any]]:
    return [call for call in nemoclaw.calls() if call["words"][:1] == ["onboard"]]


def test_from_a_proved_server_to_a_sandbox_of_nemoclaw(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, registry: Path
) -> None:
    assert controller.play("site", "--check", "--diff") == 0
    assert (server.known()["sandboxes"], route(server), onboardings(nemoclaw)) == ({}, None, [])
    assert f"onboard {SANDBOX} with NemoClaw" in controller.output
    assert not controller.record.exists()

    assert controller.play("site", "--diff") == 0
    (call,) = onboardings(nemoclaw)
    assert call["words"] == ["onboard", "--non-interactive"], (
        "nothing that is secret, and no flag that a release may lack"
    )
    settings = call["settings"]
    assert settings["NEMOCLAW_ENDPOINT_URL"] == base_url(controller)
    assert (settings["NEMOCLAW_PROVIDER"], settings["NEMOCLAW_MODEL"]) == ("custom", "scripted")
    assert (settings["COMPATIBLE_API_KEY"], settings["NEMOCLAW_PREFERRED_API"]) == (KEY, "openai-completions")
    assert "NEMOCLAW_YES" not in settings, "consent to a download waives checks in NemoClaw"
    assert recorded(registry)[SANDBOX]["provider"] == PROVIDER
    assert route(server) == [PROVIDER, "scripted", 180, 1]
    assert list(server.known()["sandboxes"]) == [SANDBOX]
    assert server.known()["providers"][PROVIDER]["credentials"] == {"COMPATIBLE_API_KEY": KEY}

    assert controller.play("site") == 0
    assert controller.changed == 0
    assert len(onboardings(nemoclaw)) == 1
    # The plan alone asks NemoClaw's records, the gateway, and the model from inside the sandbox.
    assert controller.output.count("Using module file") == 1
    assert "Inference (gateway): healthy" in controller.output
    assert "Inference (sandbox): healthy" in controller.output

    assert controller.play("uninstall") == 0
    assert "NemoClaw's gateway was left unchanged" in " ".join(controller.output.split())
    assert (list(recorded(registry)), list(server.known()["sandboxes"])) == ([SANDBOX], [SANDBOX])
    assert route(server)[:2] == [PROVIDER, "scripted"]
    assert not controller.record.exists()


def test_openshell_is_installed_when_asked(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As far as it goes without a program in the home of whoever runs the tests: test_openshell_install.py installs it."""
    nemoclaw.program.unlink()
    archive = tmp_path_factory.mktemp("release") / "openshell.tar.gz"
    packed = ollama_archives.pack(archive, {"openshell": server.cli.read_bytes()})
    settings = {
        "sandbox_backend": "openshell",
        "sandbox_install_openshell": True,
        "sandbox_openshell_version": server.release,
        "sandbox_openshell_url": packed.path,
        "sandbox_openshell_checksums": {"cli": packed.checksum},
        "sandbox_openshell_mode": "user",
    }
    without = {"PATH": os.environ["PATH"]}
    assert controller.play("site", "--check", "-e", json.dumps(settings), **without) == 0
    assert f"install {packed.path} as" in controller.output
    assert not controller.record.exists()
    # It is there already, wherever it came from.
    assert controller.play("site", "-e", json.dumps(settings)) == 0
    assert route(server) == [PROVIDER, "scripted", 180, 1]
