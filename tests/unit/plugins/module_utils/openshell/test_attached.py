# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a route by OpenShell 0.1 needs, decided from what a gateway has; the doing is in tests/real/test_sandbox_route_attachment.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import attachment
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.attached import (
    Seen,
    decide,
    idle_of,
    position_of,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import ProviderSeen, SandboxSeen
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

ROUTE = build_route(
    provider="ollama", base_url="http://127.0.0.1:11435/v1", model="m", api="openai-completions", timeout=180
)
NAME = "ollama-local"
WANTED = attachment.Desired("first", NAME, ROUTE["base_url_sandbox"], credential="key")
DESIRED = Desired(ROUTE, "key", sandbox="first")
PROFILE = attachment.profile_of(WANTED, "host.openshell.internal")
OTHER = {**PROFILE, "endpoints": [{**PROFILE["endpoints"][0], "port": 1}]}
SANDBOX = SandboxSeen("id", "first", "Ready")
PROVIDER = ProviderSeen("id", NAME, NAME, 1, ["OPENAI_API_KEY"], [])
HERE = attachment.Seen(SANDBOX, PROFILE, PROVIDER, knows_key=True, attached=True, state="ready")
GONE = attachment.Seen(SANDBOX)
BESIDE = f"{NAME}-next"
STAGED = attachment.Seen(
    SANDBOX, {**PROFILE, "id": BESIDE}, replace(PROVIDER, name=BESIDE, type=BESIDE), attached=True, state="ready"
)
# Profiles that a user made by hand.
MINE = {**OTHER, "description": "My own"}
MINE_BESIDE = replace(STAGED, profile={**MINE, "id": BESIDE})
NOW = {"provider": NAME, "sandbox": "first"}
BEFORE = {"provider": "vllm-local", "sandbox": "first"}
MADE = [f"import the profile {NAME}", f"create the provider {NAME}", f"attach the provider {NAME} to first"]
AWAY = ["detach the provider vllm-local from first", "delete the provider vllm-local"]
UNSTAGED = f"delete the provider {BESIDE}"
UPDATED = [f"update the provider {NAME}", f"wait until first has applied the provider {NAME}"]


@pytest.mark.parametrize(
    ("seen", "previous", "words", "is_staged", "restarts"),
    [
        (Seen(HERE, GONE), NOW, [], False, []),
        # The first route: nothing that agents have could be lost.
        (Seen(GONE, GONE), None, MADE, False, []),
        (Seen(replace(HERE, attached=False), GONE), None, MADE[2:], False, []),
        # Whatever is attached already stays until the rest was proved beside it.
        (Seen(replace(HERE, knows_key=False), GONE), NOW, UPDATED, True, ["first"]),
        (
            Seen(replace(HERE, profile=OTHER), GONE),
            NOW,
            [f"update the profile {NAME}", UPDATED[1]],
            True,
            [],
        ),
        (Seen(GONE, GONE, ("vllm-local",)), BEFORE, [*MADE, *AWAY], True, ["first"]),
        (Seen(replace(HERE, state="pending"), GONE), NOW, UPDATED[1:], False, []),
        # Other sandboxes get the new key as well, and their processes keep the old one.
        (Seen(replace(HERE, knows_key=False), GONE, (), ("other",)), NOW, UPDATED, True, ["first", "other"]),
        # One that was stopped has no processes, and is not started.
        (
            Seen(replace(HERE, knows_key=False), GONE, (), ("idle", "other"), (), ("idle",)),
            NOW,
            UPDATED,
            True,
            ["first", "other"],
        ),
        # And where this sandbox has none yet, what they have stays until the rest was proved; but nothing is staged to attach it alone.
        (
            Seen(replace(HERE, knows_key=False, attached=False), GONE, (), ("other",)),
            None,
            [UPDATED[0], MADE[2]],
            True,
            ["first", "other"],
        ),
        (Seen(replace(HERE, attached=False), GONE, (), ("other",)), None, MADE[2:], False, []),
        # Other sandboxes have the earlier one as well, so it stays.
        (Seen(GONE, GONE, ("vllm-local",), (), ("vllm-local",)), BEFORE, [*MADE, AWAY[0]], True, ["first"]),
        # Runs that were killed: before the record, and at several points after it.
        (Seen(HERE, STAGED), NOW, [UNSTAGED], False, []),
        (Seen(GONE, replace(STAGED, provider=None, attached=False)), None, [*MADE, UNSTAGED], False, []),
        (Seen(GONE, STAGED), {**NOW, "provider": BESIDE}, [*MADE, UNSTAGED], True, ["first"]),
        (Seen(HERE, STAGED, ("vllm-local",)), NOW, [*AWAY, UNSTAGED], False, []),
        # What a user made under the name of the one beside it is not left of a run, and stays.
        (Seen(HERE, MINE_BESIDE), NOW, [], False, []),
    ],
)
def test_what_has_to_be_done(
    seen: Seen, previous: dict[str, Any] | None, words: list[str], is_staged: bool, restarts: list[str]
) -> None:
    found = decide(DESIRED, WANTED, PROFILE, seen, previous)
    assert ([one.words for one in found.actions], found.is_staged, found.restarts) == (words, is_staged, restarts)
    allowed = decide(replace(DESIRED, may_restart=True), WANTED, PROFILE, seen, previous)
    assert [one.words for one in allowed.actions] == [*words, *(f"restart the sandbox {one}" for one in restarts)]


def test_a_sandbox_that_is_made() -> None:
    found = decide(DESIRED, WANTED, PROFILE, Seen(GONE, GONE), None, makes_sandbox=True)
    assert [one.words for one in found.actions] == ["create the sandbox first", *MADE]
    assert [one.verb for one in found.actions] == ["create", "import", "create", "attach"]


@pytest.mark.parametrize(
    ("seen", "wanted", "code"),
    [
        (Seen(GONE, GONE), replace(WANTED, sandbox=""), "sandbox_name_missing"),
        (Seen(replace(HERE, profile=OTHER), GONE, (), ("other",)), WANTED, "route_shared"),
        (Seen(replace(HERE, sandbox=None), GONE), WANTED, "sandbox_not_ready"),
        (Seen(replace(HERE, provider=replace(PROVIDER, type="openai")), GONE), WANTED, "provider_type_differs"),
        (Seen(replace(HERE, profile=MINE), GONE), WANTED, "profile_foreign"),
        (Seen(replace(HERE, knows_key=False), MINE_BESIDE), WANTED, "profile_foreign"),
        (
            Seen(replace(HERE, knows_key=False), replace(STAGED, provider=replace(PROVIDER, type="openai"))),
            WANTED,
            "provider_type_differs",
        ),
    ],
)
def test_what_is_refused(seen: Seen, wanted: attachment.Desired, code: str) -> None:
    with pytest.raises(Failure) as caught:
        decide(DESIRED, wanted, PROFILE, seen, NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("phase", "rests"),
    [
        *((phase, False) for phase in ("Ready", "Provisioning", "Starting", "Unknown", "Unspecified", "Resuming")),
        *((phase, True) for phase in ("Stopped", "Stopping", "Completed", "Deleting", "Error")),
    ],
)
def test_which_neighbours_have_processes(phase: str, rests: bool) -> None:
    sandboxes = [SandboxSeen("1", "other", phase), SandboxSeen("2", "without", "Stopped")]
    assert idle_of(sandboxes, ["other"]) == (("other",) if rests else ())


def test_others_follow_where_that_is_allowed() -> None:
    seen = Seen(replace(HERE, profile=OTHER), GONE, (), ("other",))
    assert decide(replace(DESIRED, may_share=True), WANTED, PROFILE, seen, NOW).is_staged


def test_a_provider_that_others_have_is_not_made_anew() -> None:
    seen = Seen(replace(HERE, provider=replace(PROVIDER, type="openai")), GONE, (), ("other",))
    with pytest.raises(Failure) as caught:
        decide(replace(DESIRED, may_share=True), replace(WANTED, may_replace=True), PROFILE, seen, NOW)
    assert (caught.value.code, caught.value.details) == ("provider_attached", {"sandboxes": ["other"]})


@pytest.mark.parametrize(
    ("seen", "provider"),
    [
        (Seen(GONE, GONE), None),
        (Seen(HERE, GONE), NAME),
        (Seen(GONE, GONE, ("vllm-local",)), "vllm-local"),
        (Seen(HERE, STAGED, ("vllm-local",)), BESIDE),
        (Seen(HERE, MINE_BESIDE), NAME),
    ],
)
def test_where_the_sandbox_is_routed(seen: Seen, provider: str | None) -> None:
    expected = {"provider": provider, "sandbox": "first"} if provider else None
    assert position_of(seen, NAME, "first") == expected
