# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Onboarding and C(inference set) with the double of three releases of NemoClaw, OpenShell's real CLI and the stand-in gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nemoclaw_double
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw import inference
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.desired import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.onboard import Onboarding
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import (
    NemoClaw,
    find_recorded,
    routed,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import find_openshell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired as Provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

KEY = "canary-94b1"
NAME = "lab"
NEWER = ("0.0.70", "2026-08")


def route_to(kind: str, model: str = "tiny", **more: Any) -> dict[str, Any]:
    return build_route(
        **{
            "provider": kind,
            "base_url": "http://127.0.0.1:8001/v1",
            "model": model,
            "api": "openai-completions",
            "timeout": 240,
            **more,
        }
    )


@dataclass
class Host:
    """A host with NemoClaw of a release."""

    double: nemoclaw_double.Double
    nemoclaw: NemoClaw
    gateway: openshell_parts.Gateway

    def onboard(self, route: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Do as the module does: plan, and work where that says so."""
        made = Onboarding(self.nemoclaw, Desired(NAME, route, KEY, accepted=True, **more), "")
        return made.plan(check_mode=False) or made.work(lambda _position: None)

    def tell(self, route: dict[str, Any]) -> dict[str, Any]:
        """Do as whoever sets the provider does: it is on the gateway before NemoClaw is told."""
        taken = routed(self.nemoclaw, NAME, route)
        cli = find_openshell(self.nemoclaw.machine, self.nemoclaw.account)
        kind, url = taken["provider_type"], taken["base_url_sandbox"]
        config = {"ANTHROPIC_BASE_URL" if kind == "anthropic" else "OPENAI_BASE_URL": url}
        changes.ensure_provider(
            cli, Provider(taken["provider_name"], kind, {taken["credential_env"]: KEY}, config), False
        )
        desired = inference.Desired(
            NAME, taken["provider_name"], taken["model"], taken["timeout"], "allow", url, taken["api"], KEY
        )
        return inference.have(self.nemoclaw, cli, desired, False)

    @property
    def route(self) -> list[Any]:
        return self.gateway.known()["routes"]["inference.local"][:3]

    @property
    def onboardings(self) -> int:
        return sum(call["words"][:1] == ["onboard"] for call in self.double.calls())

    def settings(self) -> dict[str, str]:
        """Return what NemoClaw was given last."""
        found: dict[str, str] = self.double.calls()[-1]["settings"]
        return found


Make = Callable[[str], Host]


@pytest.fixture
def host(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, gateways: dict[str, openshell_parts.Gateway]
) -> Make:
    gateway = gateways["0.0.111"]
    gateway.forget()

    def make(release: str) -> Host:
        double = nemoclaw_double.install(tmp_path_factory.mktemp("nemoclaw") / "double", release)
        environ = {
            "PATH": f"{gateway.cli.parent}:/usr/bin:/bin",
            "OPENSHELL_GATEWAY_ENDPOINT": gateway.endpoint,
            "HOME": str(tmp_path),
        }
        account = find_account()._replace(home=str(tmp_path))
        return Host(double, NemoClaw(Machine(environ=environ), account, str(double.program)), gateway)

    return make


@pytest.mark.parametrize("release", nemoclaw_double.RELEASES)
def test_a_sandbox_is_onboarded_and_routed_elsewhere(host: Make, release: str) -> None:
    """With a server of vLLM that wants a key, on a port that NemoClaw does not know."""
    at = host(release)
    first = at.onboard(route_to("vllm"))
    assert (first["changed"], first["recorded"]) == (True, {"provider": "compatible-endpoint", "model": "tiny"})
    assert not at.onboard(route_to("vllm"))["changed"]
    own = "compatible-endpoint" if release in NEWER else "vllm-local"
    assert at.tell(route_to("vllm"))["changed"] == (own == "vllm-local")
    assert at.route == [own, "tiny", 240]
    assert at.tell(route_to("vllm", model="other"))["changed"]
    assert (at.route, at.onboardings) == ([own, "other", 240], 1)
    assert not at.tell(route_to("vllm", model="other"))["changed"]


@pytest.mark.parametrize("release", nemoclaw_double.RELEASES)
def test_no_proxy_of_nemoclaws_own_stands_beside_ours(host: Make, release: str) -> None:
    at = host(release)
    ollama = {"base_url_sandbox": "http://host.openshell.internal:11435/v1"}
    at.onboard(route_to("ollama", **ollama))
    at.tell(route_to("ollama", model="other", **ollama))
    assert at.route == ["compatible-endpoint" if release in NEWER else "ollama-local", "other", 240]
    assert not (at.double.folder / "proxy").exists()


@pytest.mark.parametrize("release", nemoclaw_double.RELEASES)
def test_from_one_kind_of_endpoint_to_the_other(host: Make, release: str) -> None:
    at = host(release)
    at.onboard(route_to("custom"))
    # NemoClaw asks Anthropic's API from the host when it onboards, so this is a switch.
    at.tell(route_to("anthropicCompatible", api="anthropic-messages", base_url="http://127.0.0.1:8002"))
    assert at.route[0] == "compatible-anthropic-endpoint"
    at.tell(route_to("custom"))
    recorded = find_recorded(at.nemoclaw.account.home, NAME)
    assert recorded is not None and (recorded.provider, recorded.model) == ("compatible-endpoint", "tiny")
    assert at.route[0] == "compatible-endpoint"


def test_another_api_reaches_the_sandbox_that_runs(host: Make) -> None:
    at = host("2026-08")
    at.onboard(route_to("custom"))
    wanted = route_to("custom", api="openai-responses")
    assert not at.onboard(wanted)["changed"], "no sandbox is made anew for it"
    assert at.tell(wanted)["changed"]
    recorded = find_recorded(at.nemoclaw.account.home, NAME)
    assert recorded is not None and recorded.api == "openai-responses"
    assert (at.onboardings, at.tell(wanted)["changed"]) == (1, False)


def test_an_older_release_bakes_the_api_only_when_allowed(host: Make) -> None:
    at = host("0.0.58")
    at.onboard(route_to("custom"))
    session = {"sandboxName": NAME, "provider": "compatible-endpoint", "preferredInferenceApi": "openai-completions"}
    path = Path(at.nemoclaw.account.home, ".nemoclaw", "onboard-session.json")
    path.write_text(json.dumps(session), encoding="utf-8")
    wanted = route_to("custom", api="openai-responses")
    for ask in (at.onboard, at.tell):
        with pytest.raises(Failure, match=r"NemoClaw 0\.0\.69 or later, and .* is 0\.0\.58") as raised:
            ask(wanted)
        assert raised.value.code == "nemoclaw_too_old"
    assert at.onboardings == 1


def test_a_failed_onboarding_does_not_stop_the_next(host: Make) -> None:
    at = host("2026-08")
    at.double.behave("dockerfile")
    with pytest.raises(Failure, match="ARG NEMOCLAW_TOOL_DISCLOSURE") as raised:
        at.onboard(route_to("custom"))
    assert (raised.value.code, raised.value.details["step"]) == ("nemoclaw_failed", "Creating sandbox")
    at.double.behave("well")
    assert at.onboard(route_to("custom"))["recorded"]["model"] == "tiny"
    assert at.onboardings == 2


@pytest.mark.parametrize("behaviour", ["no-registry", "port-held", "foreign-certificate", "plaintext", "unwell"])
def test_how_an_onboarding_ends(host: Make, behaviour: str) -> None:
    codes = {
        "no-registry": "nemoclaw_failed",
        "port-held": "nemoclaw_gateway_port_taken",
        "foreign-certificate": "openshell_gateway_tls",
        "plaintext": "openshell_gateway_plaintext",
        "unwell": "nemoclaw_deployment_unwell",
    }
    at = host("2026-08")
    at.double.behave(behaviour)
    with pytest.raises(Failure) as raised:
        at.onboard(route_to("custom"))
    assert raised.value.code == codes[behaviour]
    assert "--resume" not in raised.value.message.partition("See last_logs")[0]


def test_waiting_for_ever_is_stopped(host: Make) -> None:
    at = host("2026-08")
    at.double.behave("heartbeats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Onboarding.__module__ + "._HAND_OFF_S", 1.0)
        with pytest.raises(Failure, match="reported no progress for 3 s in step 'Creating sandbox'") as raised:
            at.onboard(route_to("custom"), ready_timeout=1, stall_timeout=1)
    assert raised.value.code == "nemoclaw_stalled"


def test_settings_not_written_in_the_sandbox_are_a_failure(host: Make) -> None:
    at = host("0.0.58")
    at.onboard(route_to("custom"))
    at.double.behave("unwritten")
    with pytest.raises(Failure, match="NemoClaw was told of tiny by compatible-endpoint again") as raised:
        at.tell(route_to("custom", model="other"))
    assert raised.value.code == "nemoclaw_config_unwritten"
    assert at.route[1] == "tiny"


@pytest.mark.parametrize(
    ("address", "named", "code"),
    [
        ("10.255.255.1", "", None),
        ("10.255.255.1", "other.example", None),
        # Nobody names it for a user, and NemoClaw would not take it by name either.
        ("169.254.169.254", "169.254.169.254", "nemoclaw_endpoint_refused"),
    ],
)
def test_a_server_at_another_address(host: Make, address: str, named: str, code: str | None) -> None:
    at = host("2026-08")
    at.nemoclaw.machine.environ["NEMOCLAW_TRUSTED_PRIVATE_HOSTS"] = named
    route = {**route_to("custom"), "base_url_sandbox": f"http://{address}:8000/v1"}
    with pytest.raises(Failure) as raised:
        at.onboard(route)
    trusted = at.settings()["NEMOCLAW_TRUSTED_PRIVATE_HOSTS"]
    assert trusted == (named if code else ",".join(filter(None, [named, address])))
    # Nothing listens at the private address: NemoClaw got past its guard, to the server.
    assert raised.value.code == (code or "nemoclaw_failed")
