# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""One setting: where it comes from, and what it may hold.

The variable of the inventory wins, then the environment of the controller, then the default. The lookup plugin C(setting) and the plan read
by these functions, and nothing else knows the names of the environment's variables.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..failure import Failure
from ..route.providers import ALIASES, PROVIDERS
from ..route.route import SANDBOX_HOST

AUTO = "auto"
PROVIDER_NAMES = (AUTO, *PROVIDERS, *ALIASES)
APIS = ("openai-completions", "openai-responses")
# As Ansible reads a boolean.
_TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
_FALSE = ("n", "no", "off", "0", "false", "f", "0.0")
_PORTS = (1024, 65_535)


class TooSmall(ValueError):
    """A time limit that leaves no time."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: The variable of the role, by which the user may set it too; of the wizard, its own name.
        kind: C(str), C(int), C(bool), C(list), C(dict), or C(host) for the host of a URL.
        default: What it is where nobody sets it.
        wizard: The variable of the inventory that every role reads, empty for none.
        environment: Variables of the controller's environment, the first that is not empty counts.
        choices: What it may be, in any case; empty for anything.
        secret: Whether it may be shown nowhere.
        least: The smallest number that it may be.

    """

    name: str
    kind: str = "str"
    default: Any = ""
    wizard: str = ""
    environment: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    secret: bool = False
    least: int | None = None


def _wizard(name: str, kind: str = "str", default: Any = "", **more: Any) -> Setting:
    """Return a setting of NemoClaw's wizard: the variable of the inventory, and that of the environment of the same name."""
    more.setdefault("environment", (name.upper(),))
    return Setting(name, kind, default, name, **more)


_PROVIDER_KEY = "NEMOCLAW_PROVIDER_KEY"
# What every role reads, by the name that the lookup plugin takes. The name in upper case has no variable in the inventory.
WIZARD: dict[str, Setting] = {
    one.name: one
    for one in (
        _wizard("nemoclaw_provider", default=AUTO, choices=PROVIDER_NAMES),
        _wizard("nemoclaw_user"),
        _wizard("nemoclaw_route_path"),
        _wizard("nemoclaw_ollama_port", "int", 11434),
        _wizard("nemoclaw_ollama_proxy_port", "int", 11435),
        _wizard("nemoclaw_vllm_port", "int", 8000),
        _wizard("nemoclaw_model"),
        _wizard("nemoclaw_vllm_model"),
        _wizard("nemoclaw_endpoint_url"),
        _wizard("nemoclaw_preferred_api", default=APIS[0], choices=APIS),
        _wizard("nemoclaw_local_inference_timeout", "int", 180, least=1),
        _wizard("nemoclaw_local_inference_sandbox_host_url", "host", SANDBOX_HOST),
        _wizard("nemoclaw_require_tools", "bool", True),
        _wizard("nemoclaw_yes", "bool", False),
        _wizard("nemoclaw_experimental", "bool", False),
        _wizard("nemoclaw_make_room", "bool", True),
        _wizard("nemoclaw_ollama_install_mode", default="system", choices=("system", "user")),
        _wizard("nemoclaw_accept_third_party_software", "bool", False),
        _wizard("nemoclaw_sandbox_name"),
        _wizard("nemoclaw_sandbox_ready_timeout", "int", 180, least=1),
        _wizard("compatible_api_key", secret=True, environment=("COMPATIBLE_API_KEY", _PROVIDER_KEY)),
        _wizard(
            "compatible_anthropic_api_key", secret=True, environment=("COMPATIBLE_ANTHROPIC_API_KEY", _PROVIDER_KEY)
        ),
        _wizard("hf_token", secret=True, environment=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
        _wizard("ngc_api_key", secret=True, environment=("NGC_API_KEY", "NVIDIA_API_KEY", "NVIDIA_INFERENCE_API_KEY")),
        Setting("VLLM_API_KEY", secret=True, environment=("VLLM_API_KEY",)),
    )
}


def of_wizard(name: str, wizard: str, **more: Any) -> Setting:
    """Return the setting of a role that reads one of the wizard's."""
    return replace(WIZARD[wizard], name=name, **more)


def find(
    one: Setting,
    inventory: Mapping[str, Any],
    environment: Mapping[str, str],
    evaluate: Callable[[str, Any], Any],
) -> tuple[Any, str]:
    """Return what somebody set, and the name of the variable that it was set by; no name where nobody did.

    Args:
        one: The setting.
        inventory: The variables of the host, templates not evaluated.
        environment: The environment of the controller.
        evaluate: Returns the value of a variable, called for those alone that are set and looked at.

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


def refuse(one: Setting, variable: str, value: Any, error: ValueError) -> Failure:
    """Return the failure for a value that L(clean) refused, by the name that the user wrote."""
    shown = "(a secret)" if one.secret else repr(value)
    code = "timeout_invalid" if isinstance(error, TooSmall) else "setting_invalid"
    return Failure(code, f"{variable} is {shown}, and {error}", variable=variable)


def default_of(one: Setting) -> Any:
    """Return what it is where nobody sets it."""
    if one.kind == "dict":
        return {}
    return list(one.default) if one.kind == "list" else one.default


def clean(one: Setting, value: Any) -> Any:
    """Return the value as its kind; raises ValueError with the rest of a sentence."""
    if one.kind == "bool":
        return _boolean(value)
    if one.kind == "int":
        return _number(one, value)
    if one.kind == "list":
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)):
            raise ValueError("it has to be a list.")
        return [part.strip() if isinstance(part, str) else part for part in found]
    if one.kind == "dict":
        if not isinstance(value, Mapping):
            raise ValueError("it has to be a dictionary.")
        return dict(value)
    text = str(value).strip()
    if one.kind == "host":
        return text.split("://", 1)[-1].split("/", 1)[0].split(":", 1)[0] or one.default
    return _choice(one, text) if one.choices else text


def _choice(one: Setting, text: str) -> str:
    by_lower = {choice.lower(): choice for choice in one.choices}
    if text.lower() in by_lower:
        found = by_lower[text.lower()]
        return ALIASES.get(found, found) if one.choices is PROVIDER_NAMES else found
    near = difflib.get_close_matches(text.lower(), by_lower, n=1)
    meant = f" Did you mean {by_lower[near[0]]}?" if near else ""
    raise ValueError(f"there is no such value.{meant} Use one of: {', '.join(one.choices)}.")


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("it has to be true or false.")


def _number(one: Setting, value: Any) -> int:
    try:
        number = int(str(value).strip())
    except ValueError:
        raise ValueError("it has to be a whole number.") from None
    if one.least is not None and number < one.least:
        raise TooSmall(f"it has to be {one.least} or more.")
    is_port = one.name.endswith("_port") and (number or one.default)
    if is_port and not _PORTS[0] <= number <= _PORTS[1]:
        raise ValueError(f"ports have to lie between {_PORTS[0]} and {_PORTS[1]}.")
    return number
