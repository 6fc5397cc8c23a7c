# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout on the controller: its waves, when it stops, where it goes on, and who may work on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.filter import rollouts
from ansible_collections.nemoclaw.local_inference.plugins.lookup import asked_first
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.settings import SETTINGS
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import rollout, rollout_state, rollout_waves

TODO = {"state": "untouched", "code": "", "message": ""}
DONE = {"state": "converged", "code": "", "message": ""}
DOWN = {"state": "unreachable", "code": "", "message": "No route to host."}
REFUSED = {"state": "refused", "code": "provider_unknown", "message": "There is no provider olama."}
LEAK = {"state": "failed", "code": "tool_call_leaked", "message": "The call is in the text."}
CHANGED = {"state": "changed", "code": "", "message": ""}
PAGE = rollout_waves.read_waves([1, "10%", "50%", "100%"])
NONE = rollout_waves.read_limit(0)


def fleet(count: int, **other: dict[str, str]) -> dict[str, dict[str, str]]:
    return {f"h{number}": other.get(f"h{number}", TODO) for number in range(1, count + 1)}


def marks(hosts: Any, mark: str = "m") -> dict[str, str]:
    return dict.fromkeys(hosts, mark)


def start(hosts: dict[str, dict[str, str]], before: Any = None, mark: str = "m", **options: Any) -> rollout.Start:
    options.setdefault("limit", NONE)
    return rollout.begin(hosts, marks(hosts, mark), before, PAGE, **options)


@pytest.mark.parametrize(
    ("waves", "count", "sizes"),
    [
        ([1, "10%", "50%", "100%"], 100, [1, 9, 40, 50]),
        ([1, "10%", "50%", "100%"], 1000, [1, 99, 400, 500]),
        ([1, "10%", "50%", "100%"], 3, [1, 1, 1]),
        ([1, "10%", "50%", "100%"], 2, [1, 1]),
        ([1, "10%", "50%", "100%"], 1, [1]),
        ([1, "10%", "50%", "100%"], 0, []),
        (["100%"], 7, [7]),
        (["100 %"], 7, [7]),
        ([5, "10%", "100%"], 20, [5, 15]),
        ([30, "100%"], 7, [7]),
        (["12.5%", "100%"], 16, [2, 14]),
        ("1,10%,100%", 50, [1, 4, 45]),
        ("[1, 100%]", 4, [1, 3]),
        (["1", "2", "100%"], 4, [1, 1, 2]),
    ],
)
def test_waves_are_cumulative_shares_that_reach_everybody(waves: Any, count: int, sizes: list[int]) -> None:
    hosts = [f"h{number}" for number in range(count)]
    found = rollout_waves.cut(hosts, rollout_waves.read_waves(waves))
    assert [len(wave) for wave in found] == sizes
    assert [host for wave in found for host in wave] == hosts


@pytest.mark.parametrize(
    ("waves", "said"),
    [
        ([], "not a list such as"),
        (None, "not a list such as"),
        ({"a": 1}, "not a list such as"),
        ([0, "100%"], "from 1"),
        (["0%", "100%"], "from 1"),
        ([1, "101%"], "from 1"),
        ([-1, "100%"], "from 1"),
        ([1, "ten", "100%"], "'ten'"),
        ([True, "100%"], "True"),
        ([1.5, "100%"], "1.5"),
        ([1, "10%"], "ends with 10%"),
        ([1, 5], "ends with 5"),
        ([1, "50%", "10%", "100%"], "10% after 50%"),
        ([5, 1, "100%"], "1 after 5"),
        (["100%", "100%"], "100% after 100%"),
    ],
)
def test_waves_that_make_no_sense_are_refused_in_a_sentence(waves: Any, said: str) -> None:
    with pytest.raises(Failure) as caught:
        rollout_waves.read_waves(waves)
    assert caught.value.code == "rollout_settings"
    assert said in caught.value.message
    assert "rollout_waves" in caught.value.message


@pytest.mark.parametrize(
    ("limit", "failed", "reached", "stops"),
    [
        (0, 0, 10, False),
        (0, 1, 10, True),
        ("3", 3, 10, False),
        (3, 4, 100, True),
        ("20%", 2, 10, False),
        ("20%", 3, 10, True),
        ("0%", 1, 100, True),
        ("0%", 0, 100, False),
        ("100%", 10, 10, False),
    ],
)
def test_the_stop_rule_is_a_count_or_a_share_of_those_reached(
    limit: Any, failed: int, reached: int, stops: bool
) -> None:
    assert rollout_waves.is_beyond(rollout_waves.read_limit(limit), failed, reached) is stops


@pytest.mark.parametrize("limit", ["", None, -1, "-1", "200%", "some", [1], True])
def test_a_limit_that_makes_no_sense_is_refused(limit: Any) -> None:
    with pytest.raises(Failure, match="rollout_max_failures"):
        rollout_waves.read_limit(limit)


@pytest.mark.parametrize(("value", "seconds"), [(0, 0), ("60", 60), (-1, None), ("a minute", None), (True, None)])
def test_a_time(value: Any, seconds: int | None) -> None:
    if seconds is not None:
        assert rollout_waves.read_seconds("rollout_soak", value) == seconds
        return
    with pytest.raises(Failure, match="rollout_soak"):
        rollout_waves.read_seconds("rollout_soak", value)


def test_only_hosts_that_are_to_be_changed_and_can_be_are_in_a_wave() -> None:
    begun = start(fleet(12, h1=DONE, h2=DOWN))
    assert [len(wave) for wave in begun.waves] == [1, 4, 5]
    assert begun.waves[0] == ["h3"]
    assert "Not in a wave, unreachable: h2" in begun.lines
    assert begun.state.stopped == ""


def test_named_canaries_are_the_first_wave() -> None:
    begun = start(fleet(6), canaries=["h5", "h3"])
    assert begun.waves[0] == ["h5", "h3"]
    assert sorted(host for wave in begun.waves for host in wave) == sorted(fleet(6))


@pytest.mark.parametrize(
    ("outcome", "code"), [(DOWN, "rollout_canary_down"), (REFUSED, "rollout_canary_down"), (None, "rollout_settings")]
)
def test_a_named_canary_that_says_nothing_keeps_the_rollout_from_beginning(outcome: Any, code: str) -> None:
    hosts = fleet(3, **({"h2": outcome} if outcome else {}))
    with pytest.raises(Failure, match="Nothing was changed") as caught:
        start(hosts, canaries=["h2" if outcome else "h9"])
    assert caught.value.code == code


def test_an_unnamed_canary_that_is_down_leaves_its_place_to_the_next() -> None:
    assert start(fleet(3, h1=DOWN)).waves[0] == ["h2"]


def test_hosts_that_are_refused_count_before_the_first_wave() -> None:
    refused = fleet(4, h2=REFUSED)
    assert "1 host cannot be changed (h2)" in start(refused).state.stopped
    assert start(refused, limit=rollout_waves.read_limit("25%")).state.stopped == ""
    assert start(fleet(4, h2=DOWN)).state.stopped == "", "hosts that are down are listed, not fatal"


def test_a_wave_that_fails_as_a_whole_stops_whatever_the_limit() -> None:
    state = start(fleet(100)).state
    rollout.judge(state, {"h1": LEAK}, rollout_waves.read_limit("50"), "the proof")
    assert state.stopped == "1 host of wave 1 failed the proof, which is all of it: tool_call_leaked on h1"
    assert "99 hosts untouched" in rollout.summary(state)[0]


def test_failures_add_up_over_the_waves() -> None:
    state, limit = start(fleet(40)).state, rollout_waves.read_limit(1)
    rollout.judge(state, {"h1": CHANGED}, limit, "the proof")
    assert state.stopped == ""
    rollout.judge(state, {host: LEAK if host == "h2" else CHANGED for host in state.waves[1]}, limit, "the proof")
    assert state.stopped == "", state.waves
    rollout.judge(
        state, {host: DOWN if host == "h9" else CHANGED for host in state.waves[2]}, limit, "the second proof"
    )
    assert "2 hosts failed by the end of wave 3" in state.stopped
    assert "unreachable on h9" in state.stopped


def test_a_rollout_goes_on_with_its_own_waves() -> None:
    state = start(fleet(20, h4=DOWN)).state
    assert [len(wave) for wave in state.waves] == [1, 1, 8, 9]
    before = rollout_state.State(**json.loads(json.dumps(vars(state))))
    rollout.judge(before, {"h1": CHANGED}, NONE, "the proof")
    again = start(fleet(20, h1=DONE), before)
    assert (again.resumed, again.state.id) == (True, state.id)
    assert again.waves[0] == ["h2"], "its second wave, and no second canary"
    assert again.waves[-1][-1] == "h4", "who was down then comes last"
    assert sum(len(wave) for wave in again.waves) == 19


def test_a_host_whose_download_hung_is_tried_again_in_its_own_wave() -> None:
    before = start(fleet(4)).state
    rollout.judge(before, {"h1": CHANGED}, NONE, "the proof")
    rollout.judge(before, {"h2": {"state": "failed", "code": "download_stalled", "message": ""}}, NONE, "the proof")
    assert "download_stalled on h2" in before.stopped
    again = start(fleet(4, h1=DONE), before)
    assert (again.resumed, again.state.stopped, again.waves) == (True, "", [["h2"], ["h3", "h4"]])


@pytest.mark.parametrize("change", ["mark", "finished", "none"])
def test_another_wish_or_one_that_is_over_begins_anew(change: str) -> None:
    before = start(fleet(5)).state
    before.finished = "2026-11-30T10:00:00Z" if change == "finished" else ""
    again = start(fleet(5), before, mark="other" if change == "mark" else "m")
    assert (again.resumed, again.state.id == before.id) == ((True, True) if change == "none" else (False, False))


def test_a_new_token_is_remembered_and_not_made_twice() -> None:
    before = start(fleet(4)).state
    rollout.judge(before, {"h1": CHANGED}, NONE, "the proof")
    assert start(fleet(4), before, by_memory=True).waves[0] == ["h2"]
    assert start(fleet(4), before).waves[0] == ["h1"], "a plan knows better than a memory"


def test_a_run_of_some_hosts_forgets_nothing_of_the_others() -> None:
    before = start(fleet(4)).state
    rollout.judge(before, {"h1": CHANGED}, NONE, "the proof")
    rollout.judge(before, {"h2": LEAK}, NONE, "the proof")
    some = {"h3": TODO}
    found = start(some, before, by_memory=True, others=["h1", "h2"]).state
    assert {host: one["state"] for host, one in found.hosts.items()} == {
        "h1": "changed",
        "h2": "failed",
        "h3": "untouched",
    }, "h4 is no longer in the inventory"
    rollout.judge(found, {"h3": CHANGED}, NONE, "the proof", ["h3"])
    assert (found.stopped, rollout.is_over(found)) == ("", False), "h2 failed in another run, and is to be done yet"
    again = start(fleet(4), found, by_memory=True)
    assert (again.resumed, again.waves) == (True, [["h2"], ["h4"]]), "nobody gets a second token"


def test_a_host_that_was_down_in_between_neither_counts_nor_begins_another_rollout() -> None:
    before = start(fleet(4)).state
    rollout.judge(before, {"h1": CHANGED}, NONE, "the proof")
    hosts = fleet(4, h1=DONE, h4=DOWN)
    second = rollout.begin(hosts, {**marks(hosts), "h4": ""}, before, PAGE, NONE)
    rollout.judge(second.state, {"h2": CHANGED}, NONE, "the proof", [host for wave in second.waves for host in wave])
    assert (second.resumed, second.state.stopped) == (True, "")
    third = start(fleet(4, h1=DONE, h2=DONE), second.state)
    assert (third.resumed, third.state.id) == (True, before.id)


def test_a_host_that_stays_down_is_named_and_can_be_left_out() -> None:
    """Else no rollout of a token would ever be over, and the next one would make no new token on any host."""
    first = start(fleet(3, h3=DOWN), by_memory=True)
    rollout.judge(first.state, {"h1": CHANGED, "h2": CHANGED}, NONE, "the proof")
    said = rollout.summary(first.state, ["h1", "h2", "h3"])[0]
    assert not rollout.is_over(first.state, ["h1", "h2", "h3"])
    assert "1 host not as they are to be (h3)" in said
    assert said.endswith("end this rollout without: --limit 'all,!h3'.")
    second = start(fleet(2), first.state, by_memory=True, others=["h3"])
    assert (second.resumed, second.waves) == (True, []), "nobody gets a second token"
    assert rollout.is_over(second.state, ["h1", "h2"])
    assert (
        "Without h3, which did not answer: run this with --limit h3" in rollout.summary(second.state, ["h1", "h2"])[0]
    )
    assert not rollout.is_over(start(fleet(3, h3=REFUSED), limit=rollout_waves.read_limit(1)).state, ["h1", "h2"])


def test_a_canary_that_failed_and_is_away_leaves_its_place_to_the_next() -> None:
    before = start(fleet(40)).state
    rollout.judge(before, {"h1": LEAK}, NONE, "the proof")
    assert start(fleet(40), before).waves[0] == ["h1"]
    assert start(fleet(40, h1=DOWN), before).waves[0] == ["h2"], (
        "and not the second wave, which nobody tried anything for"
    )
    assert start({"h2": TODO, "h3": TODO}, before, others=["h1"]).waves[0] == ["h2"]


@pytest.mark.parametrize(
    ("pattern", "hosts", "unknown"),
    [
        ("gpu-9", [], "gpu-9"),
        ("lab:spares", [], "spares"),
        (["empty", "lbas"], [], "lbas"),
        # Ansible warns, and the others are reached.
        ("gpu-1,gpu-9", ["gpu-1"], ""),
        ("empty", [], ""),
        ("gpu-1:&empty", [], ""),
        ("all:!gpu-1", [], ""),
        ("rack*", [], ""),
        ("localhost", ["localhost"], ""),
        ("localhost", [], ""),
    ],
)
def test_a_name_that_the_inventory_does_not_have_ends_with_an_error(
    pattern: Any, hosts: list[str], unknown: str
) -> None:
    groups = {"all": ["gpu-1"], "ungrouped": [], "lab": [], "empty": []}
    if unknown:
        with pytest.raises(Failure, match=f"no host and no group {unknown}, so nothing was done"):
            rollout.refuse_nobody(pattern, hosts, groups)
    else:
        rollout.refuse_nobody(pattern, hosts, groups)


@pytest.mark.parametrize("name", ["a", "w*", "!x", "&x", "~x", "x[1]", "x,y", "x?"])
def test_a_host_that_ansible_would_read_as_others_is_refused(name: str) -> None:
    groups = {"a": ["b", "a"], "b": ["b"]}
    rollout.refuse_names(["b", "c", "gpu-1.lab", "192.0.2.1", "2001:db8::1", "Mia's", "größe"], groups)
    with pytest.raises(Failure, match="Nothing was changed"):
        rollout.refuse_names(["c", name], groups)


ENDED = {"playbook": "rollout", "state": "refused", "code": "gpu_missing", "message": "No GPU.", "started": 5.0}


@pytest.mark.parametrize(
    ("begun", "is_there", "state", "code"),
    [
        ({}, False, "unreachable", "host_unreachable"),
        ({"started": 5.0, "proceed": False, "outcome": ENDED}, True, "refused", "gpu_missing"),
        (
            {"failed": True, "failure": {"code": "python_missing", "message": "No Python."}},
            True,
            "failed",
            "python_missing",
        ),
        ({"started": 5.0, "proceed": True, "outcome": {**ENDED, "state": "planned"}}, True, "untouched", "gpu_missing"),
        ({"started": 5.0, "proceed": True, "outcome": None, "route": None}, True, "untouched", None),
    ],
)
def test_what_a_plan_or_a_contact_says_of_a_host(begun: Any, is_there: bool, state: str, code: str | None) -> None:
    outcome = rollout.first_outcome("rollout", begun, is_there)
    assert (outcome["state"], outcome["code"]) == (state, code)


@pytest.mark.parametrize(("has_proxy", "state"), [(True, "untouched"), (False, "unchanged")])
def test_a_new_token_is_for_hosts_with_an_auth_proxy(has_proxy: bool, state: str) -> None:
    """A host without one would be a canary that says nothing."""
    begun = {"started": 5.0, "proceed": True, "outcome": None, "route": None, "auth_proxy": has_proxy}
    outcome = rollout.first_outcome("rotate_token", begun)
    assert (outcome["state"], outcome["changed"]) == (state, False)
    assert start({"h1": outcome, "h2": TODO}).waves[0] == (["h1"] if has_proxy else ["h2"])


def test_a_host_that_is_no_longer_as_it_was_made_says_what_differs() -> None:
    steps = [
        {"component": "model", "action": "load", "reason": "the model is not in memory"},
        {"component": "container", "action": "start", "reason": "install-vllm serves a: start nemoclaw-vllm"},
        {
            "component": "proxy",
            "action": "reload",
            "reason": "Asked the auth proxy, and got nothing. Start the server.",
        },
        {"component": "route", "action": "record", "reason": "the route is recorded once the server is proved"},
    ]
    rollout.refuse_drift({"steady": True, "steps": steps[:1]})
    with pytest.raises(Failure) as caught:
        rollout.refuse_drift({"steady": False, "steps": steps})
    assert caught.value.code == "host_drifted"
    what = "install-vllm serves a: start nemoclaw-vllm; Asked the auth proxy, and got nothing"
    assert f"as it was made: {what}. Look what changes it" in caught.value.message
    with pytest.raises(Failure, match="as it was made: the route is recorded once"):
        rollout.refuse_drift({"steady": False, "steps": steps[3:]})


ROUTE = {
    "provider": "custom",
    "model": "a",
    "api": "openai-completions",
    "base_url_host": "http://127.0.0.1:8000/v1",
    "base_url_sandbox": "http://host.openshell.internal:8000/v1",
    "timeout": 180,
    "context_window": 32768,
}
WELL = {"healthy": True, "route": {**ROUTE, "context_window": 4096}, "checks": []}


@pytest.mark.parametrize(
    ("before", "status", "plan", "state", "said"),
    [
        (ROUTE, WELL, {}, "returned", "The previous route, a at http://127.0.0.1:8000/v1, is in force and answers."),
        ({}, {}, {}, "failed", "This host had no route before."),
        ({}, WELL, {}, "failed", "This host had no route before."),
        (ROUTE, {**WELL, "route": {**ROUTE, "model": "b"}}, {}, "failed", "could not be restored: it was not asked"),
        (
            ROUTE,
            {"healthy": False, "route": ROUTE, "checks": [{"state": "unreachable", "detail": "Nobody answers."}]},
            {},
            "failed",
            "could not be restored: Nobody answers.",
        ),
        (ROUTE, {"unreachable": True}, {}, "unreachable", "stopped answering during the run"),
        (ROUTE, {"healthy": False}, {"outcome": {"state": "unreachable"}}, "unreachable", "stopped answering"),
    ],
)
def test_what_became_of_a_host_that_failed(before: Any, status: Any, plan: Any, state: str, said: str) -> None:
    failed = {
        "playbook": "rollout",
        "state": "failed",
        "code": "timeout",
        "message": "It took too long.",
        "started": 5.0,
    }
    found = rollout.last_outcome(failed, before, status, {"started": 9.0, **plan})
    away = state == "unreachable"
    assert (found["state"], found["code"], found["started"]) == (state, "host_unreachable" if away else "timeout", 9.0)
    assert found["message"].startswith("It took too long. ") or away
    assert found.get("model") == ("a" if state == "returned" else None), "which one the agents have"
    assert said in found["message"]


def test_a_host_is_brought_back_where_its_previous_route_is_not_in_force() -> None:
    assert not rollouts.rollout_returns(WELL, ROUTE)
    assert not rollouts.rollout_returns({"healthy": False}, {}), "there is nowhere to return to"
    assert rollouts.rollout_returns({**WELL, "healthy": False}, ROUTE)
    ours = {**WELL, "route": {**ROUTE, "model": "b"}}
    assert rollouts.rollout_returns(ours, ROUTE)
    assert rollouts.rollout_returns(ours, ROUTE, ours["route"])


def test_what_another_controller_has_set_up_since_is_left_alone() -> None:
    """It was told that its work is done."""
    made, theirs = {**ROUTE, "model": "b"}, {**WELL, "route": {**ROUTE, "model": "c"}}
    assert not rollouts.rollout_returns(theirs, ROUTE, made)
    assert rollouts.rollout_returns({**theirs, "healthy": False}, ROUTE, made)
    assert rollouts.rollout_returns({**theirs, "route": None}, ROUTE, made)
    failed = {
        "playbook": "rollout",
        "state": "failed",
        "code": "host_drifted",
        "message": "It differs.",
        "started": 5.0,
    }
    for before in (ROUTE, {}):
        found = rollout.last_outcome(failed, before, theirs, {"started": 9.0}, made)
        assert (found["state"], found["code"]) == ("failed", "host_drifted")
        assert "somebody else has set up c at http://127.0.0.1:8000/v1, which answers" in found["message"]


def test_the_settings_of_a_route_lead_to_it_again() -> None:
    found = rollout.route_settings(ROUTE)
    assert set(found) <= set(SETTINGS), "the plan reads them by these names"
    assert (found["preflight_provider"], found["endpoint_url"], found["ollama_model"]) == (
        "custom",
        ROUTE["base_url_host"],
        "a",
    )
    assert rollout.route_settings({**ROUTE, "api": "anthropic-messages"})["endpoint_preferred_api"] == ""


@pytest.mark.parametrize(
    ("plan", "limit", "at_once"),
    [
        ({"download_bytes": 5, "download_unknown": False}, 2, 2),
        ({"download_bytes": 0, "download_unknown": True}, "2", 2),
        ({"download_bytes": 0, "download_unknown": False}, 2, 0),
        ({}, 2, 0),
        ({"download_bytes": 5}, 0, 0),
    ],
)
def test_only_hosts_that_download_wait_for_each_other(plan: Any, limit: Any, at_once: int) -> None:
    assert rollouts.downloads_at_once(plan, limit) == at_once


@pytest.mark.parametrize("limit", [-1, "two", None, True])
def test_a_number_of_downloads_that_makes_no_sense_is_refused(limit: Any) -> None:
    with pytest.raises(Failure, match="rollout_downloads"):
        rollout_waves.read_downloads(limit)


def test_the_file_is_private_and_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "rollout.json"
    state = start(fleet(3)).state
    with rollout_state.locked(path):
        assert rollout_state.load(path) is None
        rollout_state.save(path, state)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert rollout_state.load(path) == state
    assert sorted(one.name for one in path.parent.iterdir()) == ["rollout.json", "rollout.json.lock"]


WHOLE = '{"version": 1, "id": "a", "started": "b", "waves": '


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"version": 9}', '{"version": 1, "more": 1}'),
        *(f"{WHOLE}{rest}" for rest in ("null}", "[[]]}", '[], "hosts": null}', '[], "hosts": {"h1": {}}}')),
        *(f'{WHOLE}[], "by": {by}}}' for by in ("{}", '{"pid": 1}', "5")),
    ],
)
def test_a_file_that_is_no_state_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rollout.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(Failure, match="Remove the file") as caught:
        rollout_state.load(path)
    assert caught.value.code == "rollout_state_unreadable"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(Failure, match="rollout_state_path"), rollout_state.locked(tmp_path / "state" / "rollout.json"):
        pass


def test_a_process_that_has_ended_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        by = rollout_state.myself(process.pid)
        assert rollout_state.is_alive(by)
        assert not rollout_state.is_alive({**by, "process_started": "1"}), "another process by the same number"
        assert not rollout_state.is_alive({**by, "boot": "another"}), "before the controller was started again"
        assert rollout_state.is_alive({**by, "host": "elsewhere", "pid": 1}), "nobody can tell from here"
        assert rollout_state.is_alive({**by, "machine": "of that name", "boot": "another"}), "nor of another laptop"
        assert rollout_state.is_alive({**by, "pid_namespace": "pid:[1]", "process_started": "1"}), "nor of a container"
        older = {name: value for name, value in by.items() if name not in ("machine", "pid_namespace")}
        assert rollout_state.is_alive(older), "as an earlier release kept it"
        process.kill()
    assert not rollout_state.is_alive(by)


def test_a_second_rollout_names_the_first(tmp_path: Path) -> None:
    by = rollout_state.myself(os.getpid())
    message = rollout_state.refuse_second(by, tmp_path / "r.json").message
    assert all(str(by[name]) in message for name in ("user", "host", "pid", "since"))


def test_a_controller_with_another_file_is_named_by_the_hosts() -> None:
    by = rollout_state.myself(os.getpid())
    with pytest.raises(Failure, match=r"A rollout of 2 of these hosts runs already \(h2\)") as caught:
        rollout.refuse_claimed({"h1": {"by": None}, "h2": {"by": by}, "h3": {"by": by}, "h4": {}})
    assert caught.value.code == "rollout_running"
    assert all(str(by[name]) in caught.value.message for name in ("user", "host", "pid", "since"))
    assert "rollout_take_over=true" in caught.value.message
    rollout.refuse_claimed({"h1": {"by": None}, "h2": {}})


def test_a_host_that_is_lost_when_it_is_claimed_is_in_no_wave() -> None:
    lost = {"code": "host_unreachable", "message": "No route. Start the host."}
    found = rollout.claimed_outcome(TODO, {"claimed": False, "lost": lost})
    assert (found["state"], found["code"], found["remedy"]) == ("unreachable", "host_unreachable", "Start the host.")
    assert rollout.claimed_outcome(TODO, {"claimed": True, "lost": None}) == TODO
    assert rollout.claimed_outcome(DONE, {}) == DONE


def test_a_run_that_did_not_come_to_its_end_may_have_left_claims() -> None:
    state = start({"h1": TODO, "h2": DONE, "h3": DOWN}).state
    assert rollout.left_by(None) == rollout.left_by(state) == []
    state.by = rollout_state.myself(os.getpid())
    assert rollout.left_by(state) == ["h1", "h2"]


def test_each_inventory_has_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = {"HOME": "/home/mia"}
    first = rollout_state.default_path(["lab.yml"], home)
    assert str(first).startswith("/home/mia/.local/state/nemoclaw/rollout-lab.yml-")
    assert rollout_state.default_path([str(tmp_path / "lab.yml")], home) == first
    assert rollout_state.default_path(["other.yml"], home) != first
    assert rollout_state.default_path(["a,b,"], home).name.startswith("rollout-hosts-")
    assert str(rollout_state.default_path([], {**home, "XDG_STATE_HOME": "/x"})).startswith("/x/nemoclaw/")


ASKED, PASSED_OVER = {"proceed": True}, {"skipped": True}


@pytest.mark.parametrize(
    ("begun", "first"),
    [
        ({"a": ASKED, "b": PASSED_OVER}, []),
        # --limit leaves out the first.
        ({"a": {}, "b": ASKED, "c": PASSED_OVER}, []),
        # Of those that meet the condition, one may fail before the play.
        ({"a": PASSED_OVER, "b": ASKED, "c": PASSED_OVER, "d": ASKED}, ["b", "d"]),
        ({"a": PASSED_OVER, "b": PASSED_OVER}, []),
        ({"a": PASSED_OVER, "web": ASKED}, []),
        ({"a": {}}, []),
    ],
)
def test_a_play_that_does_something_once_begins_with_a_host_that_meets_the_condition(
    begun: dict[str, Any], first: list[str]
) -> None:
    assert asked_first.asked_first(begun, {"all": [*begun], "web": ["a", "web"]}) == first
