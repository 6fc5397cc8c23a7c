# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Providers on the gateways of three releases: made, left alone, noticed, set right, refused."""

from __future__ import annotations

import itertools
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired
from conftest import in_every_release

URL = "http://host.openshell.internal:11435/v1"
DESIRED = Desired("ollama-local", "openai", {"OPENAI_API_KEY": "lab-secret-1"}, {"OPENAI_BASE_URL": URL})


def have(cli: OpenShell, desired: Desired = DESIRED, check_mode: bool = False) -> provider.Outcome:
    return changes.ensure_provider(cli, desired, check_mode)


def stored(gateway: openshell_parts.Gateway, name: str = "ollama-local") -> dict[str, Any]:
    found: dict[str, Any] = gateway.known()["providers"][name]
    return found


def writes(gateway: openshell_parts.Gateway) -> int:
    return sum(call in ("CreateProvider", "UpdateProvider", "DeleteProvider") for call in gateway.known()["calls"])


@in_every_release
def test_it_is_made_once(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    planned = have(openshell, check_mode=True)
    assert planned.changed
    assert planned.actions == ["create ollama-local"]
    assert gateway.known()["providers"] == {}
    first = have(openshell)
    assert first.changed
    assert first.after is not None
    assert first.after.credential_keys == ["OPENAI_API_KEY"]
    assert stored(gateway) == {
        "type": "openai",
        "credentials": {"OPENAI_API_KEY": "lab-secret-1"},
        "config": {"OPENAI_BASE_URL": URL},
        "resource_version": 1,
    }
    before = writes(gateway)
    for check_mode in (True, False):
        again = have(openshell, check_mode=check_mode)
        assert not again.changed
        assert again.after == first.after
    assert writes(gateway) == before


@pytest.mark.parametrize(
    "desired",
    [
        replace(DESIRED, credentials={"OPENAI_API_KEY": "lab-secret-2"}),
        replace(DESIRED, config={"OPENAI_BASE_URL": URL.replace("11435", "11436")}),
        replace(DESIRED, config={}),
        replace(DESIRED, credentials={"OTHER_KEY": "lab-secret-1"}),
        replace(DESIRED, force=True),
    ],
    ids=["secret", "url", "less", "renamed", "forced"],
)
def test_a_difference_is_brought_over(openshell: OpenShell, gateway: openshell_parts.Gateway, desired: Desired) -> None:
    have(openshell)
    assert have(openshell, desired, check_mode=True).changed
    outcome = have(openshell, desired)
    assert outcome.actions == ["update ollama-local"]
    found = stored(gateway)
    assert found["credentials"] == dict(desired.credentials)
    assert found["config"] == dict(desired.config)
    assert not have(openshell, replace(desired, force=False)).changed


def test_what_somebody_else_changed_is_noticed(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    have(openshell)
    openshell.call("provider", "update", "ollama-local", "--credential", "K", "--config", "A=b", environment={"K": "x"})
    assert have(openshell).changed
    assert stored(gateway)["credentials"] == {"OPENAI_API_KEY": "lab-secret-1"}
    assert stored(gateway)["config"] == {"OPENAI_BASE_URL": URL}
    openshell.call("provider", "delete", "ollama-local")
    words = ("provider", "create", "--name", "ollama-local", "--type", "openai", "--credential", "OPENAI_API_KEY")
    openshell.call(*words, environment={"OPENAI_API_KEY": "theirs"})
    assert have(openshell).changed
    assert stored(gateway)["credentials"] == {"OPENAI_API_KEY": "lab-secret-1"}


def test_another_type_is_refused_unless_allowed(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    words = ("provider", "create", "--name", "ollama-local", "--type", "anthropic", "--credential", "K")
    openshell.call(*words, environment={"K": "theirs"})
    with pytest.raises(Failure, match="of type anthropic") as caught:
        have(openshell)
    assert caught.value.code == "provider_type_differs"
    assert stored(gateway)["credentials"] == {"K": "theirs"}
    outcome = have(openshell, replace(DESIRED, replace_other=True))
    assert outcome.actions == ["delete ollama-local of type anthropic", "create ollama-local"]
    assert stored(gateway)["type"] == "openai"
    assert not have(openshell).changed


def test_one_attached_elsewhere_is_kept(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    have(openshell)
    with pytest.raises(Failure):  # the CLI's SSH step, which the stand-in has no answer for
        openshell.call(
            *[
                "sandbox",
                "create",
                "--name",
                "busy",
                "--from",
                "lab/ready:1",
                "--provider",
                "ollama-local",
                "--",
                "true",
            ]
        )
        raise Failure("ready", "0.0.111 ends without that step")
    for attempt in (
        lambda: changes.delete_provider(openshell, DESIRED, False),
        lambda: have(openshell, replace(DESIRED, type="anthropic", replace_other=True)),
    ):
        with pytest.raises(Failure, match="busy") as caught:
            attempt()
        assert caught.value.code == "provider_attached"
    assert stored(gateway)["type"] == "openai"


@pytest.mark.parametrize(
    "secret", ["a'b\"c", "100%s%%d", "$HOME `id` \\n".replace(" ", ""), "-x", "=", "{{ 1 }}".replace(" ", "")]
)
def test_a_secret_arrives_as_it_is(openshell: OpenShell, gateway: openshell_parts.Gateway, secret: str) -> None:
    desired = replace(DESIRED, credentials={"OPENAI_API_KEY": f" {secret}\r\n"})
    have(openshell, desired)
    assert stored(gateway)["credentials"] == {"OPENAI_API_KEY": secret}
    assert not have(openshell, replace(desired, credentials={"OPENAI_API_KEY": secret})).changed


def test_what_is_kept_says_nothing(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    outcome = have(openshell)
    path = Path(openshell.account.home, ".nemoclaw", "openshell-providers.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "lab-secret-1" not in path.read_text(encoding="utf-8")
    assert "lab-secret-1" not in json.dumps(changes.provider_result(outcome, DESIRED))
    assert "lab-secret-1" not in repr((outcome, DESIRED, openshell))
    path.write_text("{", encoding="utf-8")
    assert have(openshell).changed, "a broken file remembers nothing"
    assert not have(openshell).changed


@in_every_release
def test_it_is_removed(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    assert not changes.delete_provider(openshell, DESIRED, False).changed
    have(openshell)
    assert changes.delete_provider(openshell, DESIRED, True).changed
    assert stored(gateway)
    outcome = changes.delete_provider(openshell, DESIRED, False)
    assert (outcome.changed, outcome.after) == (True, None)
    assert gateway.known()["providers"] == {}
    assert not changes.delete_provider(openshell, DESIRED, False).changed


def test_the_route_through_it_is_respected(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    have(openshell)
    changes.ensure_route(openshell, openshell_route.DesiredRoute("ollama-local", "m"), False)
    if openshell.release.deletes_routes:
        with pytest.raises(Failure, match="every sandbox would get errors") as caught:
            changes.delete_provider(openshell, DESIRED, False)
        assert caught.value.code == "provider_in_use"
        assert stored(gateway)
    outcome = changes.delete_provider(openshell, replace(DESIRED, force=True), False)
    assert outcome.changed
    assert "is gone" in outcome.warnings[0]


def test_more_providers_than_one_page_has(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    for number in range(101):
        words = ("provider", "create", "--name", f"lab-{number:03}", "--type", "openai", "--credential", "K")
        openshell.call(*words, environment={"K": "x"})
    have(openshell, replace(DESIRED, name="zz-last"))
    assert not have(openshell, replace(DESIRED, name="zz-last")).changed


def test_what_cannot_be_remembered_is_not_given(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    """Or a role would find a gateway that was changed by a module that failed."""
    # A file where the folder has to be: unwritable for root as well.
    Path(openshell.account.home, ".nemoclaw").touch()
    with pytest.raises(Failure, match="The gateway is as it was") as caught:
        have(openshell)
    assert caught.value.code == "openshell_state_unwritable"
    assert gateway.known()["providers"] == {}


def test_what_was_given_and_cannot_be_remembered_is_given_again(
    openshell: OpenShell, gateway: openshell_parts.Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error: there would be nothing to lead back. A disk that fills up between two writes, which nothing else makes happen."""
    write, tries = changes.write_state, itertools.count()

    def full(path: str, remembered: provider.Remembered) -> None:
        if next(tries) == 1:
            raise Failure("openshell_state_unwritable", "it cannot be written: No space left on device.")
        write(path, remembered)

    monkeypatch.setattr(changes, "write_state", full)
    outcome = have(openshell)
    assert outcome.changed
    assert "No space left" in outcome.warnings[0]
    assert stored(gateway)["credentials"] == {"OPENAI_API_KEY": "lab-secret-1"}
    assert have(openshell).changed
    assert not have(openshell).changed


def test_values_of_before_are_known_whoever_changed_them(
    openshell: OpenShell, gateway: openshell_parts.Gateway
) -> None:
    have(openshell)
    other = ("provider", "update", "ollama-local", "--credential", "OPENAI_API_KEY")
    openshell.call(*other, environment={"OPENAI_API_KEY": "of-somebody-else"})
    for credential, known in (("lab-secret-1", True), ("lab-secret-2", False)):
        found = have(openshell, replace(DESIRED, credentials={"OPENAI_API_KEY": credential}), check_mode=True)
        assert (found.changed, found.known_values) == (True, known)
    assert have(openshell).known_values
    assert stored(gateway)["credentials"] == {"OPENAI_API_KEY": "lab-secret-1"}


def test_what_was_not_given_from_here_stays(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    ours = replace(DESIRED, ours_only=True)
    assert not changes.delete_provider(openshell, ours, False).changed
    have(openshell)
    state = Path(provider.state_path(openshell.account.home))
    remembered = state.read_text(encoding="utf-8")
    state.unlink()
    assert not changes.delete_provider(openshell, ours, False).changed, "as if somebody else had made it"
    state.write_text(remembered, encoding="utf-8")
    assert changes.delete_provider(openshell, ours, False).actions == ["delete ollama-local"]
    assert gateway.known()["providers"] == {}
    assert not state.exists(), "nothing is left to remember"
