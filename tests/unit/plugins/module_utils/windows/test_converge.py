# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to Ollama on Windows, and what is left alone."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.converge import (
    Result,
    as_result,
    converge,
    detect,
)
from windows_machine import FOLDER, HOME
from wsl_laptop import Laptop, desired

STRANGER = {"address": "0.0.0.0", "port": 11434, "pid": 77, "process": "svchost"}
GRACE = [{"user": "Grace", "path": "C:\\Users\\Grace\\AppData\\Local\\Programs\\Ollama\\ollama.exe"}]
APP, PROGRAM = f"{FOLDER}\\ollama app.exe", f"{FOLDER}\\ollama.exe"


def at(port: int, **changes: Any) -> dict[str, Any]:
    """Return a change of state in which another user's daemon listens on the port."""
    return {
        "processes": [{"name": "ollama.exe", "pid": 9, "path": None, "owner": "LAPTOP\\Grace"}],
        "listeners": [{"address": "127.0.0.1", "port": port, "pid": 9, "process": "ollama"}],
        **changes,
    }


def run(laptop: Laptop, port: int, check_mode: bool = False, **options: Any) -> Result:
    return converge(laptop.connect(port), laptop.keeper, desired(port=port, **options), check_mode)


@pytest.mark.parametrize(
    ("preset", "state", "calls", "bind"),
    [
        ("installed", "running", ["set_variable", "start"], "all"),
        ("installed", "installed", ["set_variable", "start"], "all"),
        ("bare", "installed", ["install", "set_variable"], "all"),
    ],
)
def test_a_daemon_that_does_not_run_is_there_afterwards(
    laptop: Laptop, ollama: int, preset: str, state: str, calls: list[str], bind: str
) -> None:
    laptop.boot(preset)
    planned = run(laptop, ollama, True, state=state)
    assert laptop.calls == []
    done = run(laptop, ollama, state=state)
    assert laptop.calls == calls
    assert done.report.changed
    assert done.after is not None
    assert (done.after.bind, done.after.installed, done.reachable) == (bind, True, True)
    assert laptop.state["variable"] == f"0.0.0.0:{ollama}"
    assert planned.report.actions[:2] == done.report.actions[:2]
    assert planned.report.expected == {"OLLAMA_HOST": f"0.0.0.0:{ollama}", "bind": "all"} | (
        {"installed": True} if preset == "bare" else {}
    )

    again = run(laptop, ollama, state=state)
    assert (again.report.changed, again.report.actions) == (False, [])
    assert laptop.calls == calls


def test_a_daemon_on_loopback_is_restarted_with_its_app_stopped_first(laptop: Laptop, ollama: int) -> None:
    laptop.boot("loopback")
    laptop.change(listeners=[{**laptop.state["listeners"][0], "port": ollama}])
    done = run(laptop, ollama)
    assert laptop.calls == ["set_variable", "stop", "start"]
    assert done.report.restarted
    assert done.report.actions == [
        f"set OLLAMA_HOST=0.0.0.0:{ollama} for the Windows user LAPTOP\\J\u00f6rg M\u00fcller (it was not set)",
        "stop ollama app.exe, ollama.exe on Windows",
        f"start {APP}",
    ]
    assert len(laptop.state["processes"]) == 2
    assert not run(laptop, ollama).report.changed


def test_running_never_restarts(laptop: Laptop) -> None:
    laptop.boot("loopback")
    with pytest.raises(Failure, match="state=restarted") as caught:
        run(laptop, 11434, state="running")
    assert caught.value.code == "windows_restart_needed"
    assert laptop.calls == []


def test_the_loopback_mode(laptop: Laptop) -> None:
    laptop.boot("running")
    done = run(laptop, 11434, bind="loopback", host="host.docker.invalid")
    assert done.after is not None
    assert (done.after.bind, done.after.guarded, done.reachable) == ("loopback", True, False)
    assert laptop.state["variable"] == "127.0.0.1:11434"
    assert [warning for warning in done.report.warnings if "probe from a container" in warning]
    assert not run(laptop, 11434, bind="loopback", host="host.docker.invalid").report.changed


def test_a_name_that_only_containers_know_is_no_failure(laptop: Laptop) -> None:
    laptop.boot()
    done = run(laptop, 11434, host="host.docker.invalid")
    assert done.after is not None
    assert (done.after.bind, done.reachable) == ("all", False)
    assert "may exist only in containers" in done.report.warnings[-1]


def test_without_an_app_the_program_is_started(laptop: Laptop, ollama: int) -> None:
    laptop.boot(has_app=False)
    assert run(laptop, ollama).report.actions[-1] == f"start {PROGRAM} serve"


def test_an_app_that_starts_no_daemon_gives_way_to_the_program(laptop: Laptop, ollama: int) -> None:
    laptop.boot(misbehave=["app_never_binds"])
    # The endpoint that answers is not Windows here: what listens on Windows decides.
    assert run(laptop, ollama).report.actions[-2:] == [f"start {APP}", f"start {PROGRAM} serve"]
    assert laptop.calls == ["set_variable", "start", "stop", "start"]


@pytest.mark.parametrize(
    ("preset", "changes", "options", "code", "words"),
    [
        ("installed", {"listeners": [STRANGER]}, {}, "windows_port_taken", "svchost (process 77)"),
        (
            "bare",
            {"listeners": [{**STRANGER, "process": "wslrelay"}]},
            {"state": "installed"},
            "windows_port_taken",
            "inside WSL",
        ),
        ("bare", {}, {}, "windows_ollama_not_installed", "irm https"),
        ("bare", {"others": GRACE}, {}, "windows_ollama_other_user", "Grace"),
        ("bare", at(11434), {"state": "installed"}, "windows_ollama_other_user", "another user"),
        ("bare", at(11434, listeners=[]), {}, "windows_ollama_other_user", "(Grace)"),
        (
            "bare",
            {"processes": [{"name": "ollama.exe", "pid": 9, "path": None, "owner": None}]},
            {},
            "windows_ollama_other_user",
            "(unknown)",
        ),
        (
            "installed",
            {"misbehave": ["never_binds"]},
            {},
            "windows_ollama_not_started",
            "nothing listens on port 11434",
        ),
        ("installed", {"misbehave": ["binds_loopback"]}, {}, "windows_ollama_bind", "127.0.0.1"),
        ("installed", {"misbehave": ["silent"]}, {}, "windows_ollama_no_answer", "gets no answer"),
        ("running", {"misbehave": ["silent"]}, {}, "windows_ollama_no_answer", "restart it there"),
        ("installed", {"misbehave": ["variable_reset"]}, {}, "windows_variable_not_set", "OLLAMA_HOST"),
        ("loopback", {"misbehave": ["wont_stop"]}, {}, "windows_ollama_not_stopped", "ollama app.exe (process"),
        ("bare", {"misbehave": ["install_fails"]}, {"state": "installed"}, "windows_install_failed", "Speicherplatz"),
        ("bare", {"misbehave": ["install_hangs"]}, {"state": "installed"}, "windows_install_failed", "within 60 s"),
        ("bare", {"misbehave": ["install_elsewhere"]}, {"state": "installed"}, "windows_install_failed", "registry"),
        ("bare", {"downloads": {}}, {"state": "installed"}, "windows_install_failed", "could not get"),
        ("bare", {}, {"state": "installed", "checksum": "sha256:" + "b" * 64}, "checksum_mismatch", "a" * 64),
        ("bare", {}, {"state": "installed", "url": "/no/such/OllamaSetup.exe"}, "archive_not_found", "/no/such"),
    ],
)
def test_what_is_in_the_way_is_named(
    laptop: Laptop, preset: str, changes: dict[str, Any], options: dict[str, Any], code: str, words: str
) -> None:
    laptop.boot(preset, **changes)
    before = laptop.state["processes"]
    with pytest.raises(Failure) as caught:
        run(laptop, 11434, host="host.docker.invalid", **options)
    assert (caught.value.code, words in caught.value.message) == (code, True), caught.value.message
    assert caught.value.message.endswith((".", "| iex"))
    assert ("Windows was changed before that" in caught.value.message) == bool(caught.value.details.get("actions"))
    assert caught.value.details.get("actions") or set(laptop.calls) <= {"install"}
    assert [one for one in before if one["owner"] == "LAPTOP\\Grace" and one not in laptop.state["processes"]] == []


def test_a_closed_firewall_comes_with_the_command_that_opens_it(laptop: Laptop, closed_port: int) -> None:
    laptop.boot()
    with pytest.raises(Failure, match="firewall") as caught:
        run(laptop, closed_port)
    assert caught.value.code == "windows_firewall"
    command = caught.value.details["firewall_command"]
    assert command in caught.value.details["diagnosis"]
    assert command.startswith("New-NetFirewallRule ")
    assert f"-LocalPort {closed_port} " in command
    # It was started once, and is left running for whoever opens the firewall.
    assert laptop.calls == ["set_variable", "start"]
    assert laptop.state["listeners"] != []


def test_a_closed_firewall_is_a_warning_for_who_asks_from_a_container(laptop: Laptop, closed_port: int) -> None:
    laptop.boot()
    done = run(laptop, closed_port, require_reachable=False)
    assert done.after is not None
    assert (done.after.bind, done.reachable) == ("all", False)
    assert "New-NetFirewallRule" in done.report.warnings[0]


@pytest.mark.parametrize(("address", "is_refused"), [("127.0.0.1", True), ("::1", True), ("192.168.1.7", False)])
def test_a_server_of_wsl_on_windows_loopback_stands_in_the_way(
    laptop: Laptop, ollama: int, address: str, is_refused: bool
) -> None:
    laptop.boot()
    run(laptop, ollama)
    before = laptop.calls
    relay = {"address": address, "port": ollama, "pid": 78, "process": "wslrelay"}
    laptop.change(listeners=[*laptop.state["listeners"], relay])
    if is_refused:
        with pytest.raises(Failure, match="does not reach Ollama") as caught:
            run(laptop, ollama)
        assert (caught.value.code, caught.value.details["listeners"]) == ("windows_port_taken", [relay])
        said = caught.value.message
    else:
        said = run(laptop, ollama).report.warnings[0]
    assert f"wslrelay (process 78) on {address}" in said
    assert "inside WSL" in said
    assert laptop.calls == before


def test_a_daemon_on_another_port_is_stopped_only_where_a_restart_was_asked_for(laptop: Laptop, ollama: int) -> None:
    laptop.boot("running")
    with pytest.raises(Failure, match="state=restarted") as caught:
        run(laptop, ollama, state="running")
    assert (caught.value.code, laptop.calls) == ("windows_restart_needed", [])
    planned, done = run(laptop, ollama, True), run(laptop, ollama)
    assert planned.report.restarted
    assert done.report.restarted
    assert planned.report.actions == done.report.actions
    assert laptop.calls == ["set_variable", "stop", "start"]


def test_a_release_that_is_too_old_is_upgraded_where_that_is_allowed(laptop: Laptop, ollama: int) -> None:
    laptop.boot("running", version="0.9.3")
    laptop.change(listeners=[{**laptop.state["listeners"][0], "port": ollama}], variable=f"0.0.0.0:{ollama}")
    assert not run(laptop, ollama, state="installed").report.changed
    with pytest.raises(Failure, match=r"0\.9\.3, but at least 0\.32\.9 is required") as caught:
        run(laptop, ollama, state="restarted", minimum_version="0.32.9")
    assert (caught.value.code, laptop.calls) == ("windows_ollama_too_old", [])
    planned = run(laptop, ollama, True, state="installed", minimum_version="0.32.9")
    done = run(laptop, ollama, state="installed", minimum_version="0.32.9")
    assert laptop.calls == ["stop", "install"]
    assert planned.report.actions[:2] == done.report.actions
    assert "upgrade Ollama on Windows from 0.9.3" in done.report.actions[1]
    assert done.report.restarted
    assert done.after is not None
    assert done.after.version == "0.32.9"
    assert not run(laptop, ollama, state="installed", minimum_version="0.32.9").report.changed


def test_an_installer_that_brings_an_old_release_is_said(laptop: Laptop, ollama: int) -> None:
    laptop.boot("bare", installs="0.9.3")
    with pytest.raises(Failure) as caught:
        run(laptop, ollama, state="installed", minimum_version="0.32.9")
    assert caught.value.code == "windows_ollama_too_old"


def test_what_was_changed_before_a_failure_is_said(laptop: Laptop) -> None:
    laptop.boot("installed", variable="10.0.0.1:11434", misbehave=["never_binds"])
    with pytest.raises(Failure) as caught:
        run(laptop, 11434)
    assert "Windows was changed before that: set OLLAMA_HOST=0.0.0.0:11434" in caught.value.message
    assert caught.value.message.endswith("state=restored (the playbook uninstall) puts OLLAMA_HOST back.")
    assert caught.value.details["actions"][0].endswith("(it was 10.0.0.1:11434)")


def test_a_converged_laptop_is_looked_at_once(laptop: Laptop, ollama: int) -> None:
    laptop.boot()
    run(laptop, ollama)
    before = len(laptop.state["calls"])
    assert not run(laptop, ollama).report.changed
    assert laptop.state["calls"][before:] == ["look"]


def test_a_loopback_that_guards_nothing_is_said(laptop: Laptop) -> None:
    asked = desired(state="detected")
    for misbehave, words in (["unguarded"], ["foreign Host header"]), ([], []):
        laptop.boot("loopback", misbehave=misbehave)
        warnings = as_result(detect(laptop.connect(), asked), asked, False)["warnings"]
        assert [word for word in words if word in warnings[0]] == words
        assert bool(warnings) == bool(words)


@pytest.mark.parametrize("address", ["::", "0.0.0.0", "192.168.1.7", "fe80::1%4"])
def test_exposure_is_said_by_sockets(laptop: Laptop, address: str) -> None:
    laptop.boot("running")
    laptop.change(listeners=[{**laptop.state["listeners"][0], "address": address}])
    asked = desired(state="detected")
    result = as_result(detect(laptop.connect(), asked), asked, False)
    assert result["bind"] == ("all" if address in ("::", "0.0.0.0") else "other")
    assert "without a key or a password" in result["warnings"][0]


def test_another_users_daemon_is_used_as_it_is(laptop: Laptop, ollama: int) -> None:
    laptop.boot("installed", **at(ollama, listeners=[{"address": "::", "port": ollama, "pid": 9, "process": "ollama"}]))
    done = run(laptop, ollama, state="installed")
    assert (done.report.changed, laptop.calls) == (False, [])
    assert "belongs to another user" in done.report.warnings[0]


@pytest.mark.parametrize("name", ["Ollama Setup.exe", "install \u00fc.ps1"])
def test_an_installer_from_wsl_is_proved_and_run(laptop: Laptop, ollama: int, tmp_path: Path, name: str) -> None:
    installer = tmp_path / name
    # The stand-ins of Windows see the real file system and not the root of the test's host: the same file is in both.
    for path in (installer, laptop.root / str(installer).lstrip("/")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"installer")
    laptop.boot("bare")
    with pytest.raises(Failure) as caught:
        run(laptop, ollama, state="installed", url=str(installer), checksum="sha256:" + "0" * 64)
    assert caught.value.details["found"] == hashlib.sha256(b"installer").hexdigest()
    done = run(
        laptop, ollama, state="installed", url=str(installer), checksum=f"sha256:{caught.value.details['found']}"
    )
    assert f"install Ollama on Windows by {installer}" in done.report.actions
    assert done.reachable


def test_an_installer_that_windows_cannot_see(laptop: Laptop) -> None:
    laptop.boot("bare")
    (laptop.bin / "wslpath").write_text("#!/bin/sh\necho wslpath: no >&2; exit 1\n")
    (laptop.root / "OllamaSetup.exe").write_bytes(b"MZ")
    with pytest.raises(Failure, match="Windows' own drive") as caught:
        run(laptop, 11434, state="installed", url="/OllamaSetup.exe")
    assert caught.value.code == "windows_path_unknown"
    assert (laptop.calls, laptop.state["variable"], laptop.keeper.read()) == ([], None, None)


def test_the_result_tells_the_truth_in_both_modes(laptop: Laptop, ollama: int) -> None:
    laptop.boot("installed")
    asked = desired(port=ollama)
    planned = as_result(run(laptop, ollama, True), asked, True)
    done = as_result(run(laptop, ollama), asked, False)
    assert (
        planned["diff"]
        == done["diff"]
        == {
            "before": {"installed": True, "bind": None, "OLLAMA_HOST": None},
            "after": {"installed": True, "bind": "all", "OLLAMA_HOST": f"0.0.0.0:{ollama}"},
        }
    )
    assert (planned["running"], done["running"]) == (False, True)
    assert done["variable"] == {"before": None, "after": f"0.0.0.0:{ollama}"}
    assert done["path"] == f"{HOME}\\AppData\\Local\\Programs\\Ollama\\ollama.exe"
    assert [warning for warning in done["warnings"] if "without a key or a password" in warning]
    assert any("Get-NetTCPConnection" in command for command in done["diagnosis"])


def test_the_stand_in_runs_what_a_laboratory_hangs_on_it(tmp_path: Path, ollama: int) -> None:
    laptop = Laptop(tmp_path, by_process=True)
    told = laptop.root / "told"
    laptop.boot(
        "bare", hook=f"echo $WINDOWS_EVENT $OLLAMA_HOST >> '{told}'; /bin/sleep 60 & echo $!; [ ! -e '{told}.no' ]"
    )
    run(laptop, ollama, state="installed")
    run(laptop, ollama, bind="loopback")
    assert told.read_text().splitlines() == [f"start 0.0.0.0:{ollama}", "stop", f"start 127.0.0.1:{ollama}"]
    Path(f"{told}.no").touch()
    with pytest.raises(Failure) as caught:
        run(laptop, ollama)
    assert caught.value.code == "windows_ollama_not_started"
    for pid in (laptop.bin / "hook.log").read_text().split():
        os.kill(int(pid), signal.SIGTERM)


def test_looking_changes_nothing_and_never_fails_for_what_it_sees(laptop: Laptop) -> None:
    for preset, changes in (("bare", {"listeners": [STRANGER]}), ("running", {}), ("bare", {"others": GRACE})):
        laptop.boot(preset, **changes)
        result = detect(laptop.connect(), desired(state="detected"))
        assert (result.report.changed, laptop.calls) == (False, [])
        assert result.after is not None
        assert result.after.running == (preset == "running")
        assert result.after.others == changes.get("others", [])
