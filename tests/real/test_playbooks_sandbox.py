# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks on a host with OpenShell: its real CLI, and the stand-in gateway of openshell_gateway.py (which says why)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.fingerprints import state_path
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from conftest import Certificates, Llama
from test_playbooks import KEY, Controller, forms_of, new_controller, roles_play

RELEASE = "0.0.83"
PROVIDER = "compatible-endpoint"
GATEWAY = "nemoclaw"
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


def register(config: Path, server: openshell_parts.Gateway, certificates: Path | None = None) -> str:
    """Register the gateway as its user does, in a folder of settings of one's own, which is returned."""
    home = config / "openshell" / "gateways" / GATEWAY
    home.mkdir(parents=True)
    if certificates:
        shutil.copytree(certificates, home / "mtls")
    words = ["gateway", "add", server.endpoint, "--local", "--name", GATEWAY]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(config), "OPENSHELL_NO_BROWSER": "1"}
    subprocess.run([server.cli, *words], env=environment, check=True, capture_output=True, timeout=60)
    return str(config)


@pytest.fixture
def controller(tmp_path: Path, llama: Llama, server: openshell_parts.Gateway, fingerprints: Path) -> Controller:
    return on_a_host_with_openshell(tmp_path, llama, server)


@pytest.fixture(scope="module")
def led(
    tmp_path_factory: pytest.TempPathFactory, llama: Llama, server: openshell_parts.Gateway, fingerprints: Path
) -> Controller:
    """Return a controller whose host and gateway have a route already.

    No test that takes it may change that, and C(controller) empties the gateway: its tests come before the first of these, or
    after the last.
    """
    made = on_a_host_with_openshell(tmp_path_factory.mktemp("led"), llama, server)
    made.unsafe_forms = [*made.unsafe_forms, *forms_of(OTHER_KEY)]
    assert made.play("site") == 0
    return made


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
    controller.environment |= {"NEMOCLAW_SANDBOX_NAME": "my-assistant", "ANSIBLE_PIPELINING": "true"}
    assert controller.play("site", "--check", "--diff") == 0
    known = server.known()
    assert (known["providers"], known["sandboxes"], route(server)) == ({}, {}, None)
    assert not controller.record.exists()

    assert controller.play("site", "--diff") == 0
    assert controller.changed == 4, "sandbox, provider, route, record"
    known = server.known()
    provider = known["providers"][PROVIDER]
    assert (provider["type"], provider["credentials"]) == ("openai", {"COMPATIBLE_API_KEY": KEY})
    assert provider["config"] == {"OPENAI_BASE_URL": base_url(controller)}
    assert route(server) == [PROVIDER, "scripted", 180, 1]
    assert list(known["sandboxes"]) == ["my-assistant"]
    assert "could not be probed" in controller.output, "this Docker has no network of OpenShell, and that is no error"
    assert KEY not in fingerprints.read_text(encoding="utf-8")
    assert "Proved from inside my-assistant: an answer, and a tool call that is structured." in controller.output
    assert "Inference (sandbox): healthy" in controller.output, "it ends with the status"

    assert controller.play("site") == 0
    assert controller.changed == 0
    # The plan alone asks the gateway, and the model from inside the sandbox.
    assert controller.output.count("Using module file") == 1
    assert "Inference (sandbox): healthy" in controller.output

    assert controller.play("status") == 0
    assert "Inference (gateway): healthy" in controller.output
    assert "Inference (sandbox): healthy" in controller.output

    # The record names the sandbox: it is no other one that follows the route.
    found = recorded_route(controller)
    assert (found["gateway"], found["sandbox"]) == (GATEWAY, "my-assistant")
    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(OTHER_KEY)]
    assert controller.play("switch_model", NEMOCLAW_SANDBOX_NAME="", **another_server(llama)) == 0
    assert "Proved from inside my-assistant" in controller.output
    known = server.known()
    assert list(known["providers"]) == [PROVIDER], "what stood beside it is gone"
    assert known["providers"][PROVIDER]["credentials"] == {"COMPATIBLE_API_KEY": OTHER_KEY}
    assert known["providers"][PROVIDER]["config"] == {"OPENAI_BASE_URL": base_url(controller)}
    assert route(server)[:3] == [PROVIDER, "second", 180]
    found = recorded_route(controller)
    assert (found["model"], found["gateway"], found["sandbox"]) == ("second", GATEWAY, "my-assistant")

    removal = controller.folder / "absent.yml"
    removal.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: nemoclaw.local_inference.sandbox, tasks_from: absent}\n",
        encoding="utf-8",
    )
    assert controller.play(str(removal)) == 0
    assert server.known()["providers"] == {}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"NEMOCLAW_MODEL": "another"}, "model_not_served"),
        ({"behaviour": "leaks"}, "tool_calls_leaked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_switch_keeps_the_route(
    led: Controller, server: openshell_parts.Gateway, llama: Llama, settings: dict[str, str], says: str
) -> None:
    if "behaviour" in settings:
        settings = {"NEMOCLAW_ENDPOINT_URL": llama(settings["behaviour"], api_key=KEY).base_url}
    before = state(led, server)
    # The URL is not named, where the model is: it stays as it is recorded. So does the provider.
    unnamed = {"NEMOCLAW_PROVIDER": "", "NEMOCLAW_ENDPOINT_URL": ""}
    assert led.play("switch_model", **{**unnamed, **settings}) == 2
    assert says in led.output
    assert state(led, server) == before


# Each fails once. A command that ends badly may have done its work.
_FAILS = {
    "refused": 'case "$1 $2" in "inference set") echo "Error: x disk full" >&2; exit 1;; esac',
    "unread": """
case "$1 $2 $(ls "$HERE")" in
  "inference set "*failed*) ;;
  "inference set "*) "$REAL" "$@"; code=$?; touch "$HERE/set"; exit $code ;;
  "inference get "*failed*) ;;
  "inference get "*set*) touch "$HERE/failed"; echo "Error: x disk full" >&2; exit 1 ;;
esac
""",
}


def wrapped(folder: Path, server: openshell_parts.Gateway, body: str) -> dict[str, str]:
    """Return the path to the real CLI, but for what the shell script in between does itself."""
    here = folder / f"wrapper-{secrets.token_hex(4)}"
    here.mkdir()
    script = f'#!/bin/sh\nHERE={here}/state REAL={server.cli}\nmkdir -p "$HERE"\n{body}\nexec "$REAL" "$@"\n'
    (here / "openshell").write_text(script, encoding="utf-8")
    (here / "openshell").chmod(0o755)
    return {"PATH": f"{here}:{os.environ['PATH']}"}


@pytest.mark.parametrize("way", list(_FAILS))
def test_a_gateway_that_fails_in_the_middle_is_led_back(
    led: Controller, server: openshell_parts.Gateway, llama: Llama, way: str
) -> None:
    """The real CLI, but for one command, which no real gateway can be made to fail at after it took the provider."""
    before = state(led, server)
    settings = {**another_server(llama), **wrapped(led.folder, server, _FAILS[way])}
    calls = server.known()["calls"].count("CreateProvider")
    assert led.play("switch_model", **settings) == 2
    assert "disk full" in led.output
    known = server.known()
    assert known["calls"].count("CreateProvider") == calls + 1, "it came as far as the provider beside that of before"
    assert (list(known["providers"]), "UpdateProvider" in known["calls"]) == ([PROVIDER], False)
    assert f"The gateway leads to scripted by {PROVIDER} again" in " ".join(led.output.split())
    assert without_version(state(led, server)) == without_version(before)


def test_what_a_sandbox_cannot_reach_is_led_back(
    led: Controller, server: openshell_parts.Gateway, llama: Llama
) -> None:
    """The server is good, as the host sees it. Its address for the sandbox is wrong, and only the end proof can tell."""
    before = state(led, server)
    elsewhere = json.dumps(
        {"endpoint_sandbox_url": "http://host.openshell.internal:9/v1", "sandbox_name": "my-assistant"}
    )
    assert led.play("switch_model", "-e", elsewhere, **another_server(llama)) == 2
    assert '"code": "sandbox_upstream_down"' in led.output
    assert f"The gateway leads to scripted by {PROVIDER} again" in " ".join(led.output.split())
    assert without_version(state(led, server)) == without_version(before)
    assert list(server.known()["providers"]) == [PROVIDER]
    # The key of before still opens the server of before, and a key is all that nobody could have given back.
    assert led.play("status") == 0
    assert "Inference (sandbox): healthy" in led.output
    call(server, "sandbox", "delete", "my-assistant")


def unusable(led: Controller, server: openshell_parts.Gateway, what: str, folder: Path) -> dict[str, str]:
    """Return the settings under which OpenShell cannot be used."""
    if what == "down":
        return {"OPENSHELL_GATEWAY_ENDPOINT": "http://127.0.0.1:9"}
    if what == "unregistered":
        return {"XDG_CONFIG_HOME": str(folder)}
    says = f'[ "$1" = --version ] && {{ echo "openshell {what}"; exit 0; }}'
    # Which way a release has it says in its help.
    return wrapped(led.folder, server, f'{says}; [ "$1" = --help ] && exit 0' if what == "0.1.0" else says)


def leading_elsewhere(led: Controller, settings: dict[str, str]) -> str:
    """Return a playbook with what switch_model does once a server is proved: the role sandbox is given the route to it."""
    url = settings["NEMOCLAW_ENDPOINT_URL"]
    wanted = build_route(
        provider="custom",
        base_url=url,
        base_url_sandbox=url.replace("127.0.0.1", "host.openshell.internal"),
        model=settings["NEMOCLAW_MODEL"],
        api="openai-completions",
        timeout=180,
    )
    key = "{{ lookup('ansible.builtin.env', 'COMPATIBLE_API_KEY') }}"
    path = str(led.record)
    return roles_play(led, "sandbox", sandbox_route=wanted, sandbox_route_path=path, sandbox_credential=key)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("down", "openshell_gateway_down"),
        ("unregistered", "openshell_gateway_unset"),
        ("0.0.43", "openshell_too_old"),
        ("0.1.0", "openshell_too_new"),
        ("0.0.84", "openshell_release_mismatch"),
    ],
)
def test_an_openshell_that_cannot_be_used_leaves_the_route(
    led: Controller, server: openshell_parts.Gateway, llama: Llama, tmp_path: Path, what: str, code: str
) -> None:
    """Also for sandbox_backend: auto. Sandboxes may run, and would go on to a server that makes way for the new one."""
    before = state(led, server)
    settings = {**another_server(llama), **unusable(led, server, what, tmp_path)}
    assert led.play(leading_elsewhere(led, settings), **settings) == 2
    assert f'"code": "{code}"' in led.output
    assert state(led, server) == before


def test_a_gateway_that_is_not_trusted_leaves_the_route(
    led: Controller, server: openshell_parts.Gateway, llama: Llama, certificates: Certificates, tmp_path: Path
) -> None:
    before = state(led, server)
    known = tmp_path / "client"
    shutil.copytree(certificates.client, known)
    shutil.copy(certificates.stranger / "tls.crt", known / "ca.crt")
    with openshell_parts.serving(RELEASE, tls=certificates.server) as secured:
        config = register(tmp_path / "config", secured, known)
        settings = another_server(llama)
        assert led.play(leading_elsewhere(led, settings), XDG_CONFIG_HOME=config, **settings) == 2
    assert '"code": "openshell_gateway_tls"' in led.output
    assert state(led, server) == before


def test_a_provider_of_another_type(led: Controller, server: openshell_parts.Gateway, llama: Llama) -> None:
    name = "compatible-anthropic-endpoint"
    before = state(led, server)
    anthropic = {
        "NEMOCLAW_PROVIDER": "anthropicCompatible",
        "NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY).root_url,
        "COMPATIBLE_ANTHROPIC_API_KEY": KEY,
    }
    call(server, "provider", "create", "--name", name, "--type", "openai", "--credential", "OPENAI_API_KEY=of-another")
    try:
        assert led.play("switch_model", **anthropic) == 2
        assert '"code": "provider_type_differs"' in led.output
        assert "sandbox_replace_provider: true" in " ".join(led.output.split())
        assert state(led, server) == before
        assert led.play("switch_model", "--check", "-e", "sandbox_replace_provider=true", **anthropic) == 0
    finally:
        call(server, "provider", "delete", name)


@pytest.mark.parametrize(("image", "code"), [("lab/stuck:1", "sandbox_timeout"), ("lab/broken:1", "sandbox_error")])
def test_a_sandbox_that_does_not_come_up(
    led: Controller, server: openshell_parts.Gateway, llama: Llama, image: str, code: str
) -> None:
    before = state(led, server)
    other = {"NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY, alias="second").base_url, "NEMOCLAW_MODEL": "second"}
    options = json.dumps({"sandbox_name": "stays", "sandbox_image": image, "sandbox_ready_timeout": 2})
    assert led.play("switch_model", "-e", options, **other) == 2
    assert f'"code": "{code}"' in led.output
    assert state(led, server) == before
    call(server, "sandbox", "delete", "stays")


def test_a_sandbox_without_curl(led: Controller, server: openshell_parts.Gateway) -> None:
    """It is an error in the sandbox that was asked for, and a warning in another one."""
    with another_sandbox(server, "lab/bare:1"):
        assert led.play("site", "-e", "sandbox_name=neighbour") == 2
        assert '"code": "sandbox_command_missing"' in led.output
        assert led.play("site") == 0
        assert "has no curl that runs" in " ".join(led.output.split())
        assert "Not proved from inside a sandbox." in led.output
        unproved = '{"sandbox_name": "neighbour", "sandbox_proof": false}'
        # In a record of its own, by which the neighbour is no other sandbox.
        assert led.play("site", "-e", unproved, NEMOCLAW_ROUTE_PATH=str(led.folder / "neighbour.json")) == 0


def test_a_record_that_cannot_be_written_leads_the_gateway_back(
    led: Controller, server: openshell_parts.Gateway, llama: Llama
) -> None:
    before = state(led, server)
    other = {"NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY, alias="second").base_url, "NEMOCLAW_MODEL": "second"}
    with read_only(led.record.parent):
        assert led.play("switch_model", **other) == 2
    assert '"code": "route_record_unwritable"' in led.output
    assert f"The gateway leads to scripted by {PROVIDER} again" in " ".join(led.output.split())
    assert server.known()["calls"].count("SetClusterInference") >= 2
    assert without_version(state(led, server)) == without_version(before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Keep everybody from writing there, root too, as on a file system that was mounted read-only after an error."""
    change = ("chattr", "+i", "-i") if os.geteuid() == 0 else ("chmod", "0500", "0700")
    subprocess.run([change[0], change[1], folder], check=True)
    try:
        yield
    finally:
        subprocess.run([change[0], change[2], folder], check=True)


def without_version(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a state without the route's version, which each change raises."""
    return found[0], found[1][:3], *found[2:]


def test_other_sandboxes_are_not_led_away(led: Controller, server: openshell_parts.Gateway, llama: Llama) -> None:
    before = state(led, server)
    with another_sandbox(server):
        second = llama("good", api_key=KEY, alias="second").base_url
        assert led.play("switch_model", NEMOCLAW_ENDPOINT_URL=second, NEMOCLAW_MODEL="second") == 2
        assert '"code": "route_shared"' in led.output
        assert "neighbour" in led.output
        # The same model elsewhere: the gateway's route stays as it is, and the provider under it would not.
        third = llama("good", api_key=KEY, n_ctx=16384).base_url
        assert led.play("switch_model", NEMOCLAW_ENDPOINT_URL=third) == 2
        assert "use it as well: neighbour" in " ".join(led.output.split())
        # Nobody has recorded where the provider leads, as where NemoClaw made it.
        nowhere = {"NEMOCLAW_ROUTE_PATH": str(led.folder / "no-record.json")}
        assert led.play("site", "-e", "sandbox_backend=openshell", NEMOCLAW_ENDPOINT_URL=third, **nowhere) == 2
        assert "where this collection did not lead it" in " ".join(led.output.split())
        assert state(led, server) == before


@contextmanager
def a_network() -> Iterator[str]:
    """Make a network of Docker's, as that of the sandboxes."""
    if os.geteuid() or not shutil.which("docker") or not shutil.which("busybox"):
        pytest.skip("a network of one's own needs root, Docker and busybox (Debian package busybox-static)")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    network = f"nemoclaw-test-{secrets.token_hex(4)}"
    subprocess.run(["docker", "network", "create", network], check=True, capture_output=True, timeout=60)
    try:
        yield network
    finally:
        subprocess.run(["docker", "network", "rm", network], check=True, capture_output=True, timeout=60)


def test_a_blocked_way_stops_before_anything_is_saved(led: Controller, server: openshell_parts.Gateway) -> None:
    before = state(led, server)
    with a_network() as network:
        # The model server listens on 127.0.0.1 alone, which is nothing that a sandbox reaches.
        assert led.play("site", "-e", f"sandbox_network={network}", NEMOCLAW_LOCAL_INFERENCE_TIMEOUT="90") == 2
    said = " ".join(led.output.split())
    assert "does so on 127.0.0.1 alone" in said
    assert "Nothing was saved" in said
    assert state(led, server) == before


def test_a_first_record_that_cannot_be_written(controller: Controller, server: openshell_parts.Gateway) -> None:
    """OpenShell 0.0.83 cannot remove a route, and the error says so."""
    controller.record.parent.mkdir(mode=0o700)
    with read_only(controller.record.parent):
        assert controller.play("site") == 2
    assert "The gateway could not be led back to nothing" in " ".join(controller.output.split())
    assert not controller.record.exists()


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
    assert "Without check mode this would be run: sudo true, sudo false --port 8000, sudo no-such" in controller.output
    assert opened.read_text(encoding="utf-8").splitlines() == lines
    assert controller.play(str(closing), *options) == 0
    assert "still lets the sandboxes' network through" in " ".join(controller.output.split())
    assert opened.read_text(encoding="utf-8").splitlines() == lines[1:2]
    opened.write_text("sudo true\n", encoding="utf-8")
    assert controller.play(str(closing), *options) == 0
    assert not opened.exists()


def test_an_openshell_that_was_never_used(controller: Controller) -> None:
    """As an installer leaves it: no gateway is registered, so nobody is led anywhere."""
    controller.environment["XDG_CONFIG_HOME"] = str(controller.folder / "none")
    assert controller.play("site", "-e", "sandbox_backend=openshell") == 2
    assert '"code": "openshell_gateway_unset"' in controller.output
    assert controller.play("site", "-e", "sandbox_gateway=misspelt") == 2
    assert not controller.record.exists()
    assert controller.play("site") == 0
    assert "No sandbox was made" in controller.output
    assert "Completion: healthy" in controller.output
    found = recorded_route(controller)
    assert (found["gateway"], found["sandbox"]) == (None, None)


def test_a_gateway_that_is_down(controller: Controller) -> None:
    controller.environment["OPENSHELL_GATEWAY_ENDPOINT"] = "http://127.0.0.1:9"
    assert controller.play("site") == 2
    assert '"code": "openshell_gateway_down"' in controller.output
    assert "sandbox_backend: none" in controller.output
    assert not controller.record.exists()
    assert controller.play("site", "-e", "sandbox_backend=none") == 0
    assert controller.record.exists()
    assert controller.play("status") == 2
    assert "Inference (gateway): unreachable" in controller.output
    assert controller.play("uninstall") == 2
    assert "and the record as well, by which another run finds them" in " ".join(controller.output.split())
    assert controller.record.exists()


def test_another_provider_altogether(controller: Controller, server: openshell_parts.Gateway, llama: Llama) -> None:
    assert controller.play("switch_model") == 2
    assert "no recorded route" in controller.output
    assert controller.play("site") == 0
    anthropic = {
        "NEMOCLAW_PROVIDER": "anthropicCompatible",
        "NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY).root_url,
        "COMPATIBLE_ANTHROPIC_API_KEY": KEY,
    }
    assert controller.play("switch_model", **anthropic) == 0
    assert route(server) == ["compatible-anthropic-endpoint", "scripted", 180, 2]
    provider = server.known()["providers"]["compatible-anthropic-endpoint"]
    assert (provider["type"], provider["credentials"]) == ("anthropic", {"COMPATIBLE_ANTHROPIC_API_KEY": KEY})
    assert provider["config"] == {"ANTHROPIC_BASE_URL": base_url(controller)}
    assert len(server.known()["providers"]) == 2, "a switch back finds its own"
    assert controller.play("uninstall") == 0
    assert server.known()["providers"] == {}, "the one of the route before had a key of ours as well"


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
        task = {"ansible.builtin.include_role": role, "vars": settings}
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")

    def provider() -> tuple[Any, ...]:
        found = server.known()["providers"]["ollama-local"]
        return found["type"], found["credentials"], found["config"]

    write()
    kept.unlink()
    assert controller.play(str(play), "--check") == 0, "the token is still to be made"
    kept.write_text(token + "\n", encoding="utf-8")
    kept.chmod(0o600)
    for changed in (3, 0):
        assert controller.play(str(play), "--diff") == 0
        assert controller.changed == changed
    config = {"OPENAI_BASE_URL": wanted["base_url_sandbox"]}
    assert provider() == ("openai", {"OPENAI_API_KEY": token}, config)
    assert route(server) == ["ollama-local", "qwen2.5:7b", 240, 1]

    kept.write_text(rotated + "\n", encoding="utf-8")
    write(tasks_from="rekey")
    with another_sandbox(server):
        for changed in (1, 0):
            assert controller.play(str(play), "--diff") == 0
            assert controller.changed == changed
        assert provider() == ("openai", {"OPENAI_API_KEY": rotated}, config)
        assert "Prove it from inside a sandbox" in controller.output

        kept.write_text(token + "\n", encoding="utf-8")
        assert controller.play(str(play)) == 2
        assert '"code": "sandbox_key_refused"' in controller.output
        assert "The one before still opens the gate" in " ".join(controller.output.split())
    call(server, "inference", "delete")
    call(server, "provider", "delete", "ollama-local")
    assert controller.play(str(play)) == 0, "what the gateway does not have is not made"
    assert server.known()["providers"] == {}
