# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A transaction of sandbox_route in a process that is killed after each thing that it changes."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Iterator
from typing import Any, Callable, TypeVar

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw import inference, onboard
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes as openshell_changes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route import write
from route_host import Host, Wanted

_Made = TypeVar("_Made", bound=Host)
# What the CLI changes; all else only reads.
_CHANGES = (
    "provider create",
    "provider update",
    "provider delete",
    "provider profile import",
    "provider profile update",
    "provider profile delete",
    "inference set",
    "inference delete",
    "sandbox create",
    "sandbox provider attach",
    "sandbox provider detach",
)


def killed(run: Callable[[], Any], number: int) -> bool:
    """Run something in a process that is killed at the number-th point, and tell whether it came that far."""
    child = os.fork()
    if child:
        code = os.WEXITSTATUS(os.waitpid(child, 0)[1])
        assert code in (0, 9), "it failed by itself"
        return code == 9
    try:
        _kill_at(number)
        run()
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def _kill_at(number: int) -> None:
    """Have this process end after the number-th change, as by SIGKILL."""
    passed = 0

    def point() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            os._exit(9)

    def between(owner: Any, name: str, changes: Callable[..., bool] = lambda *_words: True) -> None:
        real = getattr(owner, name)

        def call(*words: Any, **options: Any) -> Any:
            if not changes(*words):
                return real(*words, **options)
            result = real(*words, **options)
            point()
            return result

        setattr(owner, name, call)

    between(OpenShell, "attempt", lambda _cli, *words: " ".join(words).startswith(_CHANGES))
    between(inference, "run_nemoclaw")
    between(onboard, "run_nemoclaw")
    between(write, "write_record")
    between(openshell_changes, "write_state")
    between(write.Journal, "write")
    between(write.Journal, "remove")


def break_off(
    make: Callable[[int], _Made], wanted: Wanted, points: range = range(1, 100), **options: Any
) -> Iterator[_Made]:
    """Give a host for each of the points at which a run can be killed, with what that run left behind."""
    for number in points:
        host = make(number)
        if not killed(functools.partial(host.give, wanted, **options), number):
            assert number > 5, "the run has to have changed something"
            return
        yield host
    raise AssertionError("the run does not end")


def break_off_uninstall(make: Callable[[int], _Made]) -> Iterator[_Made]:
    """Give a host for every third of the points at which an uninstall can be killed, with what a second one left behind."""
    for number in range(2, 100, 3):
        host = make(number)
        if not killed(host.remove, number):
            assert number > 3, "the run has to have changed something"
            return
        assert host.remove(check_mode=True)["actions"] == host.remove()["actions"]
        assert not host.remove()["changed"]
        yield host
    raise AssertionError("the run does not end")
