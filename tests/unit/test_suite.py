# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `bin/test` makes of its command line, what runs beside what, and that nothing passes which was not tested."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))
import payloads
from suite import cpu, paths, pytests, scheduler, venvs
from suite.model import Counts, Outcome, Stage, StageSkipped
from suite.run import Run
from suite.stages import STAGES, chosen


def nothing(run: Run) -> None:
    pass


def stage(name: str, load: float = 1.0, needs: tuple[str, ...] = ()) -> Stage:
    return Stage(name, "", nothing, needs=needs, load=load)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["docs", "lint"], [("lint", ""), ("docs", "")]),  # in the order of the stages
        (
            ["molecule"],
            [
                ("tarball", ""),
                ("molecule-wsl", ""),
                ("molecule-hosts", ""),
                ("molecule-fleet", ""),
                ("molecule-ollama", ""),
            ],
        ),
        (
            ["molecule:endpoint"],
            [("tarball", ""), ("molecule-wsl", "endpoint")],
        ),  # whichever lab: it has what any needs
        (["galaxy-importer", "tarball"], [("tarball", ""), ("galaxy-importer", "")]),
        (["integration"], [("integration-1", ""), ("integration-2", "")]),
        (["plays:status or site"], [("plays", "status or site")]),
        (["units"], [("units-3.9", ""), ("units-bare", ""), ("units-3.13", "")]),  # units-quick is in units-3.13
        ([], []),
    ],
)
def test_stages_by_name(words: list[str], wanted: list[tuple[str, str]]) -> None:
    assert [(one.name, choice) for one, choice in chosen(words)] == wanted


@pytest.mark.parametrize("word", ["no-such", "lint:ruff", "molecules", ""])
def test_what_is_no_stage(word: str) -> None:
    with pytest.raises(ValueError, match=r"no such stage|nothing can be chosen"):
        chosen([word])


def test_needs_name_stages() -> None:
    names = [one.name for one in STAGES]
    assert len(names) == len(set(names))
    assert {name for one in STAGES for name in one.needs} <= set(names)


@pytest.mark.parametrize(
    ("running", "jobs", "wanted"),
    [
        ([], 2, ["waits-1", "waits-2", "computes"]),
        ([stage("x")], 1, ["waits-1"]),
        ([stage("x")], 2, ["waits-1", "waits-2"]),
        ([stage("x"), stage("y")], 2, ["waits-1"]),
        ([stage("x"), stage("y", 1.2)], 2, []),
        ([], 0.1, ["waits-1"]),  # one runs on any machine
        ([stage("first", 0.2)], 2, ["waits-1", "waits-2", "computes"]),
    ],
)
def test_stages_that_start(running: list[Stage], jobs: float, wanted: list[str]) -> None:
    waiting = [stage("waits-1", 0.5), stage("waits-2", 0.5), stage("computes"), stage("later", 0.1, ("first",))]
    unfinished = [one for one in waiting if one.name != "later" or any(other.name == "first" for other in running)]
    assert [one.name for one in scheduler.startable(unfinished, running, jobs)] == wanted


def test_an_idle_core_gets_one_more_than_the_loads_allow() -> None:
    waiting = [stage("waits-for-x", 0.1, ("x",)), stage("next"), stage("last", 0.1)]
    assert [one.name for one in scheduler.startable(waiting, [stage("x", 3)], 2, one_more=True)] == ["next"]
    assert scheduler.startable(waiting, [stage("x", 3)], 2) == []


@pytest.mark.parametrize(
    ("seconds", "busy", "idle"), [(14, 0, False), (15, 0, True), (20, 33, True), (20, 35, False), (20, 40, False)]
)
def test_a_core_is_idle_when_it_was_for_a_while(
    monkeypatch: pytest.MonkeyPatch, seconds: float, busy: float, idle: bool
) -> None:
    now = {"time": 100.0, "busy": 1000.0}
    monkeypatch.setattr(cpu.time, "monotonic", lambda: now["time"])
    monkeypatch.setattr(cpu, "busy_seconds", lambda: now["busy"])
    meter = cpu.Meter(2)
    now.update(time=100.0 + seconds, busy=1000.0 + busy)
    assert meter.idle() is idle
    # What was told is not told again.
    assert meter.idle() is False


def skips(run: Run) -> None:
    raise StageSkipped("no engine here")


def skips_a_part(run: Run) -> None:
    run.counts.add(Counts(passed=1, skipped=1, reasons=["no engine here"]))


@pytest.mark.parametrize(
    ("function", "strict", "ci", "failed"),
    [
        (nothing, False, "", True),
        (skips, False, "", False),
        (skips, True, "", True),
        (skips, False, "true", True),
        (skips_a_part, True, "", False),
        (skips_a_part, False, "true", True),
    ],
)
def test_what_could_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: object, strict: bool, ci: str, failed: bool
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(paths, "LOGS", tmp_path)
    monkeypatch.setattr(scheduler, "exclusive", lambda name: tmp_path.joinpath("lock").open("w"))
    outcome = scheduler.run_one(Stage("x", "", function), strict=strict)  # type: ignore[arg-type]
    assert outcome.failed is failed


def test_the_table_says_what_went_over() -> None:
    slow, quick = (
        Outcome(Stage(name, "", nothing, budget=60), seconds, 7.0, Counts()) for name, seconds in (("a", 61), ("b", 60))
    )
    lines = scheduler.table([quick, slow]).splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "a", "b"]
    assert ["over budget" in line for line in lines] == [False, True, False]
    assert lines[1].split()[1:4] == ["61", "60", "7"]


@pytest.mark.parametrize(
    ("usual", "file"),
    [
        (["tests/real/test_a.py", "tests/real/test_b.py"], "tests/real/test_a.py"),
        (["tests/unit"], "tests/unit/x/test_a.py"),
        (["tests/real", "--ignore-glob", "*/test_b.py"], "tests/real/test_a.py"),
    ],
)
def test_a_file_is_taken_from_where_the_stage_has_its_own(tmp_path: Path, usual: list[object], file: str) -> None:
    for place in ("tests/unit/x", "tests/real"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "test_a.py").touch()
    with (tmp_path / "log").open("w") as log:
        assert pytests._selected(Run("x", log, "test_a.py::test_it"), tmp_path, usual) == [f"{file}::test_it"]


def test_what_is_packed_of_modules_is_kept_for_the_same_sources_alone(tmp_path: Path) -> None:
    plugins, cache = tmp_path / "plugins", tmp_path / "cache"
    (plugins / "modules").mkdir(parents=True)
    source = plugins / "modules" / "a.py"
    source.write_text("1\n")
    before = payloads.folder(cache, plugins)
    assert payloads.folder(cache, plugins) == before
    source.write_text("2\n")
    changed = payloads.folder(cache, plugins)
    source.rename(source.with_name("b.py"))
    assert len({before, changed, payloads.folder(cache, plugins)}) == 3
    os.utime(before, (0, 0))
    payloads.folder(cache, plugins)
    assert (before.exists(), changed.exists()) == (False, True)
    assert payloads.environment(tmp_path, shared=str(changed)) == {
        "ANSIBLE_CALLBACK_PLUGINS": f"{tmp_path}:{payloads.CALLBACKS}",
        "SHARED_PAYLOADS": str(changed),
    }


@pytest.mark.parametrize(
    ("configured", "wanted"),
    [
        ("", {}),
        ("global.index-url='https://mirror.example/simple'", {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}),
        ("global.find-links='/a /b'\ninstall.no-index='true'", {"UV_FIND_LINKS": "/a,/b", "UV_NO_INDEX": "true"}),
        # A variable wins over a file, wherever pip names it; what uv has no word for is left out.
        (
            ":env:.cert='/etc/own.pem'\nglobal.cert='/etc/old.pem'\nglobal.progress-bar='off'",
            {"SSL_CERT_FILE": "/etc/own.pem"},
        ),
        ("global.timeout='60'\n:env:.default-timeout='180'", {"UV_HTTP_TIMEOUT": "180"}),
    ],
)
def test_packages_come_from_where_pip_has_them(configured: str, wanted: dict[str, str]) -> None:
    assert venvs.uv_settings(configured) == wanted


def test_an_environment_is_removed_when_nobody_has_used_it_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "VENVS", tmp_path)
    days = {"tools-py3.12-old": 15, "tools-py3.12-used": 13, "tools-py3.12-being-made": None, "servers-py3.12-old": 15}
    for name, age in days.items():
        (tmp_path / name).mkdir()
        if age is not None:
            mark = tmp_path / name / "complete"
            mark.touch()
            os.utime(mark, (time.time() - age * 86400,) * 2)
    venvs._remove_unused("tools")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        name for name in sorted(days) if name != "tools-py3.12-old"
    ]
