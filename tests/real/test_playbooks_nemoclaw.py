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
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from conftest import Llama
from nemoclaw_double import Double
from test_playbooks import KEY, Controller, forms_of
from test_playbooks_sandbox import (
    OTHER_KEY,
    PROVIDER,
    a_network,
    another_sandbox,
    another_server,
    base_url,
    fingerprints,
    on_a_host_with_openshell,
    read_only,
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
    assert "onboarded by NemoClaw" in controller.output
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
    assert "Inference (sandbox): healthy" in controller.output
    assert controller.play("status") == 0
    assert "Inference (gateway): healthy" in controller.output
    assert "Inference (sandbox): healthy" in controller.output


def test_another_model_without_another_onboarding(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, registry: Path, llama: Llama
) -> None:
    assert controller.play("site") == 0
    second = llama("good", api_key=KEY, alias="second").base_url
    other = {"NEMOCLAW_ENDPOINT_URL": second, "NEMOCLAW_MODEL": "second"}
    kept = provider(server)

    # Nothing of NemoClaw's is touched before the sandbox has proved it: its key is all that nobody could give back.
    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(OTHER_KEY)]
    wrong = json.dumps({"endpoint_sandbox_url": "http://host.openshell.internal:9/v1"})
    assert controller.play("switch_model", "-e", wrong, **another_server(llama)) == 2
    assert '"code": "sandbox_upstream_down"' in controller.output
    assert (provider(server), route(server)[:2]) == (kept, [PROVIDER, "scripted"])

    nemoclaw.behave("set")
    before = route(server)
    assert controller.play("switch_model", **other) == 2
    said = " ".join(controller.output.split())
    assert "nemoclaw inference set" in said
    assert f"NemoClaw was told of scripted by {PROVIDER} again" in said
    assert route(server)[:3] == before[:3]
    assert recorded(registry)[SANDBOX]["model"] == "scripted", "half of the work was done, and is undone"
    assert provider(server) == kept, "the address of before, with the key that the provider had"
    assert list(server.known()["providers"]) == [PROVIDER]
    assert json.loads(controller.record.read_text(encoding="utf-8"))["model"] == "scripted"

    with read_only(controller.record.parent):
        assert controller.play("switch_model", **other) == 2
    assert f"The gateway leads to scripted by {PROVIDER} again" in " ".join(controller.output.split())
    assert (recorded(registry)[SANDBOX]["model"], route(server)[:3]) == ("scripted", before[:3]), "NemoClaw is told too"

    assert controller.play("switch_model", **other) == 0
    assert route(server)[:3] == [PROVIDER, "second", 180], "NemoClaw's own command leaves 60 s"
    assert recorded(registry)[SANDBOX]["model"] == "second"
    assert len(onboardings(nemoclaw)) == 1
    assert controller.play("site", **other) == 0
    assert controller.changed == 0


def test_a_server_behind_the_gate_is_an_endpoint_at_first(
    controller: Controller,
    server: openshell_parts.Gateway,
    nemoclaw: Double,
    registry: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """NemoClaw's own choice for Ollama would start a proxy on the gate's port."""
    token = os.urandom(24).hex()
    kept = tmp_path_factory.mktemp("gate") / "ollama-proxy-token"
    kept.write_text(token + "\n", encoding="utf-8")
    kept.chmod(0o600)
    wanted = build_route(
        provider="ollama",
        base_url="http://127.0.0.1:11434/v1",
        base_url_sandbox="http://host.openshell.internal:11435/v1",
        model="qwen2.5:7b",
        api="openai-completions",
        timeout=240,
    )
    settings = {
        "sandbox_route": wanted,
        "sandbox_behind_gate": True,
        "sandbox_token_path": str(kept),
        "sandbox_proof": False,
    }
    role = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.sandbox"}, "vars": settings}
    play = controller.folder / "gate.yml"
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]), encoding="utf-8")
    controller.unsafe_forms = [*controller.unsafe_forms, token.encode()]
    assert controller.play(str(play), "--diff") == 0
    (call,) = onboardings(nemoclaw)
    assert call["settings"]["COMPATIBLE_API_KEY"] == token
    assert call["settings"]["NEMOCLAW_ENDPOINT_URL"] == wanted["base_url_sandbox"]
    assert recorded(registry)[SANDBOX] | {"provider": "ollama-local"} == recorded(registry)[SANDBOX]
    assert route(server)[:3] == ["ollama-local", "qwen2.5:7b", 240]
    assert server.known()["providers"]["ollama-local"]["credentials"] == {"OPENAI_API_KEY": token}
    assert controller.play(str(play)) == 0
    assert controller.changed == 0


# What NemoClaw does, and what is told of it.
FAILING = {
    "preflight": "nemoclaw_failed",
    "provider": "nemoclaw_failed",
    "not-ready": "nemoclaw_sandbox_timeout",
    "hang": "nemoclaw_stalled",
    "silent": "nemoclaw_not_recorded",
}


def test_what_fails_leaves_the_route(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, llama: Llama
) -> None:
    assert controller.play("site", "-e", "sandbox_backend=openshell") == 0
    before = route(server), controller.record.read_bytes()
    kept = provider(server)
    second = {"NEMOCLAW_ENDPOINT_URL": llama("good", api_key=KEY, alias="second").base_url, "NEMOCLAW_MODEL": "second"}
    # One after the other on the same host: each leaves it as it was.
    for behaviour, code in FAILING.items():
        nemoclaw.behave(behaviour)
        limits = "sandbox_ready_timeout=1 sandbox_stall_timeout=3"
        assert controller.play("site", "-e", limits, **second) == 2, behaviour
        assert f'"code": "{code}"' in controller.output, behaviour
        said = " ".join(controller.output.split())
        assert f"Nothing was recorded. The provider {PROVIDER} leads to {base_url(controller)} as before." in said
        assert route(server)[:3] == before[0][:3], behaviour
        assert controller.record.read_bytes() == before[1], behaviour
        assert provider(server) == kept, behaviour
        assert server.known()["sandboxes"] == {}, behaviour


def test_what_cannot_be_given_back_is_said(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, llama: Llama
) -> None:
    """NemoClaw's onboarding writes its provider, and what it could not finish is undone. Nobody can read the key that it wrote over."""
    controller.unsafe_forms = [*controller.unsafe_forms, *forms_of(OTHER_KEY)]
    assert controller.play("site", "-e", "sandbox_backend=openshell") == 0
    before = route(server), controller.record.read_bytes(), base_url(controller)
    nemoclaw.behave("not-ready")
    assert controller.play("site", "-e", "sandbox_ready_timeout=1", **another_server(llama)) == 2
    said = " ".join(controller.output.split())
    assert f"The gateway leads to scripted by {PROVIDER} again" in said
    assert f"The provider {PROVIDER} may have got the address and the key of this run from NemoClaw" in said
    assert (route(server)[:3], controller.record.read_bytes()) == (before[0][:3], before[1])
    assert provider(server)["config"] != {"OPENAI_BASE_URL": before[2]}, (
        "the server of before never gets the other one's key"
    )

    # What fails after a whole onboarding is undone too, as far as it is known.
    nemoclaw.behave("well")
    assert controller.play("site", "-e", "sandbox_backend=openshell") == 0
    kept = provider(server)
    wrong = json.dumps({"endpoint_sandbox_url": "http://host.openshell.internal:9/v1"})
    assert controller.play("site", "-e", wrong, NEMOCLAW_MODEL="scripted") == 2
    assert '"code": "sandbox_upstream_down"' in controller.output
    assert f"The provider {PROVIDER} leads to {before[2]} again." in " ".join(controller.output.split())
    assert (provider(server), route(server)[:3]) == (kept, before[0][:3])
    assert controller.record.read_bytes() == before[1]


def test_a_gateway_that_is_down_makes_no_second_sandbox(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, registry: Path
) -> None:
    registry.parent.mkdir(mode=0o700, exist_ok=True)
    entry = {"name": SANDBOX, "provider": PROVIDER, "model": "scripted"}
    registry.write_text(json.dumps({"sandboxes": {SANDBOX: entry, "neighbour": entry}}), encoding="utf-8")
    assert controller.play("site", OPENSHELL_GATEWAY_ENDPOINT="http://127.0.0.1:9") == 2
    assert '"code": "nemoclaw_gateway_down"' in controller.output
    assert (onboardings(nemoclaw), controller.record.exists()) == ([], False)


def test_a_blocked_way_stops_before_nemoclaw(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double
) -> None:
    with a_network() as network:
        assert controller.play("site", "-e", f"sandbox_network={network}", NEMOCLAW_LOCAL_INFERENCE_TIMEOUT="90") == 2
    said = " ".join(controller.output.split())
    assert "does so on 127.0.0.1 alone" in said
    assert "Nothing was saved" in said
    assert (onboardings(nemoclaw), route(server), controller.record.exists()) == ([], None, False)


def test_the_terms_are_the_users_to_accept(
    controller: Controller, nemoclaw: Double, server: openshell_parts.Gateway
) -> None:
    refused = {"NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE": ""}
    for options in ([], ["--check"]):
        assert controller.play("site", *options, **refused) == 2
        assert '"code": "nemoclaw_terms_not_accepted"' in controller.output
    assert (onboardings(nemoclaw), route(server), controller.record.exists()) == ([], None, False)


def test_other_sandboxes_are_not_led_away(
    controller: Controller, server: openshell_parts.Gateway, nemoclaw: Double, llama: Llama
) -> None:
    assert controller.play("site", "-e", "sandbox_backend=openshell") == 0
    before = route(server)
    with another_sandbox(server):
        second = llama("good", api_key=KEY, alias="second").base_url
        assert controller.play("site", NEMOCLAW_ENDPOINT_URL=second, NEMOCLAW_MODEL="second") == 2
        assert '"code": "route_shared"' in controller.output
        # The same model: the gateway's route stays as it is, and NemoClaw would write the provider under it, which the plan foresees.
        third = llama("good", api_key=KEY, n_ctx=16384).base_url
        assert controller.play("site", NEMOCLAW_ENDPOINT_URL=third) == 2
        assert "and other sandboxes of the gateway use it as well: neighbour" in " ".join(controller.output.split())
    assert (route(server), onboardings(nemoclaw)) == (before, [])


def test_what_is_nemoclaws_stays(controller: Controller, server: openshell_parts.Gateway, registry: Path) -> None:
    assert controller.play("site") == 0
    assert controller.play("uninstall") == 0
    assert "NemoClaw's gateway was left as it is" in " ".join(controller.output.split())
    assert (list(recorded(registry)), list(server.known()["sandboxes"])) == ([SANDBOX], [SANDBOX])
    assert route(server)[:2] == [PROVIDER, "scripted"]
    assert not controller.record.exists()


def test_a_host_without_nemoclaw(controller: Controller, nemoclaw: Double) -> None:
    nemoclaw.program.unlink()
    assert controller.play("site", "-e", "sandbox_backend=nemoclaw") == 2
    assert '"code": "nemoclaw_missing"' in controller.output


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
    wrong = {**settings, "sandbox_openshell_checksums": {"cli": f"sha256:{'0' * 64}"}}
    assert controller.play("site", "-e", json.dumps(wrong), **without) == 2
    assert '"code": "checksum_mismatch"' in controller.output
    assert not controller.record.exists()
    # It is there already, wherever it came from.
    assert controller.play("site", "-e", json.dumps(settings)) == 0
    assert route(server) == [PROVIDER, "scripted", 180, 1]
