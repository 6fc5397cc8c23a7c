# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a sandbox without OpenShell: phases that the stand-in gateway does not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import silent
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import lifecycle, look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, Release

DESIRED = look.DesiredSandbox("lab", "image:1", timeout=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_POLL_S", 0.02)


def openshell(folder: Path, phases: list[str], number: tuple[int, int, int] = (0, 0, 111)) -> OpenShell:
    """Return a CLI whose sandbox goes from phase to phase with each list, the last one for ever; empty is no sandbox."""
    for index, phase in enumerate(phases):
        listing = [{"id": "1", "name": "lab", "phase": phase}] if phase else []
        (folder / f"list.{index}").write_text(json.dumps(listing), encoding="utf-8")
    program = folder / "openshell"
    program.write_text(
        f"""#!/bin/sh
cd {folder}
case "$1 $2" in
  "sandbox list") n=$(cat count 2>/dev/null || echo 0); cat list.$n; [ -e list.$((n + 1)) ] && echo $((n + 1)) >count; exit 0 ;;
  "sandbox create") echo "$@" >created; exit 0 ;;
  "sandbox delete") exit 0 ;;
  "sandbox stop" | "sandbox start") echo "$2 at list $(cat count 2>/dev/null || echo 0)" >>restarted; exit 0 ;;
  "inference get") printf 'Inference:\\n\\n  Not configured\\n' ;;
  "logs lab") echo "a line" ;;
  *) echo "this stand-in knows no openshell $*" >&2; exit 99 ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    account = find_account()._replace(home=str(folder))
    return OpenShell(Machine(environ={"PATH": "/usr/bin:/bin"}), account, str(program), Release(number))


def ensure(cli: OpenShell, desired: look.DesiredSandbox, check_mode: bool) -> lifecycle.SandboxOutcome:
    """Have the sandbox ready within this call."""
    making = lifecycle.Making(cli, desired)
    return making.plan(check_mode) or making.work(silent)


@pytest.mark.parametrize(
    ("phases", "changed"),
    [
        (["Ready"], False),
        (["Provisioning", "Ready"], False),
        (["Starting", "Unknown", "Ready"], False),
        (["", "Provisioning", "Ready"], True),
        (["Deleting", "Deleting", "", "Provisioning", "Ready"], True),
    ],
)
def test_phases_on_the_way_to_ready(tmp_path: Path, phases: list[str], changed: bool) -> None:
    outcome = ensure(openshell(tmp_path, phases), DESIRED, False)
    assert outcome.changed == changed
    assert outcome.as_result()["phase"] == "Ready"
    assert (tmp_path / "created").exists() == changed


@pytest.mark.parametrize(
    ("phases", "calls"),
    [
        (["Ready"], ["stop at list 0", "start at list 0"]),
        # What it began with is not known, so it is stopped once it is up.
        (["Starting", "Starting", "Ready"], ["stop at list 2", "start at list 2"]),
        (["Stopped", "Stopped", "Ready"], ["start at list 2"]),
        # Whoever stops it is waited for.
        (["Stopping", "Stopping", "Stopped", "Ready"], ["start at list 3"]),
        (["Ready", "Stopping", "Stopped", "Ready"], ["stop at list 1", "start at list 3"]),
    ],
)
def test_a_restart(tmp_path: Path, phases: list[str], calls: list[str]) -> None:
    cli = openshell(tmp_path, phases)
    assert lifecycle.restart_sandbox(cli, DESIRED, True).actions == [f"{call.split()[0]} lab" for call in calls]
    (tmp_path / "count").unlink(missing_ok=True)
    assert lifecycle.restart_sandbox(cli, DESIRED, False).as_result()["phase"] == "Ready"
    assert (tmp_path / "restarted").read_text(encoding="utf-8").splitlines() == calls


def test_pages_end(tmp_path: Path) -> None:
    """Also those of a gateway that names a page that was there already."""
    program = tmp_path / "openshell"
    program.write_text(
        """#!/bin/sh
case "$*" in
  *"--page-token b") echo '{"sandboxes": [{"name": "third"}], "next_page_token": "a"}' ;;
  *"--page-token a") echo '{"sandboxes": [{"name": "second"}], "next_page_token": "b"}' ;;
  *) echo '{"next_page_token": "a", "sandboxes": [{"name": "first"}]}' ;;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    account = find_account()._replace(home=str(tmp_path))
    cli = OpenShell(Machine(environ={"PATH": "/usr/bin:/bin"}), account, str(program), Release((0, 1, 5)))
    assert [one["name"] for one in look.read_pages(cli, "sandbox", "list")] == ["first", "second", "third"]


def test_it_tells_that_it_waits(tmp_path: Path) -> None:
    told: list[str | None] = []
    making = lifecycle.Making(openshell(tmp_path, ["", "Provisioning", "Ready"]), DESIRED)
    assert making.plan(check_mode=False) is None, "it is to be worked on, beside the task"
    assert making.work(lambda position: told.append(position.message)).changed
    assert told == ["Waiting for the sandbox lab, Provisioning"]
    assert lifecycle.Making(openshell(tmp_path, ["Ready"]), DESIRED).plan(check_mode=False) is not None


@pytest.mark.parametrize(("phase", "code"), [("Error", "sandbox_error"), ("Stopped", "sandbox_stopped")])
def test_check_mode_says_what_the_run_would(tmp_path: Path, phase: str, code: str) -> None:
    with pytest.raises(Failure) as caught:
        ensure(openshell(tmp_path, [phase]), DESIRED, True)
    assert caught.value.code == code
    assert not ensure(openshell(tmp_path, ["Provisioning"]), DESIRED, True).changed


@pytest.mark.parametrize(
    ("phases", "code", "last_state"),
    [
        (["Error"], "sandbox_error", "Error"),
        (["Stopped"], "sandbox_stopped", "Stopped"),
        (["Provisioning", "Deleting"], "sandbox_error", "Deleting"),
        (["Provisioning", ""], "sandbox_error", "not listed"),
        (["Unspecified"], "sandbox_timeout", "Unspecified"),
        (["Deleting"], "sandbox_not_deleted", "Deleting"),
    ],
)
def test_phases_that_lead_nowhere(tmp_path: Path, phases: list[str], code: str, last_state: str) -> None:
    with pytest.raises(Failure) as caught:
        ensure(openshell(tmp_path, phases), DESIRED, False)
    assert (caught.value.code, caught.value.details["last_state"]) == (code, last_state)
    if code in ("sandbox_timeout", "sandbox_stopped"):
        assert caught.value.details["last_logs"] == ["a line"]


def test_one_that_is_not_deleted_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        lifecycle.remove_sandbox(openshell(tmp_path, ["Ready", "Deleting"]), DESIRED, False)
    assert caught.value.code == "sandbox_not_deleted"
    assert caught.value.details["elapsed"] >= 1


@pytest.mark.parametrize(("number", "ending"), [((0, 0, 110), "-- true"), ((0, 0, 111), "--detach")])
def test_no_shell_waits_for_somebody_to_type(tmp_path: Path, number: tuple[int, int, int], ending: str) -> None:
    assert " ".join(lifecycle.creation_words(openshell(tmp_path, [""], number), DESIRED)).endswith(ending)
