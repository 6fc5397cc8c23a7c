# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a rollout does next: which hosts it reaches in which wave, whether it goes on after one, and what is said in the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.constants import LOCALHOST
from ansible.inventory.manager import split_host_pattern

from ..module_utils.failure import Failure
from ..module_utils.plan.steps import NO_DRIFT
from ..module_utils.status.states import FINE
from . import rollout_state as states
from .outcome import (
    BAD,
    UNREACHABLE,
    UNTOUCHED,
    gone_failure,
    outcome,
    pick,
    remedy_of,
)
from .rollout_state import State
from .rollout_waves import Amount, cut, in_order, is_beyond

# docs/fleet.md says what each state means.
OUT_OF_REACH = UNREACHABLE
DONE = ("changed", "unchanged", "converged")
_NOT_YET = "No wave has reached it."
# What tells one route from another: the rest follows from it, or is measured.
_ROUTE = ("provider", "model", "api", "base_url_host", "base_url_sandbox", "timeout")
_ROLES = ("endpoint", "ollama", "vllm", "nim")
# Signs of Ansible's patterns: an exclusion, an intersection, a regular expression, or a wildcard.
_PATTERN = re.compile(r"^[!&~]|[*?\[]")


@dataclass
class Start:
    """A rollout that begins or goes on: its state, and the hosts that are still to be changed, by wave."""

    state: State
    waves: list[list[str]]
    resumed: bool
    outcomes: Mapping[str, Mapping[str, Any]]
    lines: list[str] = field(default_factory=list)


def first_outcome(playbook: str, begun: Mapping[str, Any], is_there: bool = True) -> dict[str, Any]:
    """Return what is true of a host by its plan, or by its look before a rotation, before anything is changed."""
    if begun.get("proceed") and playbook == "rotate_token" and not begun.get("auth_proxy"):
        one = outcome(playbook, started=begun["started"], ended=begun["started"], route=begun.get("route"))
        return {**one, "message": "This host has no auth proxy, and so no token of one."}
    if begun.get("proceed"):
        known = begun.get("outcome") or outcome(
            playbook, started=begun["started"], ended=begun["started"], route=begun.get("route")
        )
        return {**known, "state": UNTOUCHED, "message": _NOT_YET, "changed": False}
    return pick(playbook, begun, {}, is_there)


def claimed_outcome(one: Mapping[str, Any], claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is true of a host after it was claimed: one that no longer answered then is in no wave."""
    lost = claim.get("lost")
    if not lost:
        return dict(one)
    return {
        **one,
        "state": OUT_OF_REACH,
        "code": lost["code"],
        "message": lost["message"],
        "remedy": remedy_of(lost["message"]),
    }


def refuse_claimed(claims: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to begin while another run, of another controller's file, is to change some of the hosts."""
    others = {host: claim["by"] for host, claim in claims.items() if claim.get("by")}
    if others:
        raise states.refuse_claimed(others)


def left_by(before: State | None) -> list[str]:
    """Return the hosts of a run that did not come to its end, which may have its claim."""
    return [host for host, one in before.hosts.items() if one["state"] != OUT_OF_REACH] if before and before.by else []


def last_outcome(
    failure: Mapping[str, Any],
    before: Mapping[str, Any],
    status: Mapping[str, Any],
    plan: Mapping[str, Any],
    made: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what became of a host that failed in its wave: whether its previous route is in force, and answers.

    Args:
        failure: What stopped it, as an outcome.
        before: The route that was recorded before the wave, empty for none.
        status: The status after the way back.
        plan: The plan that was made last, of the wave or of the way back.
        made: The route that the wave had recorded, empty where it failed before that.

    """
    found = {**failure, "started": plan.get("started", failure["started"])}
    if status.get("unreachable") or (plan.get("outcome") or {}).get("state") == OUT_OF_REACH:
        # What failed says only that something was missing by then.
        gone = gone_failure()
        return {
            **found,
            "state": OUT_OF_REACH,
            "code": gone["code"],
            "message": gone["message"],
            "remedy": remedy_of(gone["message"]),
        }
    if is_anothers(status, before, made or {}):
        route = f"{status['route']['model']} at {status['route']['base_url_host']}"
        return {
            **found,
            "message": f"{failure['message']} Since then somebody else has set up {route}, which answers, and is left as it is.",
        }
    if not before:
        return {**found, "message": f"{failure['message']} This host had no route before."}
    previous = f"{before['model']} at {before['base_url_host']}"
    if status.get("healthy") and is_same_route(status.get("route"), before):
        return {
            **found,
            "state": "returned",
            "provider": before["provider"],
            "model": before["model"],
            "message": f"{failure['message']} The previous route, {previous}, is in force and answers.",
        }
    said = next((one["detail"] for one in status.get("checks") or [] if one["state"] not in FINE), "it was not asked")
    return {
        **found,
        "message": f"{failure['message']} The previous route, {previous}, could not be restored: {said.rstrip('.')}. "
        "Look at this host before the next run.",
    }


def refuse_drift(plan: Mapping[str, Any]) -> None:
    """Refuse a host that is no longer as its wave made it: whatever changes it, would change the others as well.

    Args:
        plan: Of the second proof.

    """
    if plan["steady"]:
        return
    found = [one for one in plan["steps"] if one["action"] not in NO_DRIFT]
    # The record waits for whatever else there is.
    found = [one for one in found if one["component"] != "route"] or found
    differs = [one["reason"].split(". ")[0].rstrip(".") for one in found]
    raise Failure(
        "host_drifted",
        f"Proved the host once more, and it is no longer as it was made: {'; '.join(dict.fromkeys(differs))}. "
        "Look what changes it: a server that ended by itself, a timer, or somebody who works on this host.",
    )


def is_same_route(route: Mapping[str, Any] | None, before: Mapping[str, Any]) -> bool:
    """Tell whether the sandboxes get the same model from the same server."""
    return bool(route) and all((route or {}).get(name) == before.get(name) for name in _ROUTE)


def is_anothers(status: Mapping[str, Any], before: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Tell whether a route works that neither this wave made nor was there before: who set it up would not hear of its end."""
    is_ours = any(is_same_route(status.get("route"), one) for one in (made, before) if one)
    return bool(made and status.get("route") and status.get("healthy")) and not is_ours


def route_settings(route: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of the roles with which a host gets this route again."""
    # The API of Anthropic follows from the provider, and is no choice.
    api = "" if route["api"] == "anthropic-messages" else route["api"]
    return {
        "preflight_provider": route["provider"],
        "endpoint_url": route["base_url_host"],
        "endpoint_preferred_api": api,
        "endpoint_sandbox_url": route["base_url_sandbox"],
        **{f"{role}_model": route["model"] for role in _ROLES},
        **{f"{role}_timeout": route["timeout"] for role in _ROLES},
    }


def is_plain_name(host: str, groups: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether Ansible chooses this host, and no other one, by its name."""
    return list(groups.get(host, [host])) == [host] and split_host_pattern(host) == [host] and not _PATTERN.search(host)


def refuse_nobody(pattern: Any, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse a name that the inventory does not have: Ansible warns, does nothing, and ends without an error. A group may be empty."""
    words = [
        str(word) for one in ([pattern] if isinstance(pattern, str) else pattern) for word in split_host_pattern(one)
    ]
    # Ansible knows these without an inventory (C.LOCALHOST).
    known = {*groups, *groups.get("all", ()), *LOCALHOST}
    unknown = [word for word in words if word not in known and not _PATTERN.search(word)]
    if unknown and not hosts:
        raise Failure(
            "rollout_settings",
            f"The inventory has no host and no group {_names(unknown)}, so nothing was done. Correct nemoclaw_hosts: ansible-inventory "
            "--graph lists both.",
        )


def refuse_names(hosts: Iterable[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse hosts that Ansible cannot choose by their name alone, since the next play names those that it reaches."""
    wrong = [host for host in hosts if not is_plain_name(host, groups)]
    if wrong:
        raise Failure(
            "rollout_settings",
            f"The inventory has {_names(wrong)} as a name of a host, which Ansible reads as a group or a pattern, so that others would be "
            "reached in its place. Nothing was changed. Give the host or the group another name.",
        )


def begin(
    outcomes: Mapping[str, Mapping[str, Any]],
    marks: Mapping[str, str],
    before: State | None,
    waves: Sequence[Amount],
    limit: Amount,
    canaries: Sequence[str] = (),
    by_memory: bool = False,
    others: Iterable[str] = (),
) -> Start:
    """Return the waves of a rollout, in which no host is that has nothing to change, or that cannot be changed.

    A rollout that was stopped or interrupted goes on where the hosts are to be what they were to be then: its waves stay as they were, and
    hosts that it did not know come last.

    Args:
        outcomes: What is true of each host before anything is changed.
        marks: What each host is to be, as a fingerprint; empty where nobody knows.
        before: What is remembered of an earlier run.
        waves: As the user wrote them.
        limit: How many hosts may fail.
        canaries: Hosts that come first.
        by_memory: Whether a host is done because an earlier run says so, and not because the look finds it so, as with a new token.
        others: Hosts of the inventory that are not in this run.

    """
    _check_canaries(outcomes, canaries)
    resumed = before is not None and _is_same(before, marks) and _has_canary(before, outcomes)
    if before is not None and resumed and by_memory:
        outcomes = {host: _remembered(one, before.hosts.get(host, {})) for host, one in outcomes.items()}
    waiting = [host for host in in_order(outcomes, canaries) if outcomes[host]["state"] == UNTOUCHED]
    if before is not None and resumed:
        found = [[host for host in wave if host in waiting] for wave in before.waves]
        known = {host for wave in before.waves for host in wave}
        late = [host for host in waiting if host not in known]
        state = State(before.id, before.started, [*before.waves[:-1], [*before.waves[-1], *late]])
        # Of hosts that this run leaves out, the next one is to know.
        state.hosts.update({host: one for host, one in before.hosts.items() if host in others})
        found[-1] += late
    else:
        found = cut(waiting, waves, len([host for host in waiting if host in canaries]))
        state = states.new(found)
    for host, one in outcomes.items():
        # Of a host that is down nobody knows what it is to be; it is what it was to be.
        known_mark = before.hosts.get(host, {}).get("fingerprint", "") if before is not None and resumed else ""
        state.hosts[host] = {**_kept(one), "fingerprint": marks.get(host) or known_mark, "at": states.now()}
    bad = [host for host, one in outcomes.items() if one["state"] in ("refused", "failed")]
    if waiting and is_beyond(limit, len(bad), len(outcomes)):
        state.stopped = f"{_count(bad)} cannot be changed ({_names(bad)}), and rollout_max_failures allows {limit}"
    start = Start(state, [wave for wave in found if wave], resumed, outcomes)
    start.lines = _lines(start)
    return start


def judge(
    state: State,
    outcomes: Mapping[str, Mapping[str, Any]],
    limit: Amount,
    proof: str,
    hosts: Iterable[str] | None = None,
) -> None:
    """Take what became of the hosts of a wave into the state, and stop the rollout where too many have failed.

    A wave in which every host failed stops it whatever the limit: what fails on every canary fails on the fleet.

    Args:
        state: Of the rollout.
        outcomes: What became of each host of the wave.
        limit: How many may fail.
        proof: What they went through.
        hosts: Those that this run changes, all of the waves by default: one that is down since an earlier run counts for nothing.

    """
    for host, one in outcomes.items():
        state.hosts[host] = {**state.hosts.get(host, {}), **_kept(one), "at": states.now()}
    failed = [host for host, one in outcomes.items() if one["state"] in BAD]
    known = [host for host in (hosts or [host for wave in state.waves for host in wave]) if host in state.hosts]
    so_far = [host for host in known if state.hosts[host]["state"] in BAD]
    reached = [host for host in known if state.hosts[host]["state"] != UNTOUCHED]
    number = next((index for index, wave in enumerate(state.waves, 1) if set(wave) & set(outcomes)), 0)
    if failed and len(failed) == len(outcomes):
        state.stopped = (
            f"{_count(failed)} of wave {number} failed {proof}, which is all of it: {_reasons(failed, outcomes)}"
        )
    elif is_beyond(limit, len(so_far), len(reached)):
        state.stopped = (
            f"{_count(so_far)} failed by the end of wave {number}, and rollout_max_failures allows {limit}: "
            f"{_reasons(failed or so_far, state.hosts)}"
        )


def summary(state: State, hosts: Iterable[str] | None = None) -> list[str]:
    """Return how a rollout ended, for the line below the table of its hosts.

    Args:
        state: Of the rollout.
        hosts: Those of this run, all by default.

    """
    left = [host for host, one in state.hosts.items() if one["state"] == UNTOUCHED]
    if state.stopped:
        rest = f" {_count(left)} untouched." if left else ""
        return [f"Stopped: {state.stopped}.{rest} Fix the cause, then run the same command to resume."]
    without = _left_out(state, hosts)
    bad = [host for host, one in state.hosts.items() if one["state"] in BAD and host not in without]
    if bad or left:
        away = [host for host in bad if state.hosts[host]["state"] == OUT_OF_REACH]
        found = f"Ended with {_count([*bad, *left])} not as they are to be ({_names([*bad, *left])}): the same command tries them again"
        if not away:
            return [f"{found}."]
        limit = ",".join(["all", *(f"!{host}" for host in away)])
        return [
            f"{found}, and leaves the others as they are. Where {_names(away)} stays away, end this rollout without: --limit '{limit}'."
        ]
    if without:
        return [
            f"Every host of this run is as it is to be. Without {_names(without)}, which did not answer: run this with --limit "
            f"{','.join(without)} once that is back."
        ]
    return ["Every host is as it is to be."]


def is_over(state: State, hosts: Iterable[str] | None = None) -> bool:
    """Tell whether every host is as it is to be, so that the next start is another rollout.

    One that stays down would keep it from ever ending, and a new token from ever being made: whoever leaves that host out, ends it without.
    """
    without = _left_out(state, hosts)
    return not state.stopped and all(one["state"] in DONE or host in without for host, one in state.hosts.items())


def _left_out(state: State, hosts: Iterable[str] | None) -> list[str]:
    """Return the hosts that did not answer in an earlier run, and that this one leaves out."""
    these = state.hosts if hosts is None else {*hosts}
    return [host for host, one in state.hosts.items() if host not in these and one["state"] == OUT_OF_REACH]


def _check_canaries(outcomes: Mapping[str, Mapping[str, Any]], canaries: Sequence[str]) -> None:
    """Refuse a canary that says nothing: the user chose it because it stands for the others."""
    unknown = [host for host in canaries if host not in outcomes]
    if unknown:
        raise Failure(
            "rollout_settings",
            f"rollout_canary names {_names(unknown)}, and this run has no such host. Nothing was changed. Name hosts of the inventory.",
        )
    down = [host for host in canaries if outcomes[host]["state"] in BAD]
    if down:
        one = outcomes[down[0]]
        raise Failure(
            "rollout_canary_down",
            f"The canary {down[0]} cannot be changed ({one['state']}): {one['message']} Nothing was changed on any host. Fix it, or "
            "name another one with rollout_canary.",
        )


def _kept(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file has of an outcome."""
    return {name: one.get(name) for name in ("state", "code", "message", "provider", "model")}


def _remembered(one: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the outcome of a host that an earlier run of the same rollout is done with."""
    done = one["state"] == UNTOUCHED and before.get("state") in DONE
    return (
        {**one, "state": "unchanged", "message": f"An earlier run of this rollout did it at {before['at']}."}
        if done
        else one
    )


def _is_same(before: State, marks: Mapping[str, str]) -> bool:
    """Tell whether the rollout is the one that is remembered, and not over."""
    known = [host for wave in before.waves for host in wave if marks.get(host) and host in before.hosts]
    return (
        bool(known)
        and not before.finished
        and all(marks[host] == before.hosts[host].get("fingerprint") for host in known)
    )


def _has_canary(before: State, outcomes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether the waves still begin with a host that stands for the others: one that did well, or that is to be tried now."""
    states_of = {host: one["state"] for host, one in {**before.hosts, **outcomes}.items()}
    done = any(states_of.get(host) in DONE for wave in before.waves for host in wave)
    return done or any(host in outcomes and states_of[host] == UNTOUCHED for host in before.waves[0])


def _lines(start: Start) -> list[str]:
    state = start.state
    found = [f"Rollout {state.id} {'resumes; it began' if start.resumed else 'begins'} at {state.started}."]
    for wave in start.waves:
        number = next(index for index, one in enumerate(state.waves, 1) if set(wave) & set(one))
        found.append(f"Wave {number}: {_count(wave)}, {_names(wave)}")
    for word in ("converged", "unchanged", "refused", "failed", OUT_OF_REACH):
        hosts = [host for host, one in start.outcomes.items() if one["state"] == word]
        if hosts:
            found.append(f"Not in a wave, {word}: {_names(hosts)}")
    return [*found, *([f"Stopped before the first wave: {state.stopped}."] if state.stopped else [])]


def _reasons(hosts: Iterable[str], outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return each reason once, with the hosts that gave it."""
    by_code: dict[str, list[str]] = {}
    for host in hosts:
        by_code.setdefault(str(outcomes[host].get("code") or outcomes[host]["state"]), []).append(host)
    return "; ".join(f"{code} on {_names(named)}" for code, named in by_code.items())


def _count(hosts: Sequence[str]) -> str:
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"


def _names(hosts: Sequence[str], most: int = 8) -> str:
    more = len(hosts) - most
    return ", ".join(hosts[:most]) + (f" and {more} more" if more > 0 else "")
