# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a host with OpenShell: its real CLI, and the stand-in gateway of openshell_gateway.py (which says why)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.fingerprints import state_path
from conftest import Llama
from test_playbooks import KEY, Controller, forms_of, new_controller

RELEASE = "0.0.83"
PROVIDER = "compatible-endpoint"


@pytest.fixture(scope="module")
def fingerprints() -> Iterator[Path]:
    """Give the file with the fingerprints of this user's providers, and put back what was in it."""
    path = Path(state_path(find_account().home))
    before = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o600)


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(RELEASE, openshell_home) as gateway:
        yield gateway


@pytest.fixture
def controller(tmp_path: Path, llama: Llama, server: openshell_parts.Gateway, fingerprints: Path) -> Controller:
    """Return a controller whose host has a good model server, OpenShell's CLI on PATH, and an empty gateway."""
    server.forget()
    made = new_controller(tmp_path, forms_of(KEY), llama)
    made.environment["PATH"] = f"{server.cli.parent}:{os.environ['PATH']}"
    made.environment["OPENSHELL_GATEWAY_ENDPOINT"] = server.endpoint
    return made


def route(server: openshell_parts.Gateway) -> dict[str, Any] | None:
    found: dict[str, Any] | None = server.known()["routes"].get("inference.local")
    return found


def record(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(controller.record.read_text(encoding="utf-8"))
    return found


def test_from_nothing_to_the_route_of_the_gateway(
    controller: Controller, server: openshell_parts.Gateway, fingerprints: Path
) -> None:
    assert controller.play("site", "--check", "--diff") == 0
    assert (server.known()["providers"], route(server), controller.record.exists()) == ({}, None, False)

    assert controller.play("site", "--diff") == 0
    assert controller.changed == 3  # provider, route, record
    known = server.known()
    made = known["providers"][PROVIDER]
    assert (made["type"], made["credentials"]) == ("openai", {"COMPATIBLE_API_KEY": KEY})
    assert made["config"] == {"OPENAI_BASE_URL": record(controller)["base_url_sandbox"]}
