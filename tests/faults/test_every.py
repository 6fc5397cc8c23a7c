# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook, for every provider, with every fault in every task that changes the host; FAULTS_EVERY=1 alone runs it, for hours.

What is left between two tasks that change nothing is the same, so a fault is done in the middle of each task that changes something.
One follows the other, each in a run of its own, in the same task and then in the next one: a run that comes to the task again, or to the
next, has made good what the one before left. Then the playbook is played to its end, and once more. A fault that goes wrong is noted, and
the others are done.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import every_host
import pytest
from every_host import CLOCK, CTRL_C, CUT, ENGINE, FULL, GATE, MODULE, PLAY, READ_ONLY, EveryHost, Moment, Provider
from harness import Table

PROVIDERS = os.environ.get("FAULTS_PROVIDERS", "custom ollama install-ollama install-vllm nim").split()
# From one provider to another: what held a GPU is left once the new route is recorded.
SWITCHES = [
    ("install-vllm", "custom"),
    ("install-vllm", "install-ollama"),
    ("install-ollama", "custom"),
    ("nim", "install-vllm"),
]
IN_TASKS = (MODULE, CUT, CTRL_C, PLAY, ENGINE, GATE)
LONG_S = 20
# What a module takes to import what it needs, in hundredths of a second of a CPU (its bytecode is packed: tests/servers/payloads.py).
IMPORTED = 15
# What ends the server itself takes the route with it, until the next run.
ENDS = (ENGINE, GATE)
HOME = "/home/lab/.nemoclaw"
# Root's rights are not what makes a folder writable: a full or read-only mount is full or read-only for root as well.
IN_HOME = {
    FULL: f"mount -t tmpfs -o size=64k,mode=0700,uid=$(id -u lab),gid=$(id -g lab) none {HOME}"
    f" && cp -a /run/kept/. {HOME}/ && (cat /dev/zero > {HOME}/full || true)",
    READ_ONLY: f"mount --bind {HOME} {HOME} && mount -o remount,bind,ro {HOME}",
}
LATER = f"""#!/bin/sh
LD_PRELOAD={every_host.FAKETIME} FAKETIME=+1y exec /usr/bin/python3 "$@"
"""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryHost]:
    with every_host.booted(tmp_path_factory.mktemp("every"), " ".join(PROVIDERS)) as made:
        made.host.put("/opt/python-later", LATER, "0755")
        yield made


def settings(provider: Provider, **more: Any) -> dict[str, Any]:
    return {"sandbox_backend": "none", **provider.settings, **more}


def serves(every: EveryHost, at: str, makes_room: bool) -> None:
    """See that the record has a route that was proved, and that this one answers, behind its auth proxy as well."""
    asked = every.asked()
    assert asked, f"{at}: no record"
    assert makes_room or (asked["server"], asked.get("with", 200)) == (200, 200), f"{at}: {asked}"
    assert asked.get("without", 401) == 401, f"{at}: {asked}"


def converges(every: EveryHost, playbook: str, chosen: dict[str, Any], at: str, is_new_each_time: bool) -> str:
    """Play it to its end, and once more."""
    played = every.play(playbook, chosen)
    assert played.status == 0, f"{at}: {played.said}"
    if is_new_each_time:
        # It does not start an engine that was killed, and each run of it is a change.
        every.well("site", chosen)
    third = every.play("site" if is_new_each_time else playbook, chosen)
    assert (third.status, third.changed) == (0, 0), f"{at}, third run: {third.said}"
    # What is converged by its own word may have left something all the same.
    assert (every.left(), every.record().get("to_free")) == ([], None), at
    if playbook == "uninstall":
        assert every.asked() is None, at
        return "-"
    asked = every.asked()
    assert asked and (asked["server"], asked.get("with", 200), asked.get("without", 401)) == (200, 200, 401), (
        at,
        asked,
    )
    return "answered"


def breaks(every: EveryHost, name: str, playbook: str, table: Table, to: str = "") -> None:
    """Break a playbook off in every task that changes something, by every fault; a switch may be to another provider."""
    provider, target = every.providers[name], every.providers[to or name]
    chosen = settings(target, **(provider.other if playbook == "switch_model" and not to else {}))
    is_copied = not (provider.is_exclusive or target.is_exclusive)
    makes_room = provider.is_exclusive and target.is_exclusive
    what = f"{playbook}, {name}{to and f' to {to}'}"
    prepare(every, name, playbook)
    tasks = every.changing(playbook, chosen)
    assert tasks, f"{playbook} changed nothing"
    if playbook == "site" and is_copied:
        every.keep(name)
    prepare(every, name, playbook)
    fell: dict[str, int] = {}
    wrong: list[str] = []
    is_done = False
    for task, seconds in tasks.items():
        if is_done:
            prepare(every, name, playbook)
        if is_copied:
            every.keep("here")
        is_done = False
        # What happens within a module is in the other files. One that had ended by then is hit earlier, and so are the next of this task.
        moments = [Moment(seconds / 3, 0)] * (seconds > LONG_S) + [Moment(0, IMPORTED), Moment(0, 0)]
        for fault in [one for one in IN_TASKS if every.is_known(provider, one)]:
            # Once more at the end, since the run before may have left nothing to do.
            for moment in [*moments, moments[-1]]:
                if is_done and is_copied:
                    every.back("here")
                elif is_done:
                    prepare(every, name, playbook)
                is_done = False
                if not every.is_there(provider, fault):
                    break
                at = f"{what}, {task}, {fault}"
                try:
                    is_hit, status = every.broken_off(provider, playbook, chosen, fault, task, moment)
                    if is_hit and fault not in ENDS and playbook not in ("site", "uninstall"):
                        serves(every, at, makes_room)
                    # What holds a GPU is done with, or known to the next run.
                    assert status != 0 or not every.left(), f"{at}: {every.left()}"
                except AssertionError as error:
                    logging.warning("WRONG: %s: %s", at, error)
                    wrong.append(f"{at}: {error}")
                    is_done = True
                    break
                is_done = status == 0 and "to_free" not in every.record()
                if is_hit:
                    fell[fault] = fell.get(fault, 0) + 1
                    break
                moments = [one for one in moments if one != moment] or moments
    converges(every, playbook, chosen, what, playbook == "rotate_token")
    assert not wrong, "\n".join(wrong)
    before = {"site": "there was none", "uninstall": "-"}.get(playbook, "answered")
    if makes_room and playbook == "switch_model":
        before = "makes room"
    for fault, number in fell.items():
        table.row(what, fault, number, "down" if fault in ENDS and before == "answered" else before)


def prepare(every: EveryHost, name: str, playbook: str) -> None:
    """Have the host as it is before the playbook."""
    provider = every.providers[name]
    if playbook == "site":
        every.bare()
        every.host.sh(provider.before or "true")
    elif every.has(name):
        every.back(name)
    else:
        if not every.asked():
            every.bare()
            every.host.sh(provider.before)
        every.well("site", settings(provider))
        if not provider.is_exclusive:
            every.keep(name)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("playbook", ["site", "rotate_token", "switch_model", "uninstall"])
def test_in_every_task(table: Table, every: EveryHost, name: str, playbook: str) -> None:
    if playbook == "rotate_token" and name == "custom":
        return  # it has no auth proxy, and says so: tests/real/test_playbooks_proxy.py
    breaks(every, name, playbook, table)


@pytest.mark.parametrize(("name", "to"), [one for one in SWITCHES if {*one} <= {*PROVIDERS}])
def test_a_switch_to_another_provider(table: Table, every: EveryHost, name: str, to: str) -> None:
    breaks(every, name, "switch_model", table, to)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_home_that_takes_nothing(table: Table, every: EveryHost, name: str) -> None:
    """The first set-up ends with an error, and the next one does not; a switch leaves the route that was there."""
    provider = every.providers[name]
    for playbook in ("site", "switch_model"):
        prepare(every, name, playbook)
        chosen = settings(provider, **(provider.other if playbook == "switch_model" else {}))
        for fault, command in IN_HOME.items():
            at = f"{playbook}, {name}, {fault}"
            owned = f"mkdir -p {HOME} && chown lab: {HOME} && chmod 0700 {HOME}"
            every.host.sh(f"{owned} && rm -rf /run/kept && cp -a {HOME} /run/kept\n{command}")
            try:
                played = every.play(playbook, chosen)
                assert played.status != 0, f"{at}: {played.said}"
                assert "Traceback" not in played.said, played.said
            finally:
                every.host.sh(f"umount {HOME}")
            if playbook == "switch_model":
                serves(every, at, provider.is_exclusive)
        converges(every, playbook, chosen, f"{playbook}, {name}", False)
        for fault in IN_HOME:
            table.row(f"{playbook}, {name}", fault, 1, "answered" if playbook == "switch_model" else "there was none")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_clock_that_jumps(table: Table, every: EveryHost, name: str) -> None:
    """Set up a year ahead and broken off there; what is done afterwards has the time of today."""
    provider = every.providers[name]
    install = "apt-get update -qq && apt-get install -qq --yes --no-install-recommends faketime > /dev/null"
    every.host.sh(f"test -e {every_host.FAKETIME} || ({install})", limit_s=300)
    later = {"ansible_python_interpreter": "/opt/python-later"}
    prepare(every, name, "site")
    task = "Set the route of the sandboxes"
    is_hit, _status = every.broken_off(provider, "site", settings(provider, **later), MODULE, task, Moment(0, 0))
    assert is_hit
    converges(every, "site", settings(provider), f"site, {name}, {CLOCK}", False)
    table.row(f"site, {name}", CLOCK, 1, "there was none")
