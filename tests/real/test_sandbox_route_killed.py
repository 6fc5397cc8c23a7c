# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transaction of sandbox_route, killed after each thing that it changes: another run makes it whole.

The end proof is a stand-in here, which looks up what the gateway would send a sandbox to; test_sandbox_route.py has the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nemoclaw_double
import openshell_parts
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import gateway_route, proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from killed import break_off, break_off_uninstall, killed
from route_host import PROVIDER, Host, Wanted

RELEASE = "0.0.83"
OLD = Wanted("http://127.0.0.1:8001/v1", "key-of-the-old", "old")
NEW = Wanted("http://127.0.0.1:8002/v1", "key-of-the-new", "new")
# The same model elsewhere, so that the route says nothing of which it is.
MOVED = Wanted("http://127.0.0.1:8003/v1", "key-of-the-moved", "old")
SWITCHED = Wanted("http://127.0.0.1:8004", "key-of-the-other", "old", provider="anthropicCompatible")
BROKEN = Wanted("http://127.0.0.1:9/v1", "key-of-nothing", "broken")


def answer(wanted: Wanted) -> tuple[str, str, str]:
    return wanted.route["base_url_sandbox"], wanted.key, wanted.model


@pytest.fixture(scope="module")
def server(openshell_home: Path) -> Iterator[openshell_parts.Gateway]:
    with openshell_parts.serving(RELEASE, openshell_home) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch, server: openshell_parts.Gateway) -> None:
    """Prove by what the gateway would send a sandbox to."""

    def prove(_cli: OpenShell, sandbox: str, desired: proof.Desired, _report: Any) -> None:
        known = server.known()
        route = known["routes"]["inference.local"]
        address = next(iter(known["providers"][route[0]]["config"].values()))
        if route[1] != desired.model or ":9/" in address:
            raise Failure("sandbox_upstream_down", f"{sandbox} got no answer from {address}. Correct it.")

    monkeypatch.setattr(proof, "prove", prove)
    monkeypatch.setattr(gateway_route, "SETTLE_S", 0)


@pytest.mark.parametrize("wanted", [MOVED, SWITCHED], ids=["address", "provider"])
def test_another_route(tmp_path: Path, server: openshell_parts.Gateway, wanted: Wanted) -> None:
    def make(number: int) -> Host:
        host = Host(tmp_path / str(number), server)
        host.add_sandbox("my-assistant")
        host.give(OLD, sandbox="my-assistant")
        assert host.answer() == answer(OLD)
        return host

    for host in break_off(make, wanted):
        assert host.answer() in (answer(OLD), answer(wanted)), "one of the two answers, whenever it is killed"
        recorded = host.recorded()["model"], host.recorded()["base_url_sandbox"]
        if recorded == (OLD.model, OLD.route["base_url_sandbox"]):
            assert host.provider()["credentials"] == {"COMPATIBLE_API_KEY": OLD.key}, (
                "the key that nobody could give back"
            )
            # What the killed run had not proved is not what the next one goes back to.
            with pytest.raises(Failure, match=f"old by {PROVIDER} again|previous route stays"):
                host.give(BROKEN)
            assert host.answer() == answer(OLD)
            assert host.notes() == []
        host.give(wanted)
        assert host.answer() == answer(wanted)
        assert host.recorded()["base_url_sandbox"] == wanted.route["base_url_sandbox"]
        assert not any(name.endswith("-next") for name in host.server.known()["providers"])
        assert host.notes() == []
        before = host.state()
        assert not host.give(wanted)["changed"]
        assert host.state() == before


def test_a_first_route_with_its_sandbox(tmp_path: Path, server: openshell_parts.Gateway) -> None:
    for host in break_off(lambda number: Host(tmp_path / str(number), server), NEW, sandbox="my-assistant"):
        host.give(NEW, sandbox="my-assistant")
        assert (host.answer(), host.recorded()["sandbox"], host.notes()) == (answer(NEW), "my-assistant", [])
        assert not host.give(NEW, sandbox="my-assistant")["changed"]


def test_an_uninstall(tmp_path: Path, server: openshell_parts.Gateway) -> None:
    """Of a run that was killed between what it staged and its record."""

    def make(number: int) -> Host:
        host = Host(tmp_path / str(number), server)
        host.give(OLD, sandbox="my-assistant")
        assert killed(lambda: host.give(SWITCHED), 4)
        return host

    for host in break_off_uninstall(make):
        assert host.server.known()["providers"] == {}, "this release deletes no route"


def test_with_nemoclaw(tmp_path: Path, server: openshell_parts.Gateway) -> None:
    double = nemoclaw_double.install(tmp_path / "double")

    def make(number: int) -> Host:
        host = Host(tmp_path / str(number), server, f"{double.program.parent}:")
        host.give(OLD, "nemoclaw", accepted=True)
        assert host.answer() == answer(OLD)
        return host

    for host in break_off(make, NEW, backend="nemoclaw", accepted=True):
        assert host.answer() in (answer(OLD), answer(NEW))
        host.give(NEW, "nemoclaw", accepted=True)
        assert (host.answer(), host.notes()) == (answer(NEW), [])
        assert not host.give(NEW, "nemoclaw", accepted=True)["changed"]
