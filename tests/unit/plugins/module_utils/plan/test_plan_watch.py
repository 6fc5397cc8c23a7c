# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch in the plan: it asks for what the role's module would write, and refuses what that would refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import UnitState
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import watch
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.choice import Choice
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.steps import Context
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch.compare import Host
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_watch

Make = Callable[..., Any]
TOLD = {"checksum": "0" * 64, "host": "lab1"}


@pytest.fixture
def context(make_host: Make, make_settings: Make, tmp_path: Path) -> Make:
    """Return a function that gives the context of a plan with these settings."""

    def of(**variables: Any) -> Context:
        machine = Machine(root=tmp_path, environ={"PATH": "/usr/bin"})
        settings = make_settings(watch_enabled=True, **variables)
        return Context(machine, find_account(), make_host(), settings, Choice("custom", "", "endpoint"), watch=TOLD)

    return of


def test_a_host_without_systemd_is_refused(context: Make) -> None:
    at = context()
    watch.compare_watch(at)
    assert ([one.code for one in at.refusals], at.steps) == (["systemd_missing"], [])


def test_a_host_without_the_watch_gets_all_of_it(
    context: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Systemd:
        def show(self, unit: str) -> UnitState:
            return UnitState(unit, False, "inactive", 0, {}, [], [], False, False, "")

    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3.11").touch()
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    monkeypatch.setattr(Host, "of", lambda machine: Host(machine, Systemd()))
    at = context(watch_close_proxy=True)
    watch.compare_watch(at)
    found = [(one.component, one.action, Path(one.after or "").name) for one in at.steps]
    assert found[:2] == [("watch", "write", "nemoclaw-watch.json"), ("watch", "write", "watch.pyz")]
    assert found[-2:] == [("watch", "start", "nemoclaw-watch.timer"), ("watch", "start", "nemoclaw-watch-close.path")]
    assert at.refusals == []


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, {}),
        (
            {"watch_interval": 30, "watch_timeout": 9, "watch_proof": False, "watch_proof_interval": 7},
            {"interval": 30, "timeout": 9, "proof": False, "proof_interval": 7},
        ),
        ({"watch_close_proxy": True, "watch_textfile": "/srv/t"}, {"close_proxy": True, "textfile": "/srv/t"}),
        ({"nemoclaw_route_path": "/srv/r", "proxy_token_path": "/srv/t"}, {"path": "/srv/r", "token_path": "/srv/t"}),
        (
            {"endpoint_ca_path": "/srv/ca", "endpoint_validate_certs": False},
            {"ca_path": "/srv/ca", "validate_certs": False},
        ),
        (
            {"watch_ca_path": "/srv/own", "endpoint_ca_path": "/srv/ca", "watch_validate_certs": False},
            {"ca_path": "/srv/own", "validate_certs": False},
        ),
        ({"watch_token_path": "/srv/own", "proxy_token_path": "/srv/t"}, {"token_path": "/srv/own"}),
        ({"watch_route_path": "/srv/own", "nemoclaw_route_path": "/srv/r"}, {"path": "/srv/own"}),
        ({"watch_user": "daemon"}, {"user": "daemon"}),
    ],
)
def test_the_plan_and_the_module_want_the_same(
    context: Make, variables: dict[str, Any], options: dict[str, Any]
) -> None:
    """C(options): what the role gives to its module for these variables."""
    at = context(**variables)
    defaults = {name: one.get("default") for name, one in inference_watch.ARGUMENT_SPEC.items()}
    params = {**defaults, "user": at.account.name, "host": "lab1", **options}
    assert watch.watch_settings(at) == inference_watch.Watch(params, Host(at.machine))._settings()
    assert watch.watch_settings(replace(at, watch={**TOLD, "host": "lab2"})).host == "lab2"
