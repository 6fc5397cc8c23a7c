# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandboxes of gateways of three releases: made, waited for, explained when they do not come up, deleted."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, lifecycle, look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import find_sandbox
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired as Provider
from conftest import in_every_release, make_sandbox

DESIRED = look.DesiredSandbox("my-assistant", "lab/ready:1", timeout=20)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.1)


def creations(gateway: openshell_parts.Gateway) -> int:
    return int(gateway.known()["calls"].count("CreateSandbox"))


def failure_of(cli: OpenShell, desired: look.DesiredSandbox) -> Failure:
    with pytest.raises(Failure) as caught:
        make_sandbox(cli, desired)
    assert caught.value.message.isprintable()
    return caught.value


@in_every_release
def test_it_is_made_once(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    planned = make_sandbox(openshell, DESIRED, True)
    assert (planned.changed, planned.sandbox) == (True, None)
    assert creations(gateway) == 0
    first = make_sandbox(openshell, DESIRED)
    assert first.changed
    assert first.as_result()["phase"] == "Ready"
    assert gateway.known()["sandboxes"]["my-assistant"]["image"] == "lab/ready:1"
    for check_mode in (True, False):
        again = make_sandbox(openshell, DESIRED, check_mode)
        assert not again.changed
        assert again.sandbox == first.sandbox
    assert creations(gateway) == 1


def test_providers_are_attached(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    changes.ensure_provider(openshell, Provider("lab", "openai", {"OPENAI_API_KEY": "dummy"}), False)
    make_sandbox(openshell, replace(DESIRED, image=None, providers=("lab",)))
    assert gateway.known()["sandboxes"]["my-assistant"]["providers"] == ["lab"]


def test_one_that_somebody_else_makes_is_waited_for(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    other = lifecycle.Creation(openshell, replace(DESIRED, image="lab/slow:1"))
    while find_sandbox(openshell, DESIRED.name) is None:
        assert not other.ended(0.05)
    outcome = make_sandbox(openshell, DESIRED)
    assert not outcome.changed
    assert outcome.as_result()["phase"] == "Ready"
    assert creations(gateway) == 1


def test_an_error_is_explained_and_left_to_look_at(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    failure = failure_of(openshell, replace(DESIRED, image="lab/broken:1"))
    assert failure.code == "sandbox_error"
    assert "supervisor exited with status 1" in failure.message
    assert failure.details["last_state"] == "Error"
    assert "minted sandbox JWT" in failure.details["last_logs"][0]
    assert find_sandbox(openshell, DESIRED.name) is not None
    again = failure_of(openshell, DESIRED)
    assert (again.code, again.details["last_state"]) == ("sandbox_error", "Error")
    assert creations(gateway) == 1


def test_an_image_that_cannot_be_had(openshell: OpenShell) -> None:
    """0.0.44 makes no sandbox then; later releases keep one in the phase Error."""
    failure = failure_of(openshell, replace(DESIRED, image="registry.invalid/none:1"))
    assert failure.code == "sandbox_error"
    assert "pull Docker image failed" in failure.message
    assert (find_sandbox(openshell, DESIRED.name) is None) == (str(openshell.release) == "0.0.44")


def test_one_that_hangs_ends_with_its_time(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    desired = replace(DESIRED, image="lab/stuck:1", timeout=2)
    failure = failure_of(openshell, desired)
    assert failure.code == "sandbox_timeout"
    assert failure.details["last_state"] == "Provisioning"
    assert failure.details["elapsed"] >= 2
    assert failure.details["last_logs"]
    assert failure_of(openshell, replace(desired, timeout=1)).code == "sandbox_timeout", "found in that state"
    assert creations(gateway) == 1


def test_provider_and_route_come_first(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    """A sandbox that starts while the route's provider is gone never gets inference: none is made then."""
    lab = Provider("lab", "openai", {"OPENAI_API_KEY": "dummy"})
    changes.ensure_provider(openshell, lab, False)
    changes.ensure_route(openshell, openshell_route.DesiredRoute("lab", "m"), False)
    openshell.call("provider", "delete", "lab")
    for check_mode in (True, False):
        with pytest.raises(Failure, match="provider lab, but that provider was deleted") as caught:
            make_sandbox(openshell, DESIRED, check_mode)
        assert caught.value.code == "route_dangling"
    assert creations(gateway) == 0
    changes.ensure_provider(openshell, lab, False)
    assert make_sandbox(openshell, DESIRED).changed


def test_stop_and_start(openshell: OpenShell) -> None:
    with pytest.raises(Failure) as caught:
        lifecycle.restart_sandbox(openshell, DESIRED, False)
    assert caught.value.code == "sandbox_not_ready"
    make_sandbox(openshell, DESIRED)
    assert lifecycle.restart_sandbox(openshell, DESIRED, True).actions == ["stop my-assistant", "start my-assistant"]
    if str(openshell.release) != "0.0.111":
        with pytest.raises(Failure, match=f"OpenShell {openshell.release} has no .*0.0.106") as caught:
            lifecycle.restart_sandbox(openshell, DESIRED, False)
        assert caught.value.code == "openshell_capability_missing"
        return
    assert lifecycle.restart_sandbox(openshell, DESIRED, False).as_result()["phase"] == "Ready"
    openshell.call("sandbox", "stop", DESIRED.name)
    with pytest.raises(Failure) as caught:
        make_sandbox(openshell, DESIRED)
    assert caught.value.code == "sandbox_stopped"
    assert lifecycle.restart_sandbox(openshell, DESIRED, False).actions == ["start my-assistant"]


@pytest.mark.parametrize(
    ("desired", "code"),
    [
        (replace(DESIRED, providers=("nobody",)), "openshell_provider_missing"),
        (replace(DESIRED, policy="/nowhere/policy.yaml"), "openshell_failed"),
        (replace(DESIRED, name="a-name-of-20-letters"), "sandbox_name_invalid"),
        (replace(DESIRED, name="Upper"), "sandbox_name_invalid"),
        (replace(DESIRED, name="two--hyphens"), "sandbox_name_invalid"),
        (replace(DESIRED, name="ends-"), "sandbox_name_invalid"),
        (replace(DESIRED, name="-g"), "sandbox_name_invalid"),
        (replace(DESIRED, name=""), "sandbox_name_invalid"),
        (replace(DESIRED, image="--no-keep"), "sandbox_image_invalid"),
        (replace(DESIRED, image=" "), "sandbox_image_invalid"),
        (replace(DESIRED, timeout=0), "timeout_invalid"),
        (replace(DESIRED, providers=("-x",)), "openshell_name_invalid"),
    ],
)
def test_what_cannot_be_made(
    openshell: OpenShell, gateway: openshell_parts.Gateway, desired: look.DesiredSandbox, code: str
) -> None:
    assert failure_of(openshell, desired).code == code
    assert gateway.known()["sandboxes"] == {}


@in_every_release
def test_it_is_deleted(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    assert not lifecycle.remove_sandbox(openshell, DESIRED, False).changed
    make_sandbox(openshell, DESIRED)
    assert lifecycle.remove_sandbox(openshell, DESIRED, True).changed
    assert find_sandbox(openshell, DESIRED.name) is not None
    outcome = lifecycle.remove_sandbox(openshell, DESIRED, False)
    assert outcome.as_result()["phase"] is None
    assert gateway.known()["sandboxes"] == {}
    assert not lifecycle.remove_sandbox(openshell, DESIRED, False).changed


def test_no_secret_is_in_any_argument(openshell: OpenShell) -> None:
    said = json.dumps(lifecycle.creation_words(openshell, replace(DESIRED, providers=("lab",))))
    assert "--env" not in said


def test_one_deleted_meanwhile_is_told(openshell: OpenShell, gateway: openshell_parts.Gateway) -> None:
    def delete() -> None:
        while find_sandbox(openshell, DESIRED.name) is None:
            pass
        openshell.call("sandbox", "delete", DESIRED.name)

    threading.Thread(target=delete, daemon=True).start()
    failure = failure_of(openshell, replace(DESIRED, image="lab/stuck:1", timeout=10))
    assert failure.code in ("sandbox_error", "openshell_failed")
    assert gateway.known()["sandboxes"] == {}
