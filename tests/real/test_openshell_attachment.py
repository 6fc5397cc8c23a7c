# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of OpenShell 0.1, against stand-ins for its gateway and its command line and a real model server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import lifecycle, look, proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.attaching import Attachment, Outcome
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.attachment import Desired, attached_at
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import ATTACHMENT, ROUTE, OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import list_sandboxes
from conftest import CHAT, KEY, MESSAGES, Llama, OpenCli, make_sandbox, url

NEW_KEY = "canary-2a6c5e9b17"


@pytest.fixture(scope="module")
def running(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(openshell_parts.ATTACHMENT, openshell_home) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: openshell_parts.Gateway) -> openshell_parts.Gateway:
    running.forget()
    return running


@pytest.fixture
def cli(gateway: openshell_parts.Gateway, open_cli: OpenCli, monkeypatch: pytest.MonkeyPatch) -> OpenShell:
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.1)
    found = open_cli(gateway, ways=(ROUTE, ATTACHMENT))
    assert (found.way, str(found.release)) == (ATTACHMENT, "0.1.5")
    make_sandbox(found, look.DesiredSandbox("first", "lab/ready:1", timeout=20))
    return found


def desired_for(base_url: str, **changed: Any) -> Desired:
    address = base_url.replace("127.0.0.1", "host.openshell.internal")
    return replace(Desired("first", "ollama-local", address, credential=KEY, timeout=5), **changed)


def attach(cli: OpenShell, desired: Desired) -> Outcome:
    attachment = Attachment(cli, desired)
    attachment.look()
    return attachment.apply(False)


def prove(cli: OpenShell, desired: Desired, **changed: Any) -> Report:
    asked = proof.Desired(
        "scripted",
        desired.api,
        desired.sandbox,
        60,
        base_url=desired.base_url,
        credential_name=desired.credential_name,
        **changed,
    )
    report = Report(desired.api, "scripted")
    proof.prove(cli, desired.sandbox, asked, report)
    return report


def failure_of(act: Any, *words: Any, **named: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        act(*words, **named)
    assert KEY not in json.dumps(caught.value.as_result())
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize(("api", "name"), [(CHAT, "OPENAI_API_KEY"), (MESSAGES, "ANTHROPIC_API_KEY")])
def test_from_nothing_to_a_proof_and_back(
    cli: OpenShell, gateway: openshell_parts.Gateway, llama: Llama, api: str, name: str
) -> None:
    desired = desired_for(url(llama("good", api_key=KEY), api), api=api, credential_name=name)
    first = attach(cli, desired)
    assert first.actions == ["import profile ollama-local", "create ollama-local", "attach ollama-local"]
    known = gateway.known()
    assert known["providers"]["ollama-local"] == ["ollama-local", {name: KEY}, 1]
    assert known["sandboxes"] == {"first": ["ollama-local"]}
    assert "LintProviderProfiles" in known["calls"]
    assert prove(cli, desired).tool_calling == "structured"
    again = attach(cli, desired)
    assert again.actions == [], "the second run changes nothing"
    removed = Attachment(cli, desired).remove(False)
    assert removed.actions == ["detach ollama-local", "delete ollama-local", "delete profile ollama-local"]
    known = gateway.known()
    assert (known["profiles"], known["providers"], known["sandboxes"]) == ({}, {}, {"first": []})
    assert Attachment(cli, desired).remove(False).actions == []
    refused = failure_of(prove, cli, desired, probes=proof.COMPLETION)
    assert refused.code == "sandbox_route_refused"
    assert "sandbox provider list first" in refused.message


def test_check_mode_says_what_the_run_does(cli: OpenShell, gateway: openshell_parts.Gateway) -> None:
    desired = desired_for("http://127.0.0.1:11435/v1")
    before = gateway.known()["calls"]
    planned = Attachment(cli, desired)
    planned.look()
    words = planned.apply(True).actions
    assert not {"ImportProviderProfiles", "CreateProvider", "AttachSandboxProvider"} & set(gateway.known()["calls"])
    assert len(gateway.known()["calls"]) > len(before)
    assert attach(cli, desired).actions == words
    other = Attachment(cli, replace(desired, credential=NEW_KEY))
    other.look()
    foreseen = other.apply(True)
    assert (foreseen.actions, foreseen.restart_needed) == (["update ollama-local", "wait for ollama-local"], True)
    assert gateway.known()["providers"]["ollama-local"][1] == {"OPENAI_API_KEY": KEY}
    assert other.apply(False) == foreseen


def test_another_server_updates_the_profile(cli: OpenShell, gateway: openshell_parts.Gateway, llama: Llama) -> None:
    attach(cli, desired_for("http://127.0.0.1:9/v1"))
    desired = desired_for(llama("good", api_key=KEY).base_url)
    moved = attach(cli, desired)
    assert moved.actions == ["update profile ollama-local", "wait for ollama-local"]
    assert not moved.restart_needed, "the key is the same"
    assert gateway.known()["profiles"]["ollama-local"][0] == 2
    assert prove(cli, desired, probes=proof.COMPLETION).probes[0].outcome == "passed"
    assert attach(cli, desired).actions == []


def test_a_profile_that_somebody_else_changed_meanwhile(cli: OpenShell, gateway: openshell_parts.Gateway) -> None:
    attach(cli, desired_for("http://127.0.0.1:9/v1"))
    attachment = Attachment(cli, desired_for("http://127.0.0.1:10/v1"))
    attachment.look()
    attach(cli, desired_for("http://127.0.0.1:11/v1"))
    failure = failure_of(attachment.apply, False)
    assert (failure.code, "resource_version mismatch" in failure.message) == ("openshell_profile_invalid", True)
    assert gateway.known()["profiles"]["ollama-local"] == [2, ["host.openshell.internal:11/v1/**"]]


def test_a_new_key_needs_a_new_process(cli: OpenShell, gateway: openshell_parts.Gateway, llama: Llama) -> None:
    attach(cli, desired_for(llama("good", api_key=KEY).base_url))
    desired = desired_for(llama("good", api_key=NEW_KEY).base_url, credential=NEW_KEY)
    told = attach(cli, desired)
    assert told.restart_needed
    assert "restart: true" in told.warnings[0]
    assert "StopSandbox" not in gateway.known()["calls"]
    assert prove(cli, desired, probes=proof.COMPLETION).probes[0].outcome == "passed", (
        "a command there is a new process"
    )
    assert attach(cli, desired).actions == []
    restarted = attach(cli, replace(desired, credential="canary-3", may_restart=True))
    assert (restarted.restarted, restarted.restart_needed, restarted.warnings) == (True, False, [])
    assert restarted.actions[-1] == "restart first"
    assert {"StopSandbox", "StartSandbox"} <= set(gateway.known()["calls"])


def test_several_pages(cli: OpenShell, llama: Llama) -> None:
    """The stand-in's lists have two entries a page."""
    for name in ("second", "third", "fourth", "fifth"):
        make_sandbox(cli, look.DesiredSandbox(name, "lab/ready:1", timeout=20))
    assert [one.name for one in list_sandboxes(cli)] == ["fifth", "first", "fourth", "second", "third"]
    desired = desired_for(llama("good", api_key=KEY).base_url, sandbox="fifth")
    attach(cli, desired)
    attach(cli, replace(desired, sandbox="first"))
    for check_mode in (True, False):
        kept = Attachment(cli, desired).remove(check_mode)
        assert kept.actions == ["detach ollama-local"]
        assert kept.warnings == ["Provider and profile stay, since other sandboxes have them too: first."]


def test_a_sandbox_that_is_deleted_meanwhile_has_nothing_attached(cli: OpenShell) -> None:
    assert attached_at(cli, "nobody") == []


def test_what_cannot_be_attached(cli: OpenShell, gateway: openshell_parts.Gateway) -> None:
    desired = desired_for("http://127.0.0.1:11435/v1")
    absent = failure_of(attach, cli, replace(desired, sandbox="nobody"))
    assert (absent.code, absent.details["last_state"]) == ("sandbox_not_ready", "not there")
    for made, code, words in (
        (replace(desired, binaries=("curl",)), "openshell_profile_invalid", "binary path must be absolute"),
        (replace(desired, base_url="nonsense"), "url_invalid", "nonsense"),
        (replace(desired, provider="-x"), "openshell_name_invalid", "-x"),
        (replace(desired, credential=" "), "credential_missing", "dummy"),
    ):
        failure = failure_of(attach, cli, made)
        assert (failure.code, words in failure.message) == (code, True)
    assert gateway.known()["providers"] == {}
    attach(cli, desired)
    cli.call("sandbox", "provider", "detach", "first", "ollama-local", "--wait")
    cli.call("provider", "delete", "ollama-local")
    assert attach(cli, desired).actions == ["create ollama-local", "attach ollama-local"], "somebody deleted it"


def test_a_sandbox_that_never_applies_it(cli: OpenShell) -> None:
    make_sandbox(cli, look.DesiredSandbox("old", "lab/old-supervisor:1", timeout=20))
    desired = desired_for("http://127.0.0.1:11435/v1", sandbox="old", timeout=1)
    failure = failure_of(attach, cli, desired)
    assert (failure.code, failure.details["state"]) == ("attachment_not_ready", "pending")
    assert "unsupported_supervisor" in failure.message
    again = Attachment(cli, desired)
    again.look()
    assert again.plan() == ["wait for ollama-local"], "the next run waits again"


def test_each_way_says_which_release_knows_the_other(
    gateway: openshell_parts.Gateway, gateways: dict[str, openshell_parts.Gateway], open_cli: OpenCli
) -> None:
    route = failure_of(open_cli, gateway)
    assert (route.code, route.details["version"]) == ("openshell_too_new", "0.1.5")
    assert all(word in route.message for word in ("0.1.5", "0.0.116", "openshell_attachment"))
    old = failure_of(open_cli, gateways["0.0.111"], ways=(ATTACHMENT,))
    assert (old.code, old.details["version"]) == ("openshell_too_old", "0.0.111")
    assert "openshell_inference" in old.message


def test_a_command_line_of_0_1_and_a_gateway_before(
    gateway: openshell_parts.Gateway, gateways: dict[str, openshell_parts.Gateway], open_cli: OpenCli
) -> None:
    old, new = gateways["0.0.111"], gateway
    failures = [
        failure_of(open_cli, old, executable=str(new.cli), ways=(ATTACHMENT,)),
        failure_of(open_cli, new, executable=str(old.cli)),
    ]
    for failure in failures:
        assert failure.code == "openshell_release_mismatch"
        assert all(release in failure.message for release in ("0.1.5", "0.0.111"))
