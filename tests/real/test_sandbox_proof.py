# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route proved from inside a sandbox, in three releases: the real CLI, a real model server, and the stand-ins between them."""

from __future__ import annotations

import json
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, lifecycle, look, proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired as Provider
from conftest import CHAT, KEY, MESSAGES, RESPONSES, Llama, in_every_release, make_sandbox, url

DESIRED = proof.Desired("scripted", CHAT, "my-assistant", timeout=60, settle=0.3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.1)


def lead(cli: OpenShell, base_url: str, key: str = KEY, kind: str = "openai", model: str = "scripted") -> None:
    """Lead the gateway to a server, as a sandbox reaches it."""
    name = kind.upper()
    address = base_url.replace("127.0.0.1", "host.openshell.internal")
    desired = Provider(f"lab-{kind}", kind, {f"{name}_API_KEY": key}, {f"{name}_BASE_URL": address})
    changes.ensure_provider(cli, desired, False)
    changes.ensure_route(cli, openshell_route.DesiredRoute(f"lab-{kind}", model, 60), False)


def make(cli: OpenShell, image: str = "lab/ready:1", name: str = "my-assistant") -> None:
    make_sandbox(cli, look.DesiredSandbox(name, image, timeout=20))


def prove(cli: OpenShell, **changed: Any) -> Report:
    desired = proof.Desired(**{**vars(DESIRED), **changed})
    report = Report(desired.api, desired.model)
    found = proof.choose_sandbox(cli, desired.sandbox)
    assert found is not None
    proof.prove(cli, found, desired, report)
    return report


def failure_of(cli: OpenShell, **changed: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        prove(cli, **changed)
    said = json.dumps(caught.value.as_result())
    assert KEY not in said
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize(("api", "kind"), [(CHAT, "openai"), (RESPONSES, "openai"), (MESSAGES, "anthropic")])
@in_every_release
def test_an_answer_and_a_tool_call(openshell: OpenShell, llama: Llama, api: str, kind: str) -> None:
    server = llama("good", api_key=KEY)
    lead(openshell, url(server, api), kind=kind)
    make(openshell)
    report = prove(openshell, api=api)
    assert [(probe.name, probe.outcome, probe.status) for probe in report.probes] == [
        ("completion", "passed", 200),
        ("tool_call", "passed", 200),
        ("tool_call_streamed", "passed", 200),
        ("second_turn", "passed", 200),
    ]
    assert report.tool_calling == "structured"
    assert report.base_url == ("https://inference.local" if api == MESSAGES else "https://inference.local/v1")


def test_a_key_with_quotes_arrives_as_it_is(openshell: OpenShell, llama: Llama) -> None:
    key = "a'b\"c%s%%d$HOME`id`"
    lead(openshell, llama("good", api_key=key).base_url, key=f"{key}\n")
    make(openshell)
    assert prove(openshell, probes=proof.COMPLETION).probes[0].outcome == "passed"


def test_four_failures_are_told_apart(openshell: OpenShell, llama: Llama) -> None:
    make(openshell)
    make(openshell, "lab/bare:1", "bare")
    nowhere = failure_of(openshell)
    assert (nowhere.code, nowhere.details["status"]) == ("sandbox_route_refused", 503)
    assert "is not configured" in nowhere.message

    good = llama("good", api_key=KEY).base_url
    lead(openshell, good)
    assert prove(openshell).tool_calling == "structured"
    missing = failure_of(openshell, sandbox="bare")
    assert (missing.code, missing.details["sandbox"]) == ("sandbox_command_missing", "bare")
    assert "curl" in missing.message

    other_api = failure_of(openshell, api=MESSAGES)
    assert (other_api.code, other_api.details["status"]) == ("sandbox_route_refused", 400)

    lead(openshell, good, key="another-key")
    wrong_key = failure_of(openshell)
    assert (wrong_key.code, wrong_key.details["status"]) == ("sandbox_key_refused", 401)

    lead(openshell, "http://127.0.0.1:9/v1")
    down = failure_of(openshell)
    assert (down.code, down.details["status"]) == ("sandbox_upstream_down", 503)

    lead(openshell, "http://no-such-host.invalid/v1")
    nameless = failure_of(openshell)
    assert (nameless.code, nameless.details["status"]) == ("sandbox_upstream_down", 503)

    lead(openshell, llama("leaks", api_key=KEY).base_url)
    leaked = failure_of(openshell)
    assert (leaked.code, leaked.details["tool_calling"]) == ("tool_calls_leaked", "leaked")
    tolerated = prove(openshell, require_tools=False)
    assert (tolerated.tool_calling, len(tolerated.warnings)) == ("leaked", 1)


def test_a_route_of_the_past_proves_nothing(openshell: OpenShell, llama: Llama) -> None:
    """The sandbox still answers after each of these changes; the proof says what is wrong all the same."""
    make(openshell)
    lead(openshell, llama("good", api_key=KEY).base_url)
    assert prove(openshell).tool_calling == "structured"
    other = failure_of(openshell, model="other", settle=0)
    assert (other.code, other.details["sandbox"]) == ("gateway_route_differs", "my-assistant")
    openshell.call("provider", "delete", "lab-openai")
    for settle in (0, 0.5):
        stale = failure_of(openshell, settle=settle)
        assert (stale.code, stale.details["provider"]) == ("route_dangling", "lab-openai")


def test_a_sandbox_that_began_without_the_provider(openshell: OpenShell, llama: Llama) -> None:
    lead(openshell, llama("good", api_key=KEY).base_url)
    openshell.call("provider", "delete", "lab-openai")
    # As somebody else makes it, or OpenShell itself starts it after a reboot.
    openshell.attempt("sandbox", "create", "--name", "my-assistant", "--from", "lab/ready:1", "--no-tty", "--", "true")
    lead(openshell, llama("good", api_key=KEY).base_url)
    off = failure_of(openshell)
    assert off.code == "sandbox_inference_off"
    assert str(openshell.release) in off.message
    if openshell.release.detaches:
        lifecycle.restart_sandbox(openshell, look.DesiredSandbox("my-assistant", timeout=20), False)
        assert prove(openshell).tool_calling == "structured"


def test_a_gate_before_a_dead_server(openshell: OpenShell, broken: str) -> None:
    lead(openshell, f"{broken}/status_502/v1")
    make(openshell)
    failure = failure_of(openshell)
    assert (failure.code, failure.details["status"]) == ("sandbox_upstream_down", 502)


def test_a_model_that_still_loads_is_waited_for(openshell: OpenShell, broken: str) -> None:
    lead(openshell, f"{broken}/status_503_twice~{openshell.release}/v1")
    make(openshell)
    completion = prove(openshell, probes=proof.COMPLETION).probes[0]
    assert (completion.outcome, completion.tries) == ("passed", 3)


def test_which_sandbox(openshell: OpenShell, llama: Llama) -> None:
    assert proof.choose_sandbox(openshell, None) is None
    absent = failure_of(openshell)
    assert (absent.code, absent.details["last_state"]) == ("sandbox_not_ready", "not there")
    make(openshell, name="first")
    with pytest.raises(Failure):
        make(openshell, "lab/broken:1", "broken")
    assert proof.choose_sandbox(openshell, None) == "first"
    failed = failure_of(openshell, sandbox="broken")
    assert (failed.code, failed.details["last_state"]) == ("sandbox_not_ready", "Error")


def test_a_route_is_read_again_every_few_seconds(openshell_home: Any, open_cli: Any, llama: Llama) -> None:
    """Without a wait the answer comes from the route of before, as in a real sandbox; with it, from the new one."""
    with openshell_parts.serving("0.0.111", openshell_home, route_refresh=3) as slow:
        cli = open_cli(slow)
        make(cli)
        lead(cli, llama("good", api_key=KEY).base_url)
        assert prove(cli, settle=3.2).tool_calling == "structured"
        lead(cli, "http://127.0.0.1:9/v1")
        # One question: four take longer than the route stays.
        assert prove(cli, settle=0, probes=proof.COMPLETION).probes[0].outcome == "passed"
        assert failure_of(cli, settle=3.2).code == "sandbox_upstream_down"
