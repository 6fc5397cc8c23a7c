# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an attachment needs, decided from what a gateway has; the doing is in tests/real/test_openshell_attachment.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.attachment import (
    Desired,
    Seen,
    decide,
    host_of,
    profile_id,
    profile_of,
    same_profile,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.look import ProviderSeen, SandboxSeen

HOST = "host.openshell.internal"
DESIRED = Desired("first", "lab", f"http://{HOST}:11435/v1", credential="key")
PROFILE = profile_of(DESIRED, HOST)
OLD = {**PROFILE, "endpoints": [{**PROFILE["endpoints"][0], "port": 1}]}
PROVIDER = ProviderSeen("id", "lab", "lab", 1, ["OPENAI_API_KEY"], [])
WELL = Seen(SandboxSeen("id", "first", "Ready"), PROFILE, PROVIDER, knows_key=True, attached=True, state="ready")


@pytest.mark.parametrize(
    ("seen", "actions"),
    [
        (WELL, []),
        (Seen(WELL.sandbox), ["import profile lab", "create lab", "attach lab"]),
        (replace(WELL, provider=None, attached=False), ["create lab", "attach lab"]),
        (replace(WELL, attached=False), ["attach lab"]),
        (replace(WELL, state="pending"), ["wait for lab"]),
        (replace(WELL, profile=OLD), ["update profile lab", "wait for lab"]),
        # A process that runs has the old key.
        (replace(WELL, knows_key=False), ["update lab", "wait for lab", "restart first"]),
        (replace(WELL, knows_key=False, attached=False), ["update lab", "attach lab"]),
    ],
)
def test_what_has_to_be_done(seen: Seen, actions: list[str]) -> None:
    assert decide(DESIRED, seen, PROFILE) == actions


def test_a_provider_of_another_profile() -> None:
    seen = replace(WELL, provider=replace(PROVIDER, type="openai"))
    with pytest.raises(Failure, match="profile openai, but lab is required") as caught:
        decide(DESIRED, seen, PROFILE)
    assert caught.value.code == "provider_type_differs"
    allowed = replace(DESIRED, may_replace=True)
    assert decide(allowed, seen, PROFILE) == ["detach lab", "delete lab", "create lab", "attach lab", "restart first"]
    assert decide(allowed, replace(seen, attached=False), PROFILE) == ["delete lab", "create lab", "attach lab"]


def test_a_profile_that_a_user_made() -> None:
    seen = replace(WELL, profile={**OLD, "description": "My own"})
    with pytest.raises(Failure, match="a profile lab that was not created here") as caught:
        decide(DESIRED, seen, PROFILE)
    assert caught.value.code == "profile_foreign"
    assert decide(replace(DESIRED, may_replace=True), seen, PROFILE) == ["update profile lab", "wait for lab"]
    # One that says what is wanted is used as it is.
    assert decide(DESIRED, replace(WELL, profile={**PROFILE, "description": ""}), PROFILE) == []


@pytest.mark.parametrize("phase", ["", "Provisioning", "Error", "Stopped"])
def test_a_sandbox_that_is_not_ready(phase: str) -> None:
    found = SandboxSeen("id", "first", phase) if phase else None
    with pytest.raises(Failure) as caught:
        decide(DESIRED, replace(WELL, sandbox=found), PROFILE)
    assert (caught.value.code, caught.value.details["last_state"]) == ("sandbox_not_ready", phase or "not there")


@pytest.mark.parametrize(
    ("base_url", "api", "host", "port", "path"),
    [
        (f"http://{HOST}:11435/v1", "openai-completions", HOST, 11435, "/v1/**"),
        ("http://host.docker.internal:8000/v1", "openai-completions", HOST, 8000, "/v1/**"),
        ("https://models.example.com/team/v1", "openai-responses", "models.example.com", 443, "/team/v1/**"),
        ("http://10.0.0.1", "anthropic-messages", "10.0.0.1", 80, "/v1/**"),
    ],
)
def test_the_profile_grants_that_server_alone(base_url: str, api: str, host: str, port: int, path: str) -> None:
    profile = profile_of(replace(DESIRED, base_url=base_url, api=api), HOST)
    assert [(one["host"], one["port"], one["path"]) for one in profile["endpoints"]] == [(host, port, path)]
    header = profile["credentials"][0]["header_name"]
    assert header == ("x-api-key" if api == "anthropic-messages" else "authorization")
    assert "key" not in str({name: value for name, value in profile.items() if name != "credentials"}), "no secret"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"resource_version": 7, "description": "other words", "annotations": {}, "source": "user"}, True),
        ({"endpoints": [{**PROFILE["endpoints"][0], "port": 0, "ports": [11435]}]}, True),
        ({"binaries": [{"path": path} for path in PROFILE["binaries"]]}, True),
        ({"binaries": ["/usr/bin/curl"]}, False),
        ({"endpoints": []}, False),
        ({"credentials": []}, False),
    ],
)
def test_a_profile_as_the_gateway_exports_it(change: dict[str, Any], same: bool) -> None:
    assert same_profile({**PROFILE, **change}, PROFILE) == same


def test_names() -> None:
    assert (profile_id("My_Server.1"), profile_id("ollama-local")) == ("my-server-1", "ollama-local")
    assert (host_of("/usr/bin/openshell"), host_of("/usr/bin/ryno")) == (HOST, "host.ryno.internal")


def test_a_provider_may_have_any_name() -> None:
    """Also one that has the word profile in it: its key is given to the provider, and the sandbox restarted for it."""
    desired = replace(DESIRED, provider="my-profile")
    profile = profile_of(desired, HOST)
    seen = replace(
        WELL, profile=profile, provider=replace(PROVIDER, name="my-profile", type="my-profile"), knows_key=False
    )
    actions = ["update my-profile", "wait for my-profile", "restart first"]
    assert decide(desired, seen, profile) == actions
