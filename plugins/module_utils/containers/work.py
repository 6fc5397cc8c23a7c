# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the modules for managed containers have in common: their options, checked, and the work as a job that can be watched."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Callable

from ..failure import Failure
from ..host.sockets import check_ports
from ..jobs.job import Job
from ..jobs.progress import Report

# Beyond it no clock of the engine's or of Python's counts, and nobody waits.
_LONGEST_S = 366 * 24 * 3600
# As the engine takes names.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,100}")


def check_options(name: str, instead_of: str, port: int, wait_timeout: float, stall_timeout: float) -> None:
    """Refuse what can be no container's name, no port and no limit; C(instead_of) may be empty.

    Raises:
        Failure: C(container_name_invalid), C(port_invalid), C(timeout_invalid).

    """
    for one in (name, *filter(None, [instead_of])):
        check_name(one)
    check_ports([port])
    if not all(0 < limit <= _LONGEST_S for limit in (wait_timeout, stall_timeout)):
        raise Failure(
            "timeout_invalid",
            f"The option wait_timeout is {wait_timeout} and stall_timeout {stall_timeout}: set both to a number of seconds above 0 and at "
            f"most a year (vllm_wait_timeout and vllm_stall_timeout, or those of nim, in the inventory).",
        )


def check_name(name: str) -> None:
    """Refuse what cannot be a container's name.

    Raises:
        Failure: C(container_name_invalid).

    """
    if not _NAME.fullmatch(name):
        raise Failure(
            "container_name_invalid",
            f"Read the container name {name!r}: a name may contain letters, digits, dots, dashes and underscores, and begins with a letter "
            f"or digit. Correct it.",
        )


# Options of how to watch, not of what is wanted.
_WATCHING = ("wait", "jobs_path")


def desired_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a module for its Desired: what is not given is an empty text, and the environment is text."""
    wanted: dict[str, Any] = {
        name: "" if value is None else value for name, value in params.items() if name not in _WATCHING
    }
    # What has the same name, or may share the GPUs, gives nothing up.
    if wanted["share_gpus"] or wanted["instead_of"] == wanted["name"]:
        wanted["instead_of"] = ""
    wanted["environment"] = {str(name): str(value) for name, value in wanted["environment"].items()}
    return wanted


def run(
    kind: str,
    desired: Any,
    secrets: tuple[str, ...],
    params: Mapping[str, Any],
    plan: Callable[[], dict[str, Any] | None],
    work: Callable[[Report], dict[str, Any]],
) -> dict[str, Any]:
    """Have the work done where there is any, look at it for as long as the options say, and return the result of the module.

    Args:
        kind: C(vllm) or C(nim).
        desired: The Desired, a dataclass; another one is other work.
        secrets: What of it must not lie in the job's files.
        params: Of the module: C(wait) and C(jobs_path).
        plan: Returns the result where nothing is to be done, else None; changes nothing.
        work: Does it.

    """
    job = Job(kind, desired.name, asdict(desired), f"Starting {desired.name}", secrets, params["jobs_path"])
    outcome = job.run(plan, work, params["wait"])
    result = outcome.as_result()
    if not outcome.finished:
        result["phase"] = result["progress"]["phase"]
    return result


def alone(kind: str, name: str, params: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """Have a container for the block: a worker that starts it is ended first, since it would undo the block.

    Raises:
        Failure: C(job_not_ended).

    """
    return Job(kind, name, {}, f"Starting {name}", (), params["jobs_path"]).alone()
