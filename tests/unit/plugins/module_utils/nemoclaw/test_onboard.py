# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Onboarding without OpenShell on the host: NemoClaw brings it. A script stands for NemoClaw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Position
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw import desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.desired import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.onboard import Onboarding
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import (
    NemoClaw,
    Recorded,
    find_recorded,
    recorded_names,
)

KEY = "canary-81d2"
ROUTE = {
    "provider_name": "compatible-endpoint",
    "provider_type": "openai",
    "base_url_host": "http://127.0.0.1:8000/v1",
    "base_url_sandbox": "http://host.openshell.internal:8000/v1",
    "model": "tiny",
    "api": "openai-completions",
    "timeout": 180,
}
RECORD = json.dumps({"sandboxes": {"lab": {"provider": "compatible-endpoint", "model": "tiny"}}})
RECORDS = f"mkdir -p .nemoclaw && echo '{RECORD}' > .nemoclaw/sandboxes.json"


def onboarding(folder: Path, script: str, accepted: bool = True, **limits: int) -> Onboarding:
    path = folder / "nemoclaw"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    machine = Machine(environ={"PATH": "/usr/bin:/bin"})
    program = NemoClaw(machine, find_account()._replace(home=str(folder)), str(path))
    return Onboarding(program, Desired("lab", ROUTE, KEY, accepted=accepted, **limits), "nemoclaw")


@pytest.fixture(autouse=True)
def without_openshell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that runs the tests has."""
    monkeypatch.setattr(Machine, "find_command", lambda *_words: None)


def test_it_is_run_and_tells_its_steps(tmp_path: Path) -> None:
    positions: list[Position] = []
    script = f"echo '  [1/8] Preflight checks'; echo x; echo '[6/8] Creating sandbox...'; {RECORDS}"
    made = onboarding(tmp_path, script)
    assert made.plan(check_mode=False) is None
    result = made.work(positions.append)
    assert (result["changed"], result["phase"], result["actions"]) == (True, "Ready", ["onboard lab"])
    assert result["recorded"] == {"provider": "compatible-endpoint", "model": "tiny"}
    assert [(one.completed, one.total, one.unit) for one in positions] == [(0, 8, "steps"), (5, 8, "steps")]
    assert positions[1].message == "Onboarding lab with NemoClaw, Creating sandbox"


def test_check_mode_runs_nothing(tmp_path: Path) -> None:
    result = onboarding(tmp_path, "touch ran").plan(check_mode=True)
    assert result is not None
    assert (result["changed"], result["actions"], result["recorded"]) == (True, ["onboard lab"], None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("code", ["openshell_missing", "openshell_gateway_unset", "openshell_gateway_down"])
def test_sandboxes_whose_gateway_cannot_be_asked_are_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, check_mode: bool
) -> None:
    def find(*_words: object, **_options: object) -> None:
        raise Failure(code, "It cannot be asked.")

    monkeypatch.setattr(desired, "find_openshell", find)
    made = onboarding(tmp_path, "touch ran")
    if not check_mode:
        assert made.plan(check_mode=False) is None, "a host without sandboxes gets its first one"
    (tmp_path / ".nemoclaw").mkdir()
    (tmp_path / ".nemoclaw" / "sandboxes.json").write_text('{"sandboxes": {"neighbour": {}}}', encoding="utf-8")
    for ask in (lambda: made.plan(check_mode), lambda: made.work(lambda _position: None)):
        with pytest.raises(Failure, match="nemoclaw neighbour recover") as raised:
            ask()
        assert raised.value.code == "nemoclaw_gateway_down"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("check_mode", [True, False])
def test_the_terms_come_first(tmp_path: Path, check_mode: bool) -> None:
    with pytest.raises(Failure) as raised:
        onboarding(tmp_path, "", accepted=False).plan(check_mode)
    assert raised.value.code == "nemoclaw_terms_not_accepted"


@pytest.mark.parametrize(
    ("script", "code", "facts"),
    [
        (
            "echo '[3/8] Inference'; echo 'no such model'; exit 4",
            "nemoclaw_failed",
            {"step": "Inference", "exit_code": 4},
        ),
        ("exit 1", "nemoclaw_failed", {"step": "", "exit_code": 1, "last_logs": []}),
        ("echo '  Another NemoClaw onboarding run is already in progress.'; exit 1", "nemoclaw_busy", {}),
        (
            "echo '[6/8] Creating sandbox'; echo \"Sandbox 'lab' was created but did not become ready within 180s.\"; exit 1",
            "nemoclaw_sandbox_timeout",
            {"step": "Creating sandbox"},
        ),
        ("echo all is well", "nemoclaw_not_recorded", {"exit_code": 0, "last_logs": ["all is well"]}),
        ("echo '[2/8] Gateway'; exec sleep 600", "nemoclaw_stalled", {"exit_code": None, "step": "Gateway"}),
        (f"echo 'the key {KEY} is wrong' >&2; exit 1", "nemoclaw_failed", {"last_logs": ["the key ******** is wrong"]}),
        ("echo 'Validation probe summary: SSRF preflight: no HTTP response.'; exit 1", "nemoclaw_endpoint_refused", {}),
        (
            "echo 'tls: failed to verify: x509: certificate signed by unknown authority'; exit 1",
            "nemoclaw_registry_untrusted",
            {},
        ),
        *(
            (f"echo '  {said}'; exit 1", "openshell_gateway_tls", {})
            for said in (
                "received fatal alert: DecryptError",
                "invalid peer certificate: UnknownIssuer",
                "peer closed connection without sending TLS close_notify",
                "mTLS certificates for gateway were not found.",
            )
        ),
        ("echo '  received corrupt message of type InvalidContentType'; exit 1", "openshell_gateway_plaintext", {}),
        *(
            (f'echo "{said}"; exit 1', "nemoclaw_sandbox_error", {})
            for said in ("Sandbox 'lab' entered phase Error.", "Sandbox lab is in state Error", "lab: phase=Error")
        ),
        # What the sandbox is, and an error much later.
        (
            "echo 'The sandbox build is in the background and may take a while on a slow network.'; "
            "echo 'Error response from daemon: no space left on device'; exit 1",
            "nemoclaw_failed",
            {},
        ),
        ("echo '  Gateway port 8080 is occupied by python (PID 131).'; exit 1", "nemoclaw_gateway_port_taken", {}),
        (
            "[ $1 != --version ] || exec echo v0.0.31; echo '  Nonexistent flag: --non-interactive'; exit 2",
            "nemoclaw_too_old",
            {"exit_code": 2, "needed": "0.0.58", "release": "0.0.31"},
        ),
        ("echo 'Unsupported NEMOCLAW_PROVIDER: custom'; exit 1", "nemoclaw_too_old", {}),
        (f"{RECORDS}; echo 'Deployment verification found issues:'; echo more", "nemoclaw_deployment_unwell", {}),
    ],
)
def test_what_fails(tmp_path: Path, script: str, code: str, facts: dict[str, Any]) -> None:
    limits = {"ready_timeout": 1, "stall_timeout": 1} if code == "nemoclaw_stalled" else {}
    with pytest.raises(Failure) as raised:
        onboarding(tmp_path, script, **limits).work(lambda _position: None)
    found = raised.value.as_result()
    assert (found["code"], found["handed_over"]) == (code, True)
    assert {name: found[name] for name in facts} == facts
    assert KEY not in json.dumps(found)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            '{"sandboxes": {"lab": {"name": "lab", "provider": "ollama-local", "model": "m"}}}',
            Recorded("lab", "ollama-local", "m"),
        ),
        ('{"sandboxes": {"lab": {"provider": null, "model": 1}}}', Recorded("lab", None, None)),
        ('{"sandboxes": {"other": {}}, "defaultSandbox": "other"}', None),
        # What a failed onboarding has reserved.
        ('{"sandboxes": {"lab": {"pendingRouteReservation": true, "provider": "p", "model": "m"}}}', None),
        (
            '{"sandboxes": {"lab": {"preferredInferenceApi": "openai-responses", "endpointUrl": "http://a/v1"}}}',
            Recorded("lab", None, None, "openai-responses", "http://a/v1"),
        ),
        ('{"sandboxes": []}', None),
        ("[]", None),
        (None, None),
    ],
)
def test_what_nemoclaw_has_recorded(tmp_path: Path, content: str | None, found: Recorded | None) -> None:
    if content is not None:
        (tmp_path / ".nemoclaw").mkdir()
        (tmp_path / ".nemoclaw" / "sandboxes.json").write_text(content, encoding="utf-8")
    assert find_recorded(str(tmp_path), "lab") == found


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".nemoclaw").mkdir()
    (tmp_path / ".nemoclaw" / "sandboxes.json").write_text("{", encoding="utf-8")
    with pytest.raises(Failure) as raised:
        find_recorded(str(tmp_path), "lab")
    assert raised.value.code == "nemoclaw_registry_unreadable"


def test_the_api_that_only_the_session_has(tmp_path: Path) -> None:
    (tmp_path / ".nemoclaw").mkdir()
    (tmp_path / ".nemoclaw" / "sandboxes.json").write_text(
        '{"sandboxes": {"lab": {"provider": "p"}}}', encoding="utf-8"
    )
    session = {"sandboxName": "lab", "provider": "p", "preferredInferenceApi": "openai-completions"}
    (tmp_path / ".nemoclaw" / "onboard-session.json").write_text(json.dumps(session), encoding="utf-8")
    assert find_recorded(str(tmp_path), "lab") == Recorded("lab", "p", None, "openai-completions")
    session["sandboxName"] = "other"
    (tmp_path / ".nemoclaw" / "onboard-session.json").write_text(json.dumps(session), encoding="utf-8")
    assert find_recorded(str(tmp_path), "lab") == Recorded("lab", "p", None)


def test_a_reservation_alone_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As August 2026 leaves it behind, recorded."""
    pending = (Path(__file__).parents[3] / "fixtures" / "nemoclaw" / "2026-08-sandboxes-pending.json").read_bytes()
    (tmp_path / ".nemoclaw").mkdir()
    (tmp_path / ".nemoclaw" / "sandboxes.json").write_bytes(pending)
    assert recorded_names(str(tmp_path)) == []
    assert onboarding(tmp_path, "touch ran").plan(check_mode=False) is None, "the next run onboards again"


def test_a_hand_off_may_take_longer(tmp_path: Path) -> None:
    script = f"echo 'Creating sandbox in gateway...'; echo '  Still creating (1s elapsed)'; sleep 2.5; {RECORDS}"
    result = onboarding(tmp_path, script, ready_timeout=1, stall_timeout=1).work(lambda _position: None)
    assert result["changed"]
