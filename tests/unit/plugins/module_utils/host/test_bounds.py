# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that a host does can hold the probes up, and what they cannot see is absent and no error."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.facts import run_together
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    MAX_OUTPUT_BYTES,
    Machine,
    find_account,
    run_command,
    user_name,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import find_package_manager

ENVIRON = {"PATH": "/usr/bin:/bin"}
WriteCommand = Callable[[Path, str], Path]


def test_command_output_and_exit_code(tmp_path: Path, write_command: WriteCommand) -> None:
    program = write_command(tmp_path / "program", 'echo "$1 $LC_ALL"; echo "to stderr" >&2; exit 3')
    result = run_command([str(program), "a b"], 5, ENVIRON)
    assert (result.code, result.output, result.problem) == (3, "a b C\nto stderr\n", None)


def test_errors_can_be_kept_out_of_the_output(tmp_path: Path, write_command: WriteCommand) -> None:
    program = write_command(tmp_path / "program", "echo one; echo noise >&2; echo two; exit 3")
    result = run_command([str(program)], 5, ENVIRON, errors_apart=True)
    assert (result.code, result.output, result.errors, result.problem) == (3, "one\ntwo\n", "noise\n", None)


def test_command_gets_no_input(tmp_path: Path, write_command: WriteCommand) -> None:
    assert run_command([str(write_command(tmp_path / "program", "cat"))], 5, ENVIRON).code == 0


def test_hanging_command_is_killed_with_its_children(tmp_path: Path, write_command: WriteCommand) -> None:
    program = write_command(tmp_path / "program", f"sleep 60 & echo $! > {tmp_path}/child; echo started; wait")
    result = run_command([str(program)], 1.5, ENVIRON)
    assert (result.code, result.output) == (None, "started\n")
    assert result.problem is not None
    assert "did not end within 1.5 s" in result.problem
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    deadline = time.monotonic() + 5
    while child.exists() and child.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_command_that_closes_its_output_and_goes_on(tmp_path: Path, write_command: WriteCommand) -> None:
    program = write_command(tmp_path / "program", "exec >/dev/null 2>&1; exec sleep 60")
    result = run_command([str(program)], 0.3, ENVIRON)
    assert result.code is None
    assert result.problem is not None


def test_flood_is_cut_off(tmp_path: Path, write_command: WriteCommand) -> None:
    result = run_command([str(write_command(tmp_path / "program", "exec yes"))], 10, ENVIRON)
    assert result.code is None
    assert MAX_OUTPUT_BYTES <= len(result.output) < 2 * MAX_OUTPUT_BYTES
    assert result.problem is not None
    assert "wrote more than" in result.problem


def test_absent_command(tmp_path: Path) -> None:
    result = run_command([str(tmp_path / "absent")], 1, ENVIRON)
    assert result.code is None
    assert result.problem is not None
    assert "could not be started" in result.problem


def test_undecodable_output(tmp_path: Path, write_command: WriteCommand) -> None:
    assert run_command([str(write_command(tmp_path / "p", r"printf '\377'"))], 5, ENVIRON).output == "\ufffd"


def test_probes_answer_side_by_side() -> None:
    started = time.monotonic()
    answers, problems = run_together(
        {
            "quick": lambda: 1,
            "broken": lambda: {}["key"],
            "hanging": lambda: time.sleep(5),
        },
        limit_s=0.5,
    )
    assert time.monotonic() - started < 2
    assert answers == {"quick": 1, "broken": None, "hanging": None}
    assert problems == {
        "broken": "The broken probe failed: KeyError: 'key'.",
        "hanging": "The hanging probe did not answer within 0.5 s.",
    }


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["apt-get", "dnf"], "apt"),
        (["yum", "dnf"], "dnf"),
        (["yum"], "yum"),
        (["zypper"], "zypper"),
        (["pacman"], "pacman"),
        (["apk"], "apk"),
        ([], None),
    ],
)
def test_package_manager(
    tmp_path: Path, write_command: WriteCommand, commands: list[str], expected: str | None
) -> None:
    for command in commands:
        write_command(tmp_path / "usr/bin" / command, "exit 64")
    assert find_package_manager(Machine(root=tmp_path, environ={})) == expected


def test_find_command_wants_an_executable_file(tmp_path: Path, write_command: WriteCommand) -> None:
    (tmp_path / "opt/folder/tool").mkdir(parents=True)
    (tmp_path / "opt/plain").mkdir()
    (tmp_path / "opt/plain/tool").write_text("not executable")
    machine = Machine(root=tmp_path, environ={"PATH": "relative::/opt/folder:/opt/plain:/opt/last"})
    assert machine.find_command("tool") is None
    write_command(tmp_path / "opt/last/tool", "exit 0")
    write_command(tmp_path / "usr/local/bin/tool", "exit 0")
    assert machine.find_command("tool") == "/opt/last/tool"


def test_read_is_bounded_and_forgiving(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ab\0c\xffdefgh")
    machine = Machine(root=tmp_path, environ={})
    assert machine.read("/file", limit=5) == "abc\ufffd"
    assert machine.read("/absent") is None
    assert machine.read("/") is None
    assert machine.names("/absent") == []


@pytest.mark.parametrize("name", ["no-such-user-anywhere", "", "nul\0byte"])
def test_unknown_user(name: str) -> None:
    with pytest.raises(Failure) as raised:
        find_account(name)
    assert raised.value.code == "user_unknown"
    assert "passwd database" in raised.value.message


def test_current_user_has_the_home_of_the_passwd_database(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = find_account().home
    monkeypatch.setenv("HOME", "/elsewhere")
    account: Any = find_account()
    assert (account.uid, account.home) == (os.geteuid(), expected)
    assert account.gid in account.groups


def test_user_without_a_name() -> None:
    assert user_name(2_000_000_123) is None
