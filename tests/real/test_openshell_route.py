# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route of gateways of three releases: compared, set, read again, kept when something fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Desired as Provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.text import RouteSeen
from conftest import OpenCli, in_every_release

DESIRED = openshell_route.DesiredRoute("ollama-local", "qwen2.5:7b")


@pytest.fixture
def ready(openshell: OpenShell) -> OpenShell:
    """Return the CLI of a gateway with a provider."""
    for name in ("ollama-local", "vllm-local"):
        changes.ensure_provider(openshell, Provider(name, "openai", {"OPENAI_API_KEY": "dummy"}), False)
    return openshell


def sets(gateway: openshell_parts.Gateway) -> int:
    return sum(call.startswith("Set") for call in gateway.known()["calls"])


@in_every_release
def test_it_is_set_once(ready: OpenShell, gateway: openshell_parts.Gateway) -> None:
    planned = changes.ensure_route(ready, DESIRED, True)
    assert planned.changed
    assert look.find_route(ready) is None
    first = changes.ensure_route(ready, DESIRED, False)
    assert (first.before, first.after) == (None, RouteSeen("ollama-local", "qwen2.5:7b", 1, 180))
    again = changes.ensure_route(ready, DESIRED, False)
    assert not again.changed
    assert again.after == first.after
    assert sets(gateway) == 1
    assert gateway.known()["routes"] == {"inference.local": ["ollama-local", "qwen2.5:7b", 180, 1]}


@pytest.mark.parametrize(
    "desired",
    [replace(DESIRED, model="qwen2.5:14b"), replace(DESIRED, timeout=60), replace(DESIRED, provider="vllm-local")],
    ids=["model", "timeout", "provider"],
)
def test_a_difference_is_set(
    ready: OpenShell, gateway: openshell_parts.Gateway, desired: openshell_route.DesiredRoute
) -> None:
    changes.ensure_route(ready, DESIRED, False)
    outcome = changes.ensure_route(ready, desired, False)
    assert outcome.changed
    assert gateway.known()["routes"]["inference.local"] == [desired.provider, desired.model, desired.timeout, 2]
    assert not changes.ensure_route(ready, desired, False).changed


def test_a_timeout_that_somebody_else_dropped_is_noticed(ready: OpenShell, gateway: openshell_parts.Gateway) -> None:
    changes.ensure_route(ready, DESIRED, False)
    # What `nemoclaw inference set` does (upstream-facts N39): no timeout, so 60 s.
    ready.call("inference", "set", "--provider", "ollama-local", "--model", "qwen2.5:7b", "--no-verify")
    assert changes.ensure_route(ready, DESIRED, False).changed
    assert gateway.known()["routes"]["inference.local"][2] == 180


@pytest.mark.parametrize(
    ("desired", "code"),
    [
        (replace(DESIRED, provider="nobody"), "openshell_provider_missing"),
        (replace(DESIRED, verify=True), "openshell_verify_failed"),
        (replace(DESIRED, provider="plain"), "openshell_provider_unfit"),
        (replace(DESIRED, timeout=0), "route_timeout_invalid"),
        (replace(DESIRED, model="--system"), "openshell_name_invalid"),
        (replace(DESIRED, model=" "), "openshell_name_invalid"),
        (replace(DESIRED, provider="a\nb"), "openshell_name_invalid"),
    ],
)
def test_a_failure_leaves_the_previous_route(
    ready: OpenShell, gateway: openshell_parts.Gateway, desired: openshell_route.DesiredRoute, code: str
) -> None:
    words = ("provider", "create", "--name", "plain", "--type", "generic", "--credential", "K")
    ready.call(*words, environment={"K": "x"})
    changes.ensure_route(ready, replace(DESIRED, model="before"), False)
    with pytest.raises(Failure) as caught:
        changes.ensure_route(ready, desired, False)
    assert caught.value.code == code
    assert gateway.known()["routes"]["inference.local"][1] == "before"


def test_other_sandboxes_follow_the_route(ready: OpenShell, gateway: openshell_parts.Gateway) -> None:
    changes.ensure_route(ready, DESIRED, False)
    for name in ("mine", "theirs"):
        try:
            ready.call("sandbox", "create", "--name", name, "--from", "lab/ready:1", "--", "true")
        except Failure:
            assert not ready.release.detaches, "the SSH step, which the stand-in has no answer for"
    desired = replace(DESIRED, model="another", sandbox="mine", shared="refuse")
    with pytest.raises(Failure, match="theirs") as caught:
        changes.ensure_route(ready, desired, False)
    assert caught.value.code == "route_shared"
    assert "mine" not in caught.value.message
    assert not changes.ensure_route(ready, replace(DESIRED, sandbox="mine", shared="refuse"), False).changed
    warned = changes.ensure_route(ready, replace(desired, shared="warn"), False)
    assert warned.sandboxes == ["theirs"]
    assert "theirs" in warned.warnings[0]
    assert changes.ensure_route(ready, replace(DESIRED, shared="allow"), False).warnings == []
    assert changes.ensure_route(ready, replace(DESIRED, timeout=90, shared="refuse"), False).changed, (
        "a longer wait changes no model"
    )


@in_every_release
def test_it_is_removed_where_the_release_can(ready: OpenShell, gateway: openshell_parts.Gateway) -> None:
    assert not changes.remove_route(ready, False).changed
    changes.ensure_route(ready, DESIRED, False)
    if not ready.release.deletes_routes:
        outcome = changes.remove_route(ready, False)
        assert not outcome.changed
        assert "no command that removes a route" in outcome.warnings[0]
        return
    assert changes.remove_route(ready, True).changed
    assert look.find_route(ready)
    assert changes.remove_route(ready, False).changed
    assert look.find_route(ready) is None


def test_a_route_that_cannot_be_read_is_no_absent_route(
    ready: OpenShell, openshell_home: object, open_cli: OpenCli
) -> None:
    """`inference get` prints such an error and exits with 0."""
    other = "0.0.83" if ready.release.deletes_routes else "0.0.111"
    with openshell_parts.serving(other, reports=str(ready.release)) as stranger:
        cli = replace(ready, options=("--gateway-endpoint", stranger.endpoint))
        with pytest.raises(Failure) as caught:
            look.find_route(cli)
    assert caught.value.code == "openshell_release_mismatch"


def test_a_gateway_that_dies_between_provider_and_route(openshell_home: Path, open_cli: OpenCli) -> None:
    """It says so, and the next run goes on where this one stopped."""
    with openshell_parts.serving("0.0.111", openshell_home) as first:
        cli = open_cli(first)
        changes.ensure_provider(cli, Provider("ollama-local", "openai", {"OPENAI_API_KEY": "dummy"}), False)
        port = int(first.endpoint.rsplit(":", 1)[1])
    with pytest.raises(Failure, match="the gateway does not answer") as caught:
        changes.ensure_route(cli, DESIRED, False)
    assert caught.value.code == "openshell_gateway_down"
    with openshell_parts.serving("0.0.111", openshell_home, port=port):
        # The stand-in begins with nothing, as a gateway whose database is gone: a fingerprint of the past is not trusted.
        assert changes.ensure_provider(
            cli, Provider("ollama-local", "openai", {"OPENAI_API_KEY": "dummy"}), False
        ).changed
        assert changes.ensure_route(cli, DESIRED, False).changed
        assert not changes.ensure_route(cli, DESIRED, False).changed
