# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What came of a playbook on one host, as one dictionary: the contract of the results table, its JSON, and whoever decides by them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils.status.states import FINE
from .plan import become_remedy, why_not_become

# Playbooks that begin with a contact instead of a plan.
UNPLANNED = frozenset(("status", "rotate_token", "uninstall", "unload"))
# Those that only look: what they find is no failure of a run, and none is forgotten because of them.
_LOOKING = frozenset(("plan", "status"))
# Those after which another playbook's failure may still hold.
_PARTIAL = frozenset(("rotate_token", "unload"))

UNREACHABLE = "unreachable"
BECOME_FAILED = "become_failed"
# The playbook was imported with a condition that this host does not meet.
SKIPPED = "skipped"
# A rollout's as well: no wave has reached the host.
UNTOUCHED = "untouched"
# "returned" is a rollout's: the host failed, and its previous route is in force.
BAD = frozenset(("refused", "failed", "returned", "unhealthy", UNREACHABLE))

_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
# What a sentence of our messages begins with that says what to do. One that begins with a condition ("Where ...", "If ...", "To ...") is
# the second advice wherever there is another one.
_REMEDIES = re.compile(
    r"Did you mean|(?:Accept|Add|Ask|Boot|Build|Call|Change|Check|Choose|Convert|Copy|Correct|Create|Delete|Detach|Disable|Enable|Exclude|"
    r"Find|Fix|Free|Give|Have|Install|Let|Limit|Look|Lower|Make|Mount|Name|Open|Prove|Put|Quit|Raise|Read|Register|Remove|Repair|Replace|"
    r"Restart|Restore|Run|Set|Shorten|Start|Stop|Switch|Take|Try|Unload|Unset|Update|Upgrade|Use|Wait|Write)\b"
)
# Sentences at the end of a message that say what is, and not what to do.
_NO_REMEDY = ("Nothing was changed.", "Nothing is changed on this host until that is fixed.")


def began_with(playbook: str) -> str:
    """Return the variable that tells what a host began with: its plan, its contact, or what was collected of it."""
    if playbook == "collect":
        return "inference_collected"
    return "nemoclaw_begun" if playbook in UNPLANNED else "inference_plan"


def outcome(
    playbook: str,
    *,
    started: float,
    ended: float,
    plan: Mapping[str, Any] | None = None,
    failure: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    changed: bool = False,
    is_done: bool = True,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Return the outcome.

    Args:
        playbook: Its name, without the collection's.
        started: When the host's work began, in seconds since the epoch.
        ended: When it ended.
        plan: The result of inference_plan, for a playbook that has one.
        failure: C(code) and C(message) of what stopped the work, C(unreachable) where the host did not answer, and C(refused) where
            nothing was begun.
        status: The result of inference_status at the end.
        route: The recorded route, where no plan tells it.
        changed: Whether a playbook without a plan changed the host.
        is_done: Whether the plan was carried out, or is all there is so far.
        check_mode: Whether nothing was to be changed.

    """
    choice = (plan or {}).get("choice") or {}
    steps = [one["id"] for one in (plan or {}).get("steps") or []]
    known = (status or {}).get("route") or (plan or {}).get("route") or route or {}
    found: dict[str, Any] = {
        "playbook": playbook,
        "state": "",
        "provider": choice.get("provider") or known.get("provider"),
        "model": (
            known.get("model") if known.get("provider") == choice.get("provider", known.get("provider")) else None
        )
        or choice.get("model"),
        "steps": [],
        "seconds": round(max(ended - started, 0.0), 1),
        "code": None,
        "message": None,
        "remedy": None,
        "changed": False,
        "started": started,
    }
    if plan and playbook == "plan":
        found["steady"] = plan["steady"]
    wrong = failure or _refusal(plan) or _unhealthy(status)
    if wrong:
        # A route that does not work is an answer of status, and the failure of a set-up.
        state = "unhealthy" if failure is None and playbook == "status" else "failed"
        if wrong.get("unreachable"):
            state = UNREACHABLE
        elif wrong.get("refused"):
            state = "refused"
        message = str(wrong["message"])
        found.update(state=state, code=wrong["code"], message=message, remedy=remedy_of(wrong.get("first") or message))
    elif playbook == "status":
        found["state"] = "healthy"
    elif not is_done:
        found.update(state="converged" if not steps else "planned", steps=steps)
    elif playbook in UNPLANNED:
        state = "removed" if playbook == "uninstall" else "changed" if changed else "unchanged"
        found.update(
            state="checked" if check_mode else state, changed=(changed or state == "removed") and not check_mode
        )
    else:
        work = [one["id"] for one in (plan or {}).get("steps") or [] if one["action"] != "verify"]
        state = "checked" if check_mode and work else "changed" if work else "converged"
        found.update(state=state, steps=steps, changed=state == "changed")
    return found


def _refusal(plan: Mapping[str, Any] | None) -> dict[str, Any] | None:
    refusals = (plan or {}).get("refusals") or []
    if not refusals:
        return None
    messages = list(dict.fromkeys(one["message"] for one in refusals))
    return {
        "code": refusals[0]["code"],
        "message": " ".join([*messages, "Nothing was changed."]),
        "first": messages[0],
        "refused": True,
    }


def _unhealthy(status: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if status and status.get("unreachable"):
        # A rollout goes on with a host that is lost, so that its wave is judged.
        return gone_failure()
    if not status or status.get("healthy", True):
        return None
    first = next(one for one in status["checks"] if one["state"] not in FINE)
    return {"code": first["code"] or "unhealthy", "message": first["detail"]}


def failure_of(result: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Return code and message of a task that failed: our modules' own, else the task's name and what it said."""
    own = result.get("failure")
    if isinstance(own, Mapping) and own.get("code"):
        return {"code": str(own["code"]), "message": str(own.get("message") or result.get("msg"))}
    name = str(task.get("name") or task.get("action") or "a task")
    if task.get("no_log"):
        said = "its result is not shown, since it may contain a secret. Run it again, and check the host."
    else:
        said = " ".join(str(result.get("msg") or result.get("stderr") or "it gave no reason").split())
        if refused := why_not_become(result):
            return {"code": BECOME_FAILED, "message": f"{name}: {refused.rstrip('.')}. {become_remedy(refused)}"}
    message = f"{name}: {said}"
    if result.get("unreachable"):
        return {"code": "host_unreachable", "message": message, "unreachable": True}
    return {"code": "task_failed", "message": message}


def unreachable_failure(said: str) -> dict[str, Any]:
    """Return the failure of a host that could not be connected to."""
    reason = " ".join(said.split()).rstrip(".:")
    remedy = "Start the host, or correct its address and user in the inventory."
    if "waiting for privilege escalation prompt" in reason:  # ssh.py of Ansible
        remedy = "It is up, but sudo did not answer in time: check its load and name service, or raise ANSIBLE_TIMEOUT."
    return {
        "code": "host_unreachable",
        "message": f"Tried to connect to this host, and got: {reason}. {remedy}",
        "unreachable": True,
    }


def gone_failure() -> dict[str, Any]:
    """Return the failure of a host that answered at first, and then no more."""
    return {
        "code": "host_unreachable",
        "message": "The host answered at first but stopped answering during the run; see above for what was tried. Check whether it is up, "
        "then run the playbook again.",
        "unreachable": True,
    }


def left_out_failure() -> dict[str, Any]:
    """Return the failure of a host on which nothing of the playbook has begun."""
    return {
        "code": "host_unreachable",
        "message": "This playbook did not start on this host: an earlier play lost the host or failed there, or --start-at-task skipped "
        "it. Check the output above, then run the playbook again.",
        "unreachable": True,
    }


def remedy_of(message: str) -> str:
    """Return the first sentence that says what to do: the one after what was tried and what came back; the last one where none is known."""
    sentences = [one for one in _SENTENCES.split(message.strip()) if one not in _NO_REMEDY]
    known = [one for one in sentences[1:] if _REMEDIES.match(one)]
    return next(iter([*known, *sentences[-1:]]), message)


def pick(playbook: str, begin: Mapping[str, Any], end: Mapping[str, Any], is_there: bool) -> dict[str, Any]:
    """Return the outcome of a host from what its tasks registered.

    Args:
        playbook: Which one ends.
        begin: The plan, or the contact.
        end: What the last task returned; it may be of a playbook that ran before in the same run.
        is_there: Whether the host still answers.

    """
    last = end.get("outcome") or {}
    if last.get("playbook") == playbook and last.get("started") == begin.get("started", last.get("started")):
        return dict(last)
    first = begin.get("outcome")
    if first and first["playbook"] == playbook and (is_there or first["state"] == UNREACHABLE):
        return dict(first)
    started = begin.get("started", 0.0)
    failure = gone_failure() if begin else left_out_failure()
    if begin.get("failed"):
        failure = failure_of(begin, {"name": "Begin"})
    plan = begin if playbook not in UNPLANNED and "choice" in begin else None
    return outcome(playbook, started=started, ended=started, plan=plan, failure=failure, route=begin.get("route"))


def passed_over(playbook: str) -> dict[str, Any]:
    """Return the outcome of a host that does not meet the condition with which somebody imported the playbook."""
    message = "The condition of the import excludes this host."
    return {**outcome(playbook, started=0.0, ended=0.0, is_done=False), "state": SKIPPED, "message": message}


def remember(
    result: Mapping[str, Any],
    last: Mapping[str, Any] | None,
    ask: Callable[[dict[str, Any]], dict[str, Any]],
) -> str | None:
    """Have the host keep a failure, or forget an older one after a success; return what to say where it cannot.

    Args:
        result: The outcome.
        last: What the host remembers.
        ask: Runs the module inference_outcome with these options.

    """
    if result["state"] in BAD and result["state"] != UNREACHABLE and result["playbook"] not in _LOOKING:
        words = {"state": "failed", "code": result["code"], "reason": result["message"]}
    elif forgets(result, last):
        words = {"state": "done"}
    else:
        return None
    try:
        said = ask({**words, "playbook": result["playbook"]})
    except AnsibleError as error:
        said = {"failed": True, "msg": str(error)}
    # It must not hide what came before it.
    return (
        f"The last failure could not be saved or removed on this host: {said.get('msg')}"
        if said.get("failed")
        else None
    )


def forgets(result: Mapping[str, Any], last: Mapping[str, Any] | None) -> bool:
    """Tell whether the outcome ends what the host remembers: a success, of a part alone where that part had failed."""
    if not last or result["state"] in BAD or result["playbook"] in _LOOKING:
        return False
    return result["playbook"] not in _PARTIAL or last.get("playbook") == result["playbook"]
