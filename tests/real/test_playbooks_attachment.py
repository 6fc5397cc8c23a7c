# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a host with OpenShell 0.1, whose gateway and command line are stand-ins (openshell_attachment.py says why)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from conftest import Llama
from test_playbooks import KEY, Controller, forms_of
from test_playbooks_sandbox import (
    OTHER_KEY,
    another_server,
    call,
    fingerprints,
    on_a_host_with_openshell,
    recorded_route,
)

__all__ = ["fingerprints"]
SANDBOX = "my-assistant"
PROVIDER = "compatible-endpoint"


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(openshell_parts.ATTACHMENT, openshell_home) as gateway:
        yield gateway


@pytest.mark.usefixtures("fingerprints")
def test_from_nothing_to_a_sandbox_and_back(tmp_path: Path, llama: Llama, server: openshell_parts.Gateway) -> None:
    controller = on_a_host_with_openshell(tmp_path, llama, server)
    controller.environment["NEMOCLAW_SANDBOX_NAME"] = SANDBOX
    assert controller.play("site", "--diff") == 0
    assert controller.changed == 1, "one transaction"
    known = server.known()
    assert known["sandboxes"] == {SANDBOX: [PROVIDER]}
    assert known["providers"][PROVIDER][1] == {"COMPATIBLE_API_KEY": KEY}
    found = recorded_route(controller)
    assert (found["sandbox"], found["way"]) == (SANDBOX, "attachment")
    assert "sets neither model nor timeout" in " ".join(controller.output.split())
    assert "Inference (sandbox): healthy" in controller.output, "it ends with the status"

    assert controller.play("site") == 0
    assert (controller.changed, controller.output.count("Using module file")) == (0, 1), "the plan alone"
    assert "Inference (sandbox): healthy" in controller.output

    # Somebody detached it: the plan says what site would do.
    call(server, "sandbox", "provider", "detach", SANDBOX, PROVIDER, "--wait")
    assert controller.play("plan") == 0
    assert "sandbox.attach" in controller.output
    call(server, "sandbox", "provider", "attach", SANDBOX, PROVIDER, "--wait")

    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(OTHER_KEY)]
    assert controller.play("switch_model", NEMOCLAW_SANDBOX_NAME="", **another_server(llama)) == 0
    assert "sandbox_restart=true" in controller.output
    known = server.known()
    assert (list(known["providers"]), list(known["profiles"])) == ([PROVIDER], [PROVIDER])
    assert known["providers"][PROVIDER][1] == {"COMPATIBLE_API_KEY": OTHER_KEY}
    assert recorded_route(controller)["model"] == "second"

    anthropic = {
        "NEMOCLAW_PROVIDER": "anthropicCompatible",
        "NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY).root_url,
        "COMPATIBLE_ANTHROPIC_API_KEY": KEY,
    }
    assert controller.play("switch_model", "-e", "sandbox_restart=true", **anthropic) == 0
    known = server.known()
    assert known["sandboxes"] == {SANDBOX: ["compatible-anthropic-endpoint"]}
    assert list(known["providers"]) == ["compatible-anthropic-endpoint"]
    assert known["calls"].count("StartSandbox") == 1
    # It ends with the status.
    assert f"Inference (gateway): healthy ({recorded_route(controller)['base_url_sandbox']})" in controller.output
    assert "Inference (sandbox): healthy" in controller.output

    rotate(controller, server, llama)

    assert controller.play("uninstall") == 0
    known = server.known()
    assert (known["profiles"], known["providers"], known["sandboxes"]) == ({}, {}, {SANDBOX: []})
    assert not controller.record.exists()


def rotate(controller: Controller, server: openshell_parts.Gateway, llama: Llama) -> None:
    """Give the sandbox a server behind the auth proxy, and the token after it was rotated, as the playbook rotate_token does."""
    token, rotated = secrets.token_hex(24), secrets.token_hex(24)
    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(token), *forms_of(rotated)]
    kept = controller.folder.parent / f"token-{secrets.token_hex(4)}"
    # In the place of the auth proxy: it takes the token that comes after the first, and that alone.
    proxy = llama("good", api_key=rotated, alias="qwen2.5:7b").base_url
    route = build_route(
        provider="ollama",
        base_url="http://127.0.0.1:11434/v1",
        base_url_sandbox=proxy.replace("127.0.0.1", "host.openshell.internal"),
        model="qwen2.5:7b",
        api="openai-completions",
        timeout=240,
    )
    settings = {"sandbox_route": route, "sandbox_behind_gate": True, "sandbox_token_path": str(kept)}
    settings |= {"sandbox_proof": False, "sandbox_restart": True}
    role = {"name": "nemoclaw.local_inference.sandbox"}
    play = controller.folder / "gate.yml"
    restarts = server.known()["calls"].count("StartSandbox")
    for value, task in ((token, role), (rotated, {**role, "tasks_from": "rekey"})):
        kept.write_text(value + "\n", encoding="utf-8")
        kept.chmod(0o600)
        tasks = [{"ansible.builtin.include_role": task, "vars": {**settings, "sandbox_proof": value == rotated}}]
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        assert controller.play(str(play), "--diff") == 0
        assert controller.changed == 1
        assert server.known()["providers"]["ollama-local"][1] == {"OPENAI_API_KEY": value}
        restarts += 1
        assert server.known()["calls"].count("StartSandbox") == restarts
    kept.unlink()
