# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of sandbox_route with NemoClaw: its double (which says why), the real OpenShell CLI, and the stand-in gateway."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nemoclaw_double
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import gateway_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import Wanted as Status
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import check_gateway
from conftest import KEY, Certificates, Llama
from nemoclaw_double import Double
from route_host import PROVIDER, Host, Wanted

OTHER_KEY = f"canary-{secrets.token_hex(16)}"
SANDBOX = "my-assistant"
DEAD = {"base_url_sandbox": "http://host.openshell.internal:9/v1"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_route, "SETTLE_S", 0.3)


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving("0.0.83", openshell_home) as gateway:
        yield gateway


@pytest.fixture
def nemoclaw(tmp_path: Path) -> Double:
    return nemoclaw_double.install(tmp_path / "double")


@pytest.fixture
def host(tmp_path: Path, server: openshell_parts.Gateway, nemoclaw: Double) -> Host:
    return Host(tmp_path, server, f"{nemoclaw.program.parent}:")


@pytest.fixture
def first(llama: Llama) -> Wanted:
    return Wanted(llama("good", api_key=KEY).base_url, KEY)


def give(host: Host, wanted: Wanted, **options: Any) -> dict[str, Any]:
    return host.give(wanted, "auto", **{"accepted": True, **options})


def failing(host: Host, wanted: Wanted, **options: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        give(host, wanted, **options)
    said = json.dumps(caught.value.as_result())
    assert KEY not in said
    assert OTHER_KEY not in said
    return caught.value


def recorded(host: Host) -> dict[str, Any]:
    """Return what NemoClaw has recorded of the sandbox."""
    found: dict[str, Any] = json.loads((host.home / ".nemoclaw" / "sandboxes.json").read_text(encoding="utf-8"))
    entry: dict[str, Any] = found["sandboxes"][SANDBOX]
    return entry


def onboardings(nemoclaw: Double) -> list[dict[str, Any]]:
    return [call for call in nemoclaw.calls() if call["words"][:1] == ["onboard"]]


def test_from_a_proved_server_to_a_sandbox(host: Host, nemoclaw: Double, first: Wanted) -> None:
    assert host.check(first, "auto", accepted=True)["actions"] == [f"onboard {SANDBOX} with NemoClaw"]
    assert (host.server.known()["sandboxes"], host.route(), onboardings(nemoclaw)) == ({}, None, [])
    done = give(host, first)
    assert (done["changed"], done["proof"]["sandbox"]) == (True, SANDBOX)
    (call,) = onboardings(nemoclaw)
    assert call["words"] == ["onboard", "--non-interactive"], "nothing secret, and no flag that a release may lack"
    settings = call["settings"]
    assert settings["NEMOCLAW_ENDPOINT_URL"] == first.route["base_url_sandbox"]
    assert (settings["COMPATIBLE_API_KEY"], settings["NEMOCLAW_PREFERRED_API"]) == (KEY, "openai-completions")
    assert "NEMOCLAW_YES" not in settings, "consent to a download waives checks in NemoClaw"
    assert recorded(host)["provider"] == PROVIDER
    assert host.route() == [PROVIDER, "scripted", 90]
    assert host.provider()["credentials"] == {"COMPATIBLE_API_KEY": KEY}
    assert not give(host, first)["changed"]
    assert len(onboardings(nemoclaw)) == 1

    desired = Desired(host.recorded(), "dummy", host.recorded())
    removed = backends.remove("auto", host.machine, host.account, desired, False)
    assert (removed["changed"], removed["backend"]) == (False, "nemoclaw")
    assert "NemoClaw's gateway was left unchanged" in removed["summary"][0]
    assert (list(host.server.known()["sandboxes"]), host.route()) == ([SANDBOX], [PROVIDER, "scripted", 90])


def test_another_model_without_another_onboarding(
    host: Host, nemoclaw: Double, first: Wanted, llama: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(host, first)
    second = Wanted(llama("good", api_key=KEY, alias="second").base_url, KEY, "second")
    other = Wanted(llama("good", api_key=OTHER_KEY, alias="second").base_url, OTHER_KEY, "second")
    before = host.state()[:3]

    # Nothing of NemoClaw's is touched before the sandbox has proved it: its key is all that nobody could give back.
    assert failing(host, other, route=DEAD).code == "sandbox_upstream_down"
    assert host.state()[:3] == before

    nemoclaw.behave("set")
    said = failing(host, second).message
    assert "nemoclaw inference set" in said
    assert f"NemoClaw was told of scripted by {PROVIDER} again" in said
    assert recorded(host)["model"] == "scripted", "half of the work was done, and is undone"
    assert host.state()[:3] == before, "the previous address, with the key that the provider had"

    def full(*_arguments: object, **_options: object) -> None:
        raise Failure("route_record_unwritable", "The disk is full.")

    with monkeypatch.context() as patched:
        name = "ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write.write_record"
        patched.setattr(name, full)
        said = failing(host, second).message
    assert f"NemoClaw was told of scripted by {PROVIDER} again" in said
    assert f"The provider {PROVIDER} points to {first.route['base_url_sandbox']} again." in said
    assert (recorded(host)["model"], host.state()[:3]) == ("scripted", before)

    give(host, second)
    assert host.route() == [PROVIDER, "second", 90], "NemoClaw's own command leaves another timeout"
    assert recorded(host)["model"] == "second"
    assert len(onboardings(nemoclaw)) == 1
    assert list(host.server.known()["providers"]) == [PROVIDER]
    assert not give(host, second)["changed"]


@pytest.mark.parametrize("release", nemoclaw_double.RELEASES)
def test_a_life_with_each_release(host: Host, nemoclaw: Double, first: Wanted, llama: Llama, release: str) -> None:
    """As site, switch_model within and across providers, rotate_token, status and uninstall have it."""
    (nemoclaw.folder / "release").write_text(release, encoding="utf-8")
    token, rotated = secrets.token_hex(24), secrets.token_hex(24)
    second = Wanted(llama("good", api_key=KEY, alias="second").base_url, KEY, "second")
    anthropic = Wanted(llama("good", api_key=OTHER_KEY).root_url, OTHER_KEY, provider="anthropicCompatible")
    # In the place of the auth proxy: one takes the first token, and the other what comes after it.
    ollama = Wanted("http://127.0.0.1:11434/v1", token, "qwen2.5:7b", "ollama")
    gates = {key: llama("good", api_key=key, alias="qwen2.5:7b").base_url for key in (token, rotated)}
    beside = {"base_url_sandbox": gates[token].replace("127.0.0.1", "host.openshell.internal")}
    for wanted, options in ((first, {}), (second, {}), (anthropic, {}), (ollama, {"route": beside})):
        done = give(host, wanted, **options)
        assert (done["changed"], done["proved"], done["warnings"]) == (True, True, [])
        assert (recorded(host)["provider"], recorded(host)["model"]) == tuple(host.route()[:2])
    assert not give(host, ollama, route=beside)["changed"]
    assert len(onboardings(nemoclaw)) == 1
    assert not (nemoclaw.folder / "proxy").exists(), "none of NemoClaw's own beside ours"
    checks = check_gateway(host.machine, host.account, host.recorded(), Status(), 20)
    assert [(one.name, one.state) for one in checks] == [("gateway", "healthy"), ("sandbox", "healthy")]

    known = {**host.recorded(), "base_url_sandbox": gates[rotated].replace("127.0.0.1", "host.openshell.internal")}
    rotation = Desired(known, rotated, known, known["gateway"], known["sandbox"], require_tools=False)
    foreseen = backends.rotate("auto", host.machine, host.account, rotation, True)
    done = backends.rotate("auto", host.machine, host.account, rotation, False, token)
    assert (done["actions"], done["proved"], done["restart_needed"]) == (foreseen["actions"], True, False)
    assert not host.remove()["changed"], "all of it is NemoClaw's"


def test_a_server_behind_the_auth_proxy_is_an_endpoint_at_first(host: Host, nemoclaw: Double) -> None:
    """NemoClaw's own choice for Ollama would start a proxy on the auth proxy's port."""
    token = secrets.token_hex(24)
    wanted = Wanted("http://127.0.0.1:11434/v1", token, "qwen2.5:7b", "ollama", 240)
    route = {"base_url_sandbox": "http://host.openshell.internal:11435/v1"}
    give(host, wanted, route=route, proof=False)
    (call,) = onboardings(nemoclaw)
    assert call["settings"]["COMPATIBLE_API_KEY"] == token
    assert call["settings"]["NEMOCLAW_ENDPOINT_URL"] == route["base_url_sandbox"]
    assert recorded(host)["provider"] == "ollama-local"
    assert host.route() == ["ollama-local", "qwen2.5:7b", 240]
    assert host.provider("ollama-local")["credentials"] == {"OPENAI_API_KEY": token}
    assert not give(host, wanted, route=route, proof=False)["changed"]


def test_a_newer_nemoclaw_keeps_the_endpoint(host: Host, nemoclaw: Double) -> None:
    """It would start its own proxy beside ours for ollama-local (decision 0028)."""
    (nemoclaw.folder / "release").write_text("0.0.70", encoding="utf-8")
    wanted = Wanted("http://127.0.0.1:11434/v1", secrets.token_hex(24), "qwen2.5:7b", "ollama", 240)
    route = {"base_url_sandbox": "http://host.openshell.internal:11435/v1"}
    give(host, wanted, route=route, proof=False)
    assert (recorded(host)["provider"], host.route()[0]) == ("compatible-endpoint", "compatible-endpoint")
    assert not give(host, wanted, route=route, proof=False)["changed"]
    assert not (nemoclaw.folder / "proxy").exists()


# What NemoClaw does, and what is told of it.
_FAILING = {
    "preflight": "nemoclaw_failed",
    "provider": "nemoclaw_failed",
    "not-ready": "nemoclaw_sandbox_timeout",
    "hang": "nemoclaw_stalled",
    "silent": "nemoclaw_not_recorded",
}


@pytest.mark.parametrize(("behaviour", "code"), _FAILING.items())
def test_what_fails_leaves_the_route(
    host: Host, nemoclaw: Double, first: Wanted, llama: Llama, behaviour: str, code: str
) -> None:
    host.give(first, "openshell")
    before = host.state()
    second = Wanted(llama("good", api_key=KEY, alias="second").base_url, KEY, "second")
    nemoclaw.behave(behaviour)
    failure = failing(host, second, ready_timeout=1, stall_timeout=3)
    assert failure.code == code
    assert (
        f"Nothing was recorded. The provider {PROVIDER} points to {first.route['base_url_sandbox']} again."
        in failure.message
    )
    assert host.state() == before
    assert host.server.known()["sandboxes"] == {}


def test_what_cannot_be_given_back_is_said(host: Host, nemoclaw: Double, first: Wanted, llama: Llama) -> None:
    """NemoClaw's onboarding writes its provider, and what it could not finish is undone. Nobody can read the key that it wrote over."""
    host.give(first, "openshell")
    before = host.state()
    nemoclaw.behave("not-ready")
    other = Wanted(llama("good", api_key=OTHER_KEY, alias="second").base_url, OTHER_KEY, "second")
    said = failing(host, other, ready_timeout=1).message
    assert f"The gateway routes to scripted by {PROVIDER} again" in said
    assert f"The provider {PROVIDER} may have the address and the key of this run" in said
    assert host.state()[1:] == before[1:]
    assert host.provider()["config"] != {"OPENAI_BASE_URL": first.route["base_url_sandbox"]}, (
        "the previous server never gets the other one's key"
    )

    # What fails after a whole onboarding is undone too, as far as it is known.
    nemoclaw.behave("well")
    host.give(first, "openshell")
    before = host.state()
    failure = failing(host, first, route=DEAD)
    assert failure.code == "sandbox_upstream_down"
    assert f"The provider {PROVIDER} points to {first.route['base_url_sandbox']} again." in failure.message
    assert host.state() == before


def test_a_gateway_that_is_down_makes_no_second_sandbox(host: Host, nemoclaw: Double, first: Wanted) -> None:
    host.record.parent.mkdir(mode=0o700)
    entry = {"name": SANDBOX, "provider": PROVIDER, "model": "scripted"}
    known = {"sandboxes": {SANDBOX: entry, "neighbour": entry}}
    host.record.with_name("sandboxes.json").write_text(json.dumps(known), encoding="utf-8")
    host.environ["OPENSHELL_GATEWAY_ENDPOINT"] = "http://127.0.0.1:9"
    assert failing(host, first).code == "nemoclaw_gateway_down"
    assert (onboardings(nemoclaw), host.record.exists()) == ([], False)


def test_a_gateway_that_asks_for_a_certificate(
    tmp_path: Path, openshell_home: Path, certificates: Certificates, first: Wanted, llama: Llama
) -> None:
    """As that of newer releases does: NemoClaw starts it and puts the certificate where the user's registration is."""
    with openshell_parts.serving("0.0.111", openshell_home, tls=certificates.server) as server:
        nemoclaw = nemoclaw_double.install(tmp_path / "double", "2026-08")
        host = Host(tmp_path, server, f"{nemoclaw.program.parent}:", is_registered=False)

        # One that it takes from elsewhere: the onboarding ends before there is a provider, and the next run does not begin another.
        nemoclaw.own(server.endpoint, certificates.stranger)
        for _run in range(2):
            failure = failing(host, first)
            assert failure.code == "openshell_gateway_tls", failure.message
            assert "client certificate" in failure.message
        assert (len(onboardings(nemoclaw)), server.known()["providers"], host.record.exists()) == (1, {}, False)
        shown = Path(host.environ["XDG_CONFIG_HOME"], "openshell", "gateways", "nemoclaw", "mtls")
        shutil.rmtree(shown.parent)

        nemoclaw.own(server.endpoint, certificates.client)
        done = give(host, first)
        assert (done["proved"], done["gateway"], recorded(host)["provider"]) == (True, "nemoclaw", PROVIDER)
        assert not give(host, first)["changed"]
        second = Wanted(llama("good", api_key=KEY, alias="second").base_url, KEY, "second")
        assert give(host, second)["proved"]
        assert (host.route(), len(onboardings(nemoclaw))) == ([PROVIDER, "second", 90], 2)

        before = host.state()
        kept = {path: path.read_bytes() for path in shown.iterdir()}
        for name, source, words in (
            ("tls.crt", certificates.stranger / "tls.crt", "client certificate"),
            ("ca.crt", certificates.stranger / "tls.crt", "no authority that the user"),
        ):
            for path, content in kept.items():
                path.write_bytes(content)
            shutil.copy(source, shown / name)
            if name == "tls.crt":
                shutil.copy(certificates.stranger / "tls.key", shown)
            failure = failing(host, first)
            assert (failure.code, words in failure.message) == ("openshell_gateway_tls", True)
            (seen,) = check_gateway(host.machine, host.account, host.recorded(), Status(), 20)
            assert (seen.name, seen.code) == ("gateway", "openshell_gateway_tls")
        assert (host.state(), len(onboardings(nemoclaw))) == (before, 2)


def test_the_terms_are_the_users_to_accept(host: Host, nemoclaw: Double, first: Wanted) -> None:
    assert failing(host, first, accepted=False).code == "nemoclaw_terms_not_accepted"
    with pytest.raises(Failure, match="accept"):
        host.check(first, "auto")
    assert (onboardings(nemoclaw), host.route(), host.record.exists()) == ([], None, False)


def test_other_sandboxes_are_not_led_away(host: Host, nemoclaw: Double, first: Wanted, llama: Llama) -> None:
    host.give(first, "openshell")
    host.add_sandbox("neighbour")
    before = host.state()
    second = Wanted(llama("good", api_key=KEY, alias="second").base_url, KEY, "second")
    assert failing(host, second).code == "route_shared"
    # The same model: the gateway's route stays as it is, and NemoClaw would write the provider under it.
    third = Wanted(llama("good", api_key=KEY, n_ctx=16384).base_url, KEY)
    assert "neighbour" in failing(host, third).message
    assert (host.state(), onboardings(nemoclaw)) == (before, [])


def test_a_host_without_nemoclaw(host: Host, nemoclaw: Double, first: Wanted) -> None:
    nemoclaw.program.unlink()
    with pytest.raises(Failure, match="choose another backend") as caught:
        host.give(first, "nemoclaw", accepted=True)
    assert caught.value.code == "nemoclaw_missing"
    assert not host.record.exists()
