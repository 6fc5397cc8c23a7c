# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook, for every provider, with every fault in every task that changes the host; FAULTS_EVERY=1 alone runs it, for hours.

What is left between two tasks that change nothing is the same, so a fault is done in the middle of each task that changes something.
One follows the other in the same task, each in a run of its own, and only then the playbook is played to its end, and once more. A run
that comes to the task again has made good what the one before left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import every_host
import pytest
from every_host import CLOCK, CTRL_C, CUT, ENGINE, FULL, GATE, MODULE, PLAY, READ_ONLY, EveryHost, Provider
from harness import Table

PROVIDERS = os.environ.get("FAULTS_PROVIDERS", "custom ollama install-ollama install-vllm nim").split()
IN_TASKS = (MODULE, CUT, CTRL_C, PLAY, ENGINE, GATE)
LONG_S = 8
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


def set_up(every: EveryHost, provider: Provider) -> None:
    """Have the host with its provider set up."""
    every.bare()
    every.host.sh(provider.before)
    every.well("site", settings(provider))


def serves(every: EveryHost, provider: Provider, known: tuple[str, ...], at: str) -> None:
    """See that the record has a route that was proved, and that this one answers, behind its auth proxy as well."""
    asked = every.asked()
    if not known:
        return
    assert asked, f"{at}: no record"
    assert provider.is_exclusive or (asked["server"], asked.get("with", 200)) == (200, 200), f"{at}: {asked}"
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
    if playbook == "uninstall":
        assert every.asked() is None, at
        return "-"
    asked = every.asked()
    assert asked and (asked["server"], asked.get("with", 200), asked.get("without", 401)) == (200, 200, 401), (
        at,
        asked,
    )
    return "answered"


def breaks(every: EveryHost, name: str, playbook: str, table: Table) -> None:
    """Break a playbook off in every task that changes something, by every fault."""
    provider = every.providers[name]
    chosen = settings(provider, **(provider.other if playbook == "switch_model" else {}))
    prepare(every, provider, playbook)
    tasks = every.changing(playbook, chosen)
    assert tasks, f"{playbook} changed nothing"
    fell: dict[str, int] = {}
    for task, seconds in tasks.items():
        at = f"{playbook}, {name}, {task}"
        prepare(every, provider, playbook)
        is_reached = True
        for fault in IN_TASKS:
            if not is_reached:
                prepare(every, provider, playbook)
                is_reached = True
            if not every.is_there(provider, fault):
                continue
            # A short task is hit at its beginning: what happens within its module is in the other files.
            for after in [seconds / 3] * (seconds > LONG_S) + [0.0]:
                if not is_reached:
                    prepare(every, provider, playbook)
                is_hit, status = every.broken_off(provider, playbook, chosen, fault, task, after)
                is_reached = status != 0
                if not is_hit:
                    continue
                fell[fault] = fell.get(fault, 0) + 1
                if fault not in ENDS and playbook not in ("site", "uninstall"):
                    serves(every, provider, (name,), f"{at}, {fault}")
                break
        converges(every, playbook, chosen, at, playbook == "rotate_token")
    before = {"site": "there was none", "uninstall": "-"}.get(playbook, "answered")
    if provider.is_exclusive and playbook == "switch_model":
        before = "makes room"
    for fault, number in fell.items():
        table.row(f"{playbook}, {name}", fault, number, "down" if fault in ENDS and before == "answered" else before)


def prepare(every: EveryHost, provider: Provider, playbook: str) -> None:
    """Have the host as it is before the playbook."""
    if playbook == "site":
        every.bare()
        every.host.sh(provider.before or "true")
    elif playbook == "switch_model" and every.asked():
        every.well("site", settings(provider))
    elif playbook == "uninstall" or not every.asked():
        set_up(every, provider)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("playbook", ["site", "rotate_token", "switch_model", "uninstall"])
def test_in_every_task(table: Table, every: EveryHost, name: str, playbook: str) -> None:
    if playbook == "rotate_token" and name == "custom":
        return  # it has no auth proxy, and says so: tests/real/test_playbooks_proxy.py
    breaks(every, name, playbook, table)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", list(IN_HOME))
def test_a_home_that_takes_nothing(table: Table, every: EveryHost, name: str, fault: str) -> None:
    """The first set-up ends with an error, and the next one does not; a switch leaves the route that was there."""
    provider = every.providers[name]
    for playbook in ("site", "switch_model"):
        prepare(every, provider, playbook)
        chosen = settings(provider, **(provider.other if playbook == "switch_model" else {}))
        every.host.sh(
            f"mkdir -p {HOME} && chown lab: {HOME} && chmod 0700 {HOME} && rm -rf /run/kept && cp -a {HOME} /run/kept"
        )
        every.host.sh(IN_HOME[fault])
        try:
            played = every.play(playbook, chosen)
            assert played.status != 0, f"{playbook}, {name}, {fault}: {played.said}"
            assert "Traceback" not in played.said, played.said
        finally:
            every.host.sh(f"umount {HOME}")
        if playbook == "switch_model":
            serves(every, provider, (name,), f"{playbook}, {name}, {fault}")
        converges(every, playbook, chosen, f"{playbook}, {name}, {fault}", False)
        table.row(f"{playbook}, {name}", fault, 1, "answered" if playbook == "switch_model" else "there was none")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_clock_that_jumps(table: Table, every: EveryHost, name: str) -> None:
    """Set up a year ahead and broken off there; what is done afterwards has the time of today."""
    provider = every.providers[name]
    prepare(every, provider, "site")
    later = {"ansible_python_interpreter": "/opt/python-later"}
    tasks = every.changing("site", settings(provider, **later))
    prepare(every, provider, "site")
    every.broken_off(provider, "site", settings(provider, **later), MODULE, list(tasks)[-1], 0)
    converges(every, "site", settings(provider), f"site, {name}, {CLOCK}", False)
    table.row(f"site, {name}", CLOCK, 1, "there was none")
