# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Where the settings come from: what inventory and environment say, read on the controller alone; a name that nothing reads is refused.

The variable of the inventory wins, then the environment of the controller, then the default. The lookup plugin C(setting) and the plan read
by these functions, and nothing else knows the names of the environment's variables.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..failure import Failure
from .settings import AUTO, SETTINGS, WIZARD, Setting


def find(
    one: Setting,
    inventory: Mapping[str, Any],
    environment: Mapping[str, str],
    evaluate: Callable[[str, Any], Any],
) -> tuple[Any, str]:
    """Return what was set, and the variable that it was set with; no name if none was.

    Args:
        one: The setting.
        inventory: The variables of the host, templates not evaluated.
        environment: The environment of the controller.
        evaluate: Returns the value of a variable, called once, and for those alone that are set and looked at.

    """
    for name in dict.fromkeys((one.name, one.wizard)):
        if name and name in inventory:
            value = evaluate(name, inventory[name])
            if not _is_empty(value):
                return value, name
    return next(
        ((environment[name], name) for name in one.environment if not _is_empty(environment.get(name))), (None, "")
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


_PREFIX = "nemoclaw_"

# What the playbooks and the modules read or set beside these. ``nemoclaw_host`` and ``nemoclaw_route`` are facts, which Ansible may
# put among the variables.
OTHER_NAMES = (
    "nemoclaw_hosts",
    "nemoclaw_drop_previous_token",
    "nemoclaw_extra_names",
    "nemoclaw_host",
    "nemoclaw_route",
    "nemoclaw_strategy",
    "nemoclaw_results_path",
    # What the playbooks register.
    "nemoclaw_begun",
    "nemoclaw_ended",
    "nemoclaw_results",
)
KNOWN_NAMES = frozenset((*OTHER_NAMES, *(name for name in WIZARD if name.startswith(_PREFIX))))

# Variables by which a role acts as another user, or keeps another record, than the plan looks for.
APART = tuple(
    f"{role}_{name}" for role in ("ollama", "endpoint", "vllm", "nim", "sandbox") for name in ("user", "route_path")
)


def collect(
    inventory: Mapping[str, Any], environment: Mapping[str, str], evaluate: Callable[[str, Any], Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that were set, and the variable that each was set with.

    Args:
        inventory: The variables of the host, templates not evaluated.
        environment: The environment of the controller.
        evaluate: Returns the value of a variable, called once, and for those alone that are set and looked at.

    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    known: dict[str, Any] = {}

    def evaluate_once(name: str, raw: Any) -> Any:
        # One variable is that of several settings, and a template of a host costs the controller half a millisecond.
        if name not in known:
            known[name] = evaluate(name, raw)
        return known[name]

    for one in SETTINGS.values():
        value, origin = find(one, inventory, environment, evaluate_once)
        if origin:
            values[one.name], origins[one.name] = value, origin
    return values, origins


def prefer(provider: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    """Take a playbook's own provider where nobody names one, nor a server of one's own."""
    if provider != AUTO and "preflight_provider" not in values and "endpoint_url" not in values:
        values["preflight_provider"], origins["preflight_provider"] = provider, "the playbook"


# What is looked at: others' names begin otherwise, and NeMo's are less like ours than a slip is.
_ABOUT, _SLIP = "nem", 0.9


def unknown_names(names: Iterable[str], extra: Iterable[str] = ()) -> list[Failure]:
    """Return a refusal for each name that nothing reads, with the nearest that something does.

    Args:
        names: The variables of a host.
        extra: Those that the user's own roles read, or another collection; C(*) stands for anything.

    """
    found = []
    patterns = list(extra)
    # Without the part that most have in common, which would make any two of them look alike. Keys and variables of roles do not have it.
    near_names = sorted({*SETTINGS, *WIZARD, *KNOWN_NAMES}, key=lambda one: one.startswith(_PREFIX))
    by_own_part = {one[len(_PREFIX) :] if one.startswith(_PREFIX) else one: one for one in near_names}
    for name in sorted(names):
        lower = name.lower().replace("-", "_")
        if name not in KNOWN_NAMES and lower.startswith(_ABOUT) and not any(fnmatchcase(name, one) for one in patterns):
            # The name of the environment in the inventory, or a slip in the part that all have in common.
            slip = difflib.get_close_matches(lower, KNOWN_NAMES, n=1, cutoff=_SLIP)
            is_ours = lower.startswith(_PREFIX)
            if not is_ours and not slip:
                continue
            own = is_ours and lower not in KNOWN_NAMES
            near = difflib.get_close_matches(lower[len(_PREFIX) :], by_own_part, n=1) if own else []
            nearest = by_own_part[near[0]] if near else next(iter(slip), None)
            meant = f" Did you mean {nearest}?" if nearest else ""
            found.append(
                Failure(
                    "setting_unknown",
                    f"The inventory sets {name}, but nothing in this collection reads it.{meant} Correct the name, or remove it. If "
                    f"something else reads it, list it in nemoclaw_extra_names.",
                    variable=name,
                    nearest=nearest,
                )
            )
    return found
