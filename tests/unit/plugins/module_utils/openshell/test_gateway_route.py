# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done for a route, by what a gateway has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, Release
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.gateway_route import GatewayRoute
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import ProviderSeen, SandboxSeen
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import Remembered
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import (
    Desired,
    Seen,
    decide,
    own_sandbox,
    provider_spec_of,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.text import RouteSeen
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

NAME = "compatible-endpoint"
ROUTE = build_route(
    provider="custom", base_url="http://127.0.0.1:8000/v1", model="new", api="openai-completions", timeout=180
)
WANTED = Desired(ROUTE, "key", sandbox="mine")
TARGET = {"provider": NAME, "model": "new", "timeout": 180}
OURS = ProviderSeen("id-1", NAME, "openai", 3, ["COMPATIBLE_API_KEY"], ["OPENAI_BASE_URL"])
OTHERS = (SandboxSeen("1", "mine", "Ready"), SandboxSeen("2", "theirs", "Ready"))


def remembered(desired: Desired, version: int = 3) -> Remembered:
    """Return what is kept where these values were given last."""
    found = Remembered("0" * 64)
    spec = provider_spec_of(desired)
    found.providers["id-1"] = {
        "fingerprint": found.fingerprint(spec.type, spec.credentials, spec.config),
        "resource_version": version,
    }
    return found


def through(provider: str, model: str = "old", timeout: int = 180) -> RouteSeen:
    return RouteSeen(provider, model, 7, timeout)


EMPTY = Seen(remembered=Remembered("0" * 64))
CONVERGED = Seen(through(NAME, "new"), OTHERS[:1], OURS, None, False, remembered(WANTED))
LEAD = f"route the gateway to new by {NAME} with 180 s"


@pytest.mark.parametrize(
    ("seen", "actions", "is_staged"),
    [
        (EMPTY, [f"create the provider {NAME}", LEAD], False),
        (CONVERGED, [], False),
        (replace(CONVERGED, route=through(NAME, "new", 60)), [LEAD], False),
        (replace(CONVERGED, route=None), [LEAD], False),
        (replace(CONVERGED, route=through("vllm-local", "new")), [LEAD], False),
        # The provider in use has other values: what is new stands beside it first.
        (replace(CONVERGED, remembered=Remembered("0" * 64)), [f"update the provider {NAME}", LEAD], True),
        # Somebody else changed it since.
        (replace(CONVERGED, remembered=remembered(WANTED, 2)), [f"update the provider {NAME}", LEAD], True),
        # It is not in use, so it is changed at once.
        (
            replace(CONVERGED, route=through("vllm-local"), remembered=Remembered("0" * 64)),
            [f"update the provider {NAME}", LEAD],
            False,
        ),
        # A run was broken off before its last step.
        (
            replace(CONVERGED, route=through(f"{NAME}-next", "new"), staged=replace(OURS, name=f"{NAME}-next")),
            [LEAD, f"delete the provider {NAME}-next"],
            False,
        ),
        (replace(CONVERGED, staged=replace(OURS, name=f"{NAME}-next")), [f"delete the provider {NAME}-next"], False),
    ],
)
def test_what_has_to_be_done(seen: Seen, actions: list[str], is_staged: bool) -> None:
    previous = None if seen.route is None else {**vars(seen.route)}
    found = decide(WANTED, seen, previous)
    assert (found.plan.actions, found.is_staged) == (actions, is_staged)
    assert found.leads == any(action.startswith("route") for action in actions)
    assert TARGET in found.plan.positions


def test_the_previous_provider_of_a_run_that_was_killed_is_in_use() -> None:
    """The gateway leads through the one beside it, and the way back through it."""
    seen = replace(CONVERGED, route=through(f"{NAME}-next", "new"), remembered=Remembered("0" * 64))
    assert decide(WANTED, seen, {"provider": NAME, "model": "old", "timeout": 180}).is_staged
    assert not decide(WANTED, seen, {"provider": "vllm-local", "model": "old", "timeout": 180}).is_staged


@pytest.mark.parametrize(
    ("desired", "seen", "said"),
    [
        (WANTED, replace(CONVERGED, route=through(NAME), sandboxes=OTHERS), "theirs"),
        (replace(WANTED, sandbox=""), replace(CONVERGED, route=through(NAME)), "mine"),
        (
            WANTED,
            replace(CONVERGED, sandboxes=OTHERS, remembered=Remembered("0" * 64)),
            "points where this collection did not point it",
        ),
        (
            replace(WANTED, recorded={**ROUTE, "base_url_sandbox": "http://elsewhere:1/v1"}),
            replace(CONVERGED, sandboxes=OTHERS, remembered=Remembered("0" * 64)),
            "points to http://elsewhere:1/v1",
        ),
    ],
    ids=["route", "no own sandbox", "provider of somebody", "provider of ours"],
)
def test_other_sandboxes_are_not_led_along_unasked(desired: Desired, seen: Seen, said: str) -> None:
    previous = {**vars(seen.route)} if seen.route else None
    with pytest.raises(Failure, match=said) as caught:
        decide(desired, seen, previous)
    assert caught.value.code == "route_shared"
    assert decide(replace(desired, may_share=True), seen, previous).plan.actions


def test_other_sandboxes_may_follow_where_nothing_changes_for_them() -> None:
    seen = replace(CONVERGED, sandboxes=OTHERS)
    assert decide(WANTED, seen, dict(TARGET)).plan.actions == []
    # A new key at the recorded address, and the last step of a run that was broken off.
    rotated = replace(WANTED, credential="another", recorded=ROUTE)
    assert decide(rotated, seen, dict(TARGET)).is_staged
    finished = replace(seen, route=through(f"{NAME}-next", "new"))
    assert decide(WANTED, finished, {**TARGET, "provider": f"{NAME}-next"}).plan.actions == [LEAD]


def test_another_type_is_replaced_when_asked() -> None:
    seen = replace(CONVERGED, provider=replace(OURS, type="anthropic"))
    with pytest.raises(Failure) as caught:
        decide(WANTED, seen, dict(TARGET))
    assert caught.value.code == "provider_type_differs"
    found = decide(replace(WANTED, may_replace=True), seen, dict(TARGET))
    assert found.is_staged
    assert found.plan.actions[:2] == [f"delete the provider {NAME} of type anthropic", f"create the provider {NAME}"]


@pytest.mark.parametrize(
    ("gateway", "sandbox", "recorded", "own"),
    [
        ("", "named", {"sandbox": "recorded", "gateway": "one"}, "named"),
        ("", "", {"sandbox": "recorded", "gateway": "one"}, "recorded"),
        ("one", "", {"sandbox": "recorded", "gateway": "one"}, "recorded"),
        ("two", "", {"sandbox": "recorded", "gateway": "one"}, None),
        ("", "", {}, None),
    ],
)
def test_which_sandbox_is_ours(gateway: str, sandbox: str, recorded: dict[str, Any], own: str | None) -> None:
    assert own_sandbox(Desired(ROUTE, "key", recorded, gateway, sandbox)) == own


def openshell(folder: Path, sandboxes: list[dict[str, str]], providers: list[str]) -> OpenShell:
    """Return a command line that has these, and keeps what it is asked to delete."""
    (folder / "sandboxes").write_text(json.dumps(sandboxes), encoding="utf-8")
    every = [{"id": f"id of {name}", "name": name, "type": "openai", "resource_version": 1} for name in providers]
    (folder / "providers").write_text(json.dumps(every), encoding="utf-8")
    program = folder / "openshell"
    program.write_text(
        f"""#!/bin/sh
cd {folder}
case "$1 $2" in
  "sandbox list") cat sandboxes ;;
  "provider list") cat providers ;;
  "inference get") if [ -e deleted ]; then echo "  Not configured"; else printf '  Provider: vllm-local\\n  Model: m\\n'; fi ;;
  "inference delete" | "provider delete") echo "$1 $3" >>deleted ;;
  "logs "*) echo "a line" ;;
  *) echo "this stand-in knows no openshell $*" >&2; exit 99 ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    account = find_account()._replace(home=str(folder))
    return OpenShell(Machine(environ={"PATH": "/usr/bin:/bin"}), account, str(program), Release((0, 0, 111)))


@pytest.mark.parametrize(
    ("name", "phase", "code"),
    [
        ("mine", "Error", "sandbox_error"),
        ("mine", "Stopped", "sandbox_stopped"),
        ("a-name-of-20-letters", "Ready", "sandbox_name_invalid"),
    ],
)
def test_a_sandbox_that_cannot_be_had_is_refused_before_the_first_change(
    tmp_path: Path, name: str, phase: str, code: str
) -> None:
    """In check mode too, which goes no further than the plan."""
    cli = openshell(tmp_path, [{"id": "1", "name": "mine", "phase": phase}], [NAME])
    backend = GatewayRoute(cli.machine, cli.account, replace(WANTED, sandbox=name, ready_timeout=1))
    backend._see(cli)
    with pytest.raises(Failure) as caught:
        backend.plan(None)
    assert caught.value.code == code


@pytest.mark.parametrize("given", [True, False], ids=["ours", "of somebody else"])
def test_an_uninstall_after_a_switch_that_was_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """The gateway leads by a provider with a key of ours that no record names: it goes with the route, and holds nothing up."""
    cli = openshell(tmp_path, [], [NAME, "vllm-local"])
    kept = Remembered("0" * 64, {"id of vllm-local": {"fingerprint": "x", "resource_version": 1}} if given else {})
    (tmp_path / ".nemoclaw").mkdir()
    text = json.dumps({"key": kept.key, "providers": kept.providers})
    (tmp_path / ".nemoclaw" / "openshell-providers.json").write_text(text, encoding="utf-8")
    backend = GatewayRoute(cli.machine, cli.account, replace(WANTED, recorded=ROUTE))
    monkeypatch.setattr(backend, "look", lambda: backend._see(cli))
    own, theirs = (
        f"delete the provider {NAME}",
        ["remove the route to m by vllm-local", "delete the provider vllm-local"],
    )
    expected = [theirs[0], own, theirs[1]] if given else [own]
    assert backend.remove(True).actions == expected
    assert backend.remove(False).actions == expected


def test_a_token_reaches_the_provider_that_a_broken_off_run_left_in_use_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the sandboxes go on with the previous token until that ends, and the proof passes by it."""
    given: list[str] = []

    def have(_cli: object, desired: Any, _check_mode: bool) -> provider.Outcome:
        given.append(desired.name)
        return provider.Outcome(None, None, changed=True)

    monkeypatch.setattr(changes, "ensure_provider", have)
    cli = openshell(tmp_path, [], [NAME])
    backend = GatewayRoute(cli.machine, cli.account, WANTED)
    backend._cli_seen, backend._seen = cli, replace(CONVERGED, staged=replace(OURS, name=f"{NAME}-next"))
    assert backend.rotate(False)
    assert given == [NAME, f"{NAME}-next"]
    backend._seen = EMPTY
    given.clear()
    GatewayRoute.rotate(backend, False)
    assert given == [], "only what is there is changed"
