# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a host with OpenShell: its real CLI, and the stand-in gateway of openshell_gateway.py (which says why)."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import state_path
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from conftest import Llama
from route_host import GATEWAY, PROVIDER, register
from test_playbooks import KEY, Controller, forms_of, new_controller, record

RELEASE = "0.0.83"
# A second server's key: another one than the first's.
OTHER_KEY = f"canary-{secrets.token_hex(16)}"


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


def on_a_host_with_openshell(folder: Path, llama: Llama, server: openshell_parts.Gateway) -> Controller:
    """Return a controller whose host has a good model server, OpenShell's CLI on PATH, and an empty gateway."""
    server.forget()
    made = new_controller(folder, forms_of(KEY), llama)
    made.environment["PATH"] = f"{server.cli.parent}:{os.environ['PATH']}"
    # A user's own folder of settings counts in that user's own home alone.
    made.environment["HOME"] = find_account().home
    made.environment["XDG_CONFIG_HOME"] = register(folder / "config", server)
    return made


@pytest.fixture
def controller(tmp_path: Path, llama: Llama, server: openshell_parts.Gateway, fingerprints: Path) -> Controller:
    return on_a_host_with_openshell(tmp_path, llama, server)


def route(server: openshell_parts.Gateway) -> list[Any] | None:
    """Return provider, model, timeout and version of the gateway's route."""
    found: list[Any] | None = server.known()["routes"].get("inference.local")
    return found


def state(controller: Controller, server: openshell_parts.Gateway) -> tuple[Any, ...]:
    """Return what a run that fails may not change."""
    provider = {**server.known()["providers"][PROVIDER], "resource_version": 0}
    return provider, route(server), controller.record.read_bytes(), controller.record.stat().st_mtime_ns


def recorded_route(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(controller.record.read_text(encoding="utf-8"))
    return found


def base_url(controller: Controller) -> str:
    return str(recorded_route(controller)["base_url_sandbox"])


def without_version(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a state without the route's version, which each change raises."""
    return found[0], found[1][:3], *found[2:]


def another_server(llama: Llama) -> dict[str, str]:
    """Return what leads to a server with another model and another key."""
    url = llama("good", api_key=OTHER_KEY, alias="second").base_url
    return {"NEMOCLAW_ENDPOINT_URL": url, "NEMOCLAW_MODEL": "second", "COMPATIBLE_API_KEY": OTHER_KEY}


def call(server: openshell_parts.Gateway, *words: str) -> None:
    subprocess.run(
        [server.cli, "--gateway-endpoint", server.endpoint, *words], check=False, capture_output=True, timeout=60
    )


@contextmanager
def another_sandbox(server: openshell_parts.Gateway, image: str = "lab/ready:1") -> Iterator[None]:
    # Its exit status says nothing: after the sandbox is ready it wants to open a session by ssh, which the stand-in has none of.
    call(server, "sandbox", "create", "--name", "neighbour", "--from", image, "--", "true")
    assert "neighbour" in server.known()["sandboxes"]
    try:
        yield
    finally:
        call(server, "sandbox", "delete", "neighbour")


def test_from_nothing_to_a_sandbox_and_back(
    controller: Controller, server: openshell_parts.Gateway, fingerprints: Path, llama: Llama
) -> None:
    controller.environment |= {"NEMOCLAW_SANDBOX_NAME": "my-assistant", "NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": "90"}
    assert controller.play("site", "--check", "--diff") == 0
    known = server.known()
    assert (known["providers"], known["sandboxes"], route(server)) == ({}, {}, None)
    assert not controller.record.exists()

    assert controller.play("site", "--diff") == 0
    assert controller.changed == 1, "one transaction"
    known = server.known()
    provider = known["providers"][PROVIDER]
    assert (provider["type"], provider["credentials"]) == ("openai", {"COMPATIBLE_API_KEY": KEY})
    assert provider["config"] == {"OPENAI_BASE_URL": base_url(controller)}
    assert route(server) == [PROVIDER, "scripted", 90, 1]
    assert list(known["sandboxes"]) == ["my-assistant"]
    assert "cannot be probed" in controller.output, "this Docker has no network of OpenShell, and that is no error"
    assert KEY not in fingerprints.read_text(encoding="utf-8")
    assert "Proved from inside my-assistant: an answer, and a tool call that is structured." in controller.output
    assert "Inference (sandbox): healthy" in controller.output, "it ends with the status"

    assert controller.play("site") == 0
    assert controller.changed == 0
    # The plan alone asks the gateway, and the model from inside the sandbox.
    assert controller.output.count("Using module file") == 1
    assert "Inference (gateway): healthy" in controller.output
    assert "Inference (sandbox): healthy" in controller.output

    # The record names the sandbox: it is no other one that follows the route.
    found = recorded_route(controller)
    assert (found["gateway"], found["sandbox"]) == (GATEWAY, "my-assistant")
    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(OTHER_KEY)]
    before = state(controller, server)
    del controller.environment["NEMOCLAW_LOCAL_INFERENCE_TIMEOUT"]
    # The URL and the provider are not named, where the model is: they stay as they are recorded.
    unnamed = {"NEMOCLAW_PROVIDER": "", "NEMOCLAW_ENDPOINT_URL": "", "NEMOCLAW_MODEL": "another"}
    assert controller.play("switch_model", **unnamed) == 2
    assert "model_not_served" in controller.output
    elsewhere = json.dumps({"endpoint_sandbox_url": "http://host.openshell.internal:9/v1"})
    assert controller.play("switch_model", "-e", elsewhere, **another_server(llama)) == 2
    assert '"code": "sandbox_upstream_down"' in controller.output
    assert f"The gateway routes to scripted by {PROVIDER} again" in " ".join(controller.output.split())
    assert without_version(state(controller, server)) == without_version(before)
    assert controller.play("switch_model", NEMOCLAW_SANDBOX_NAME="", **another_server(llama)) == 0
    assert "Proved from inside my-assistant" in controller.output
    known = server.known()
    assert list(known["providers"]) == [PROVIDER], "what stood beside it is gone"
    assert known["providers"][PROVIDER]["credentials"] == {"COMPATIBLE_API_KEY": OTHER_KEY}
    assert known["providers"][PROVIDER]["config"] == {"OPENAI_BASE_URL": base_url(controller)}
    assert route(server)[:3] == [PROVIDER, "second", 90], "the timeout is that of the record"
    found = recorded_route(controller)
    assert (found["model"], found["gateway"], found["sandbox"]) == ("second", GATEWAY, "my-assistant")

    anthropic = {
        "NEMOCLAW_PROVIDER": "anthropicCompatible",
        "NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY).root_url,
        "COMPATIBLE_ANTHROPIC_API_KEY": KEY,
    }
    assert controller.play("switch_model", **anthropic) == 0
    assert route(server)[:2] == ["compatible-anthropic-endpoint", "scripted"]
    provider = server.known()["providers"]["compatible-anthropic-endpoint"]
    assert (provider["type"], provider["credentials"]) == ("anthropic", {"COMPATIBLE_ANTHROPIC_API_KEY": KEY})
    assert provider["config"] == {"ANTHROPIC_BASE_URL": base_url(controller)}
    assert len(server.known()["providers"]) == 2, "a switch back finds its own"
    assert controller.play("uninstall") == 0
    assert server.known()["providers"] == {}, "the one of the route before had a key of ours as well"


def test_a_rule_that_cannot_be_closed_is_remembered(controller: Controller) -> None:
    """As with a firewall that does not answer just now. One that is gone has taken its rules with it."""
    opened = controller.folder / "opened"
    lines = ["sudo true", "sudo true && sudo false --port 8000", "sudo no-such-firewall --close"]
    opened.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    closing = controller.folder / "close.yml"
    role = {"name": "nemoclaw.local_inference.sandbox", "tasks_from": "close"}
    tasks = [{"ansible.builtin.include_role": role}]
    closing.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    options = ("-e", json.dumps({"__sandbox_opened": str(opened)}))
    assert controller.play(str(closing), "--check", *options) == 0
    assert (
        "Without check mode this would be run: sudo true, sudo true && sudo false --port 8000, sudo no"
        in controller.output
    )
    assert opened.read_text(encoding="utf-8").splitlines() == lines
    assert controller.play(str(closing), *options) == 0
    assert "still lets the sandboxes' network through" in " ".join(controller.output.split())
    assert opened.read_text(encoding="utf-8").splitlines() == lines[1:2]
    opened.write_text("sudo true\n", encoding="utf-8")
    assert controller.play(str(closing), *options) == 0
    assert not opened.exists()


def test_a_gateway_that_is_down(controller: Controller) -> None:
    controller.environment["OPENSHELL_GATEWAY_ENDPOINT"] = "http://127.0.0.1:9"
    assert controller.play("site") == 2
    assert '"code": "openshell_gateway_down"' in controller.output
    assert "sandbox_backend: none" in controller.output
    assert not controller.record.exists()
    record(controller)
    assert controller.play("status") == 2
    assert "Inference (gateway): unreachable" in controller.output
    assert controller.play("uninstall") == 2
    assert "and the record as well, by which another run finds them" in " ".join(controller.output.split())
    assert controller.record.exists()


def test_the_token_of_the_gate_is_the_key(
    controller: Controller, server: openshell_parts.Gateway, llama: Llama, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token, rotated = secrets.token_hex(24), secrets.token_hex(24)
    controller.unsafe_forms = [*forms_of(token), *forms_of(rotated)]
    kept = tmp_path_factory.mktemp("gate") / "ollama-proxy-token"
    kept.write_text(token + "\n", encoding="utf-8")
    kept.chmod(0o600)
    # In the place of the gate: it takes the token that comes after the first, and that alone.
    gate = llama("good", api_key=rotated, alias="qwen2.5:7b").base_url
    wanted = build_route(
        provider="ollama",
        base_url="http://127.0.0.1:11434/v1",
        base_url_sandbox=gate.replace("127.0.0.1", "host.openshell.internal"),
        model="qwen2.5:7b",
        api="openai-completions",
        timeout=240,
    )
    settings = {"sandbox_route": wanted, "sandbox_behind_gate": True, "sandbox_token_path": str(kept)}
    play = controller.folder / "gate.yml"

    def write(**role: Any) -> None:
        role = {"name": "nemoclaw.local_inference.sandbox", **role}
        changes = {"__sandbox_token_changes": True} if "tasks_from" in role else {}
        task = {"ansible.builtin.include_role": role, "vars": {**settings, **changes}}
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")

    def provider() -> tuple[Any, ...]:
        found = server.known()["providers"]["ollama-local"]
        return found["type"], found["credentials"], found["config"]

    write()
    kept.unlink()
    assert controller.play(str(play), "--check") == 0, "the token is still to be made"
    kept.write_text(token + "\n", encoding="utf-8")
    kept.chmod(0o600)
    assert controller.play(str(play), "--diff") == 0
    assert controller.changed == 1
    config = {"OPENAI_BASE_URL": wanted["base_url_sandbox"]}
    assert provider() == ("openai", {"OPENAI_API_KEY": token}, config)
    assert route(server) == ["ollama-local", "qwen2.5:7b", 240, 1]

    # As rotate_token has it in check mode, where the token is still the one of before.
    write(tasks_from="rekey")
    assert controller.play(str(play), "--check", "--diff") == 0
    assert (controller.changed, provider()[1]) == (1, {"OPENAI_API_KEY": token})
    kept.write_text(rotated + "\n", encoding="utf-8")
    with another_sandbox(server):
        assert controller.play(str(play), "--diff") == 0
        assert controller.changed == 1
    assert provider() == ("openai", {"OPENAI_API_KEY": rotated}, config)
