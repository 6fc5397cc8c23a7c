# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan: what the acting modules say they would do, in one shape and one order."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import consulted, steps

ROUTE = {"model": "m", "base_url_host": "http://127.0.0.1:1/v1", "timeout": 180}
CONFIG, UNIT = "/etc/c.conf", "/etc/u.service"


def shown(found: list[steps.Step]) -> list[tuple[str, int | None, str]]:
    return [(one.id, one.download_bytes, one.interrupts) for one in found]


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({"changed": False}, []),
        (
            {
                "changed": True,
                "actions": ["install o.tgz as Ollama 2 in /usr/local", "write /etc/systemd/system/ollama.service"],
                "size": 9,
                "version": "2",
                "previous_version": None,
            },
            [("ollama.install", 9, "nothing"), ("ollama.write", 0, "nothing")],
        ),
        (
            {
                "changed": True,
                "actions": ["install o.tgz as Ollama 2 in /usr/local", "restart ollama.service"],
                "size": None,
                "version": "2",
                "previous_version": "1",
                "daemon_restarted": True,
            },
            [("ollama.install", None, "the model"), ("ollama.restart", 0, "the model")],
        ),
        (
            {"changed": True, "actions": ["run install.sh as Ollama 2"], "size": 5, "version": "2"},
            [("ollama.install", 5, "nothing")],
        ),
    ],
)
def test_an_installation(result: dict[str, Any], wanted: list[Any]) -> None:
    assert shown(consulted.install_steps(result)) == wanted


@pytest.mark.parametrize(
    ("actions", "before", "exposed", "wanted", "reason"),
    [
        ([], "", False, [], ""),
        (
            ["write /d.conf", "start ollama.service"],
            "",
            False,
            [("service.write", 0, "nothing"), ("service.start", 0, "nothing")],
            "missing",
        ),
        (["write /d.conf"], "other", False, [("service.write", 0, "nothing")], "not as it should be"),
        (["restart ollama.service"], "", True, [("service.restart", 0, "the model")], "open to the network"),
        (["enable ollama.service"], "", False, [("service.enable", 0, "nothing")], "not as it should be"),
        (["stop process 7"], "", True, [("service.stop", 0, "the model")], "open to the network"),
    ],
)
def test_the_service(actions: list[str], before: str, exposed: bool, wanted: list[Any], reason: str) -> None:
    found = steps.service_steps(actions, before, "after", exposed)
    assert shown(found) == wanted
    assert reason in "".join(one.reason for one in found)


@pytest.mark.parametrize(
    ("result", "wanted", "drift"),
    [
        ({"actions": [], "model": "m"}, [], False),
        ({"actions": ["load m"], "model": "m", "before": "present", "size": 5}, [("model.load", 0, "nothing")], False),
        (
            {
                "actions": ["pull m, 5 B", "load m"],
                "model": "m",
                "before": "absent",
                "size": 5,
                "choice_reason": "it fits",
            },
            [("model.pull", 5, "nothing"), ("model.load", 0, "nothing")],
            True,
        ),
        (
            {"actions": ["pull m, of unknown size"], "model": "m", "before": "absent", "size": None},
            [("model.pull", None, "nothing")],
            True,
        ),
    ],
)
def test_the_model(result: dict[str, Any], wanted: list[Any], drift: bool) -> None:
    found = steps.model_steps(result)
    assert shown(found) == wanted
    assert steps.is_drift(found) == drift


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({"actions": [], "phase": "ready", "container": {"name": "c"}}, []),
        ({"actions": [], "phase": "planned", "container": {"name": "c"}}, [("container.verify", 0, "nothing")]),
        (
            {
                "actions": ["pull i", "download m", "create c", "keep c"],
                "phase": "planned",
                "container": {"name": "c"},
                "image_bytes": 7,
            },
            [
                ("container.pull", 7, "nothing"),
                ("container.download", None, "nothing"),
                ("container.create", 0, "nothing"),
                ("container.keep", 0, "nothing"),
            ],
        ),
        (
            {"actions": ["replace c (image)"], "phase": "planned", "container": {"name": "c"}},
            [("container.replace", 0, "the model")],
        ),
        (
            {"actions": ["stop other", "start c"], "phase": "planned", "container": None},
            [("container.stop", 0, "the model"), ("container.start", 0, "nothing")],
        ),
    ],
)
def test_a_container(result: dict[str, Any], wanted: list[Any]) -> None:
    assert shown(consulted.container_steps(result, "it is wanted")) == wanted


@pytest.mark.parametrize(
    ("reasons", "found", "wanted"),
    [
        ([], [], []),
        ([f"{CONFIG} is not as it should be"], [{"path": CONFIG, "content": "a"}], [("proxy.write", 0, "nothing")]),
        ([f"{UNIT} is not as it should be"], [{"path": UNIT, "content": "a"}], [("proxy.write", 0, "new streams")]),
        ([f"{UNIT} is not as it should be"], [{"path": UNIT, "content": None}], [("proxy.write", 0, "nothing")]),
        (["u.service does not run, or is not enabled at boot"], [], [("proxy.start", 0, "new streams")]),
        (["u.service was changed but not reloaded"], [], [("proxy.restart", 0, "new streams")]),
        (["Asked the auth proxy at http://a, but it is silent."], [], [("proxy.reload", 0, "nothing")]),
    ],
)
def test_the_proxy(reasons: list[str], found: list[dict[str, Any]], wanted: list[Any]) -> None:
    assert shown(steps.proxy_steps({"reasons": reasons, "found": found}, CONFIG, UNIT)) == wanted


@pytest.mark.parametrize(
    ("found", "is_closed", "problem", "wanted", "reason"),
    [
        (ROUTE, True, None, [], ""),
        (ROUTE, False, None, ["route.close"], "0600"),
        (None, False, None, ["route.record"], "no route is recorded"),
        (None, False, "it is not JSON", ["route.record"], "cannot be read (it is not JSON)"),
        ({**ROUTE, "timeout": 20}, True, None, ["route.record"], "timeout is 20, not 180"),
        ({**ROUTE, "model": "x"}, False, None, ["route.record"], "model is x, not m"),
    ],
)
def test_the_record(found: Any, is_closed: bool, problem: str | None, wanted: list[str], reason: str) -> None:
    made = steps.route_steps(found, ROUTE, is_closed, problem)
    assert [one.id for one in made] == wanted
    assert reason in "".join(one.reason for one in made)


def test_the_order_is_that_of_site_and_each_step_has_a_name_of_its_own() -> None:
    made = [
        steps.step("route", "record", "r"),
        steps.step("packages", "install", "a"),
        steps.step("packages", "install", "b"),
        steps.step("model", "pull", "m"),
    ]
    assert [one.id for one in steps.in_order(made)] == [
        "packages.install",
        "packages.install.2",
        "model.pull",
        "route.record",
    ]


def test_what_could_not_be_looked_at_is_a_step_and_no_drift() -> None:
    found = steps.verify("windows", "nobody knows")
    assert [one.id for one in found] == ["windows.verify"]
    assert not steps.is_drift(found)
