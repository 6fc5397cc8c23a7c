# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What OLLAMA_HOST was is remembered, and put back."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.converge import Result, converge, restore
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.presence import Keeper, Memory
from wsl_laptop import Laptop, desired


def set_up(laptop: Laptop, **options: Any) -> None:
    converge(laptop.connect(), laptop.keeper, desired(host="host.docker.invalid", **options), False)


def put_back(laptop: Laptop, check_mode: bool = False) -> Result:
    return restore(laptop.connect, laptop.keeper, check_mode)


@pytest.mark.parametrize("previous", [None, "192.168.1.7:11434", "0.0.0.0"])
def test_the_variable_is_as_it_was(laptop: Laptop, previous: str | None) -> None:
    laptop.boot(variable=previous)
    set_up(laptop, bind="all")
    set_up(laptop, bind="loopback")
    assert laptop.keeper.read() == Memory(previous, "127.0.0.1:11434")

    planned = put_back(laptop, check_mode=True)
    assert planned.report.expected == {"OLLAMA_HOST": previous}
    assert laptop.state["variable"] == "127.0.0.1:11434"
    done = put_back(laptop)
    assert laptop.state["variable"] == previous
    assert done.report.actions == planned.report.actions
    assert "until its next start" in done.report.warnings[0]
    assert laptop.keeper.read() is None
    assert put_back(laptop).report.actions == []


def test_nothing_is_remembered_of_what_was_right_already(laptop: Laptop) -> None:
    laptop.boot("running")
    set_up(laptop)
    assert laptop.keeper.read() is None


@pytest.mark.parametrize(("previous", "word"), [(None, "$null"), ("it's", "'it''s'")])
def test_without_powershell_the_way_by_hand_is_said(laptop: Laptop, previous: str | None, word: str) -> None:
    laptop.boot(variable=previous)
    set_up(laptop)
    laptop.change(misbehave=["policy"])
    with pytest.raises(Failure) as caught:
        put_back(laptop)
    assert caught.value.code == "powershell_policy"
    assert caught.value.details["command"] == f"[Environment]::SetEnvironmentVariable('OLLAMA_HOST', {word}, 'User')"
    assert caught.value.details["command"] in caught.value.message
    # A later run can still put it back.
    laptop.change(misbehave=[])
    assert put_back(laptop).report.expected == {"OLLAMA_HOST": previous}


def test_what_somebody_set_since_is_left(laptop: Laptop) -> None:
    laptop.boot()
    set_up(laptop)
    laptop.change(variable="10.0.0.1:11434")
    done = put_back(laptop)
    assert laptop.state["variable"] == "10.0.0.1:11434"
    assert "10.0.0.1:11434 and not 0.0.0.0:11434" in done.report.warnings[0]
    assert laptop.keeper.read() is None


def test_what_somebody_set_between_two_runs_is_what_comes_back(laptop: Laptop) -> None:
    laptop.boot()
    set_up(laptop)
    laptop.change(variable="10.0.0.1:11434")
    set_up(laptop)
    put_back(laptop)
    assert laptop.state["variable"] == "10.0.0.1:11434"


def test_windows_is_not_asked_where_nothing_was_set(laptop: Laptop) -> None:
    assert put_back(laptop)[:2] == (None, None)


def test_the_file_is_the_users_alone(laptop: Laptop) -> None:
    laptop.boot()
    set_up(laptop)
    path = laptop.home / ".nemoclaw" / "windows-ollama.json"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert json.loads(path.read_text())["written"] == "0.0.0.0:11434"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": 2}', '{"schema": 1, "previous": 4, "written": null}']
)
def test_a_file_that_says_nothing_is_not_believed(laptop: Laptop, text: str) -> None:
    laptop.boot()
    laptop.keeper.path.parent.mkdir()
    laptop.keeper.path.write_text(text)
    for step in (lambda: put_back(laptop), lambda: set_up(laptop)):
        with pytest.raises(Failure, match=r"windows-ollama\.json") as caught:
            step()
        assert caught.value.code == "windows_memory_unreadable"
    assert laptop.calls == []


def test_windows_is_not_changed_where_there_is_no_home(laptop: Laptop) -> None:
    laptop.boot()
    laptop.home.rmdir()
    with pytest.raises(Failure, match="Windows was not changed") as caught:
        set_up(laptop)
    assert caught.value.code == "windows_memory_unwritable"
    assert laptop.calls == []


def test_a_home_that_others_share_is_refused(laptop: Laptop) -> None:
    with pytest.raises(Failure) as caught:
        Keeper(laptop.account._replace(home="/tmp"))
    assert caught.value.code == "home_refused"
    assert Path("/tmp/.nemoclaw/windows-ollama.json").exists() is False
