# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The settings that decide what is done on a host: what each is called, where it comes from, what it may hold.

The roles' defaults say the same in Jinja, for those who use one role alone; tests/unit compares the two. Here they are read on the
controller without a template for each, and what is wrong is said by the name that the user wrote.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..failure import Failure
from ..route.providers import ALIASES, PROVIDERS
from ..route.route import SANDBOX_HOST

AUTO = "auto"
_PREFIX = "nemoclaw_"
# As Ansible reads a boolean.
_TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
_FALSE = ("n", "no", "off", "0", "false", "f", "0.0")
_PORTS = (1024, 65_535)


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: The variable of the role, by which the user may set it too.
        kind: C(str), C(int), C(bool), C(list) or C(dict).
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


class _TooSmall(ValueError):
    """A time limit that leaves no time."""


def _wizard(name: str, wizard: str, kind: str = "str", default: Any = "", **more: Any) -> Setting:
    """Return a setting of NemoClaw's wizard: the variable of the inventory, and that of the environment of the same name."""
    more.setdefault("environment", (wizard.upper(),))
    return Setting(name, kind, default, wizard, **more)


_PROVIDERS = (AUTO, *PROVIDERS, *ALIASES)
_APIS = ("openai-completions", "openai-responses")
_TIMEOUT = ("nemoclaw_local_inference_timeout", "int", 180)
_TOOLS = ("nemoclaw_require_tools", "bool", True)
_SANDBOX_URL = "NEMOCLAW_LOCAL_INFERENCE_SANDBOX_HOST_URL"

_ALL = (
    _wizard("preflight_provider", "nemoclaw_provider", default=AUTO, choices=_PROVIDERS),
    _wizard("preflight_user", "nemoclaw_user"),
    _wizard("preflight_route_path", "nemoclaw_route_path"),
    _wizard("preflight_ollama_port", "nemoclaw_ollama_port", "int", 11434),
    _wizard("preflight_ollama_proxy_port", "nemoclaw_ollama_proxy_port", "int", 11435),
    _wizard("preflight_vllm_port", "nemoclaw_vllm_port", "int", 8000),
    Setting("preflight_platforms", "list", ()),
    # Ollama.
    Setting("ollama_side", choices=(AUTO, "wsl", "windows"), default=AUTO),
    Setting("ollama_version", default="0.32.9"),
    Setting("ollama_minimum_version"),
    Setting("ollama_install_method", default="archive", choices=("archive", "script")),
    Setting(
        "ollama_install_mode",
        default="system",
        choices=("system", "user"),
        environment=("NEMOCLAW_OLLAMA_INSTALL_MODE",),
    ),
    Setting("ollama_install_url", secret=True),
    Setting("ollama_install_checksum"),
    Setting("ollama_install_jetpack_url", secret=True),
    Setting("ollama_install_jetpack_checksum"),
    Setting("ollama_reinstall", "bool", False),
    Setting("ollama_environment", "dict"),
    Setting("ollama_context_length", "int", 0),
    _wizard("ollama_model", "nemoclaw_model", default=AUTO),
    _wizard("ollama_allow_download", "nemoclaw_yes", "bool", False),
    Setting("ollama_insecure_registry", "bool", False),
    Setting("ollama_keep_alive"),
    Setting("ollama_load_timeout", "int", 600, least=1),
    Setting("ollama_stall_timeout", "int", 120, least=1),
    _wizard("ollama_timeout", *_TIMEOUT, least=1),
    _wizard("ollama_require_tools", *_TOOLS),
    Setting("ollama_min_context_window", "int", 0),
    Setting("ollama_agent_prompt_tokens", "int", 6000),
    Setting("ollama_sandbox_host", default=SANDBOX_HOST, environment=(_SANDBOX_URL,)),
    # A server of one's own.
    _wizard("endpoint_url", "nemoclaw_endpoint_url"),
    _wizard("endpoint_model", "nemoclaw_model"),
    Setting("endpoint_api_key", secret=True),
    Setting("compatible_api_key", secret=True, environment=("COMPATIBLE_API_KEY",)),
    Setting("compatible_anthropic_api_key", secret=True, environment=("COMPATIBLE_ANTHROPIC_API_KEY",)),
    Setting("endpoint_provider_key", secret=True, environment=("NEMOCLAW_PROVIDER_KEY",)),
    _wizard("endpoint_preferred_api", "nemoclaw_preferred_api", default=_APIS[0], choices=_APIS),
    _wizard("endpoint_timeout", *_TIMEOUT, least=1),
    _wizard("endpoint_require_tools", *_TOOLS),
    Setting("endpoint_min_context_window", "int", 0),
    Setting("endpoint_agent_prompt_tokens", "int", 6000),
    Setting("endpoint_expect", "list", ()),
    Setting("endpoint_ca_path"),
    Setting("endpoint_validate_certs", "bool", True),
    Setting("endpoint_sandbox_url"),
    Setting("endpoint_sandbox_host", default=SANDBOX_HOST, environment=(_SANDBOX_URL,)),
    # vLLM.
    _wizard("vllm_port", "nemoclaw_vllm_port", "int", 8000),
    Setting("vllm_api_key", secret=True, environment=("VLLM_API_KEY",)),
    _wizard("vllm_experimental", "nemoclaw_experimental", "bool", False),
    _wizard("vllm_model", "nemoclaw_vllm_model"),
    Setting("vllm_models", "dict"),
    Setting("vllm_image"),
    Setting("vllm_name", default="nemoclaw-vllm"),
    Setting("vllm_gpus", default=AUTO),
    Setting("vllm_share_gpus", "bool", False),
    _wizard("vllm_make_room", "nemoclaw_make_room", "bool", True),
    Setting("vllm_cache_dir"),
    Setting("vllm_extra_args", "list", ()),
    Setting("vllm_environment", "dict"),
    Setting("vllm_publish", "list", ()),
    Setting("vllm_docker_host"),
    Setting("vllm_hf_token", secret=True, wizard="hf_token", environment=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
    Setting("vllm_hf_endpoint"),
    Setting("vllm_ngc_api_key", secret=True, wizard="ngc_api_key", environment=("NGC_API_KEY", "NVIDIA_API_KEY")),
    Setting("vllm_allow_download", "bool", True),
    Setting("vllm_wait_timeout", "int", 900, least=1),
    Setting("vllm_stall_timeout", "int", 300, least=1),
    Setting("vllm_gate_port", "int", 0),
    _wizard("vllm_timeout", *_TIMEOUT, least=1),
    _wizard("vllm_require_tools", *_TOOLS),
    Setting("vllm_min_context_window", "int", 0),
    Setting("vllm_agent_prompt_tokens", "int", 6000),
    Setting("vllm_sandbox_host", default=SANDBOX_HOST, environment=(_SANDBOX_URL,)),
    # NIM.
    _wizard("nim_experimental", "nemoclaw_experimental", "bool", False),
    _wizard("nim_model", "nemoclaw_model"),
    Setting("nim_ngc_api_key", secret=True, wizard="ngc_api_key", environment=("NGC_API_KEY", "NVIDIA_API_KEY")),
    Setting("nim_registry", default="nvcr.io"),
    Setting("nim_image"),
    Setting("nim_models", "dict"),
    Setting("nim_served_model"),
    Setting("nim_name", default="nemoclaw-nim-nemoclaw"),
    _wizard("nim_port", "nemoclaw_vllm_port", "int", 8000),
    Setting("nim_publish", "list", ()),
    Setting("nim_gpus", default=AUTO),
    Setting("nim_share_gpus", "bool", False),
    _wizard("nim_make_room", "nemoclaw_make_room", "bool", True),
    Setting("nim_cache_dir"),
    Setting("nim_keyless", "bool", False),
    Setting("nim_environment", "dict"),
    Setting("nim_docker_host"),
    Setting("nim_allow_download", "bool", True),
    Setting("nim_wait_timeout", "int", 900, least=1),
    Setting("nim_stall_timeout", "int", 300, least=1),
    Setting("nim_gate_port", "int", 0),
    _wizard("nim_timeout", *_TIMEOUT, least=1),
    _wizard("nim_require_tools", *_TOOLS),
    Setting("nim_min_context_window", "int", 0),
    Setting("nim_agent_prompt_tokens", "int", 6000),
    Setting("nim_sandbox_host", default=SANDBOX_HOST, environment=(_SANDBOX_URL,)),
    # The auth proxy.
    Setting("proxy_token_path"),
    Setting("proxy_token_overlap", "int", 3600),
    Setting("proxy_listen", "list", ("0.0.0.0",)),  # noqa: S104 - the page's own default
    Setting("proxy_paths", "list", ()),
    Setting("proxy_backends", "list", ()),
    Setting("proxy_max_body_size", default="512m"),
    Setting("proxy_read_timeout", "int", 600),
    Setting("proxy_connect_timeout", "int", 5),
    Setting("proxy_drain_timeout", "int", 3600),
    Setting("proxy_max_connections", "int", 1024),
    Setting("proxy_max_connections_per_address", "int", 256),
    Setting("proxy_workers", "int", 1),
    Setting("proxy_memory_max", default="256M"),
    # The sandboxes.
    Setting("sandbox_backend", default=AUTO, choices=(AUTO, "nemoclaw", "openshell", "none")),
    Setting("sandbox_gateway"),
    Setting("sandbox_install_openshell", "bool", False),
    Setting("sandbox_token_path"),
    Setting("sandbox_change_shared_route", "bool", False),
    Setting("sandbox_replace_provider", "bool", False),
    _wizard("sandbox_accept_third_party_software", "nemoclaw_accept_third_party_software", "bool", False),
    _wizard("sandbox_name", "nemoclaw_sandbox_name"),
    Setting("sandbox_image"),
    _wizard("sandbox_ready_timeout", "nemoclaw_sandbox_ready_timeout", "int", 180, least=1),
    Setting("sandbox_stall_timeout", "int", 300, least=1),
    Setting("sandbox_proof", "bool", True),
    _wizard("sandbox_require_tools", *_TOOLS),
)
SETTINGS: dict[str, Setting] = {one.name: one for one in _ALL}

# What the playbooks and the modules read or set beside these. ``nemoclaw_host`` and ``nemoclaw_route`` are facts, which Ansible may
# put among the variables.
OTHER_NAMES = (
    "nemoclaw_hosts",
    "nemoclaw_drop_previous_token",
    "nemoclaw_host",
    "nemoclaw_route",
)
KNOWN_NAMES = frozenset((*OTHER_NAMES, *(one.wizard for one in _ALL if one.wizard.startswith(_PREFIX))))

# Variables by which a role acts as another user, or keeps another record, than the plan looks for.
APART = tuple(
    f"{role}_{name}" for role in ("ollama", "endpoint", "vllm", "nim", "sandbox") for name in ("user", "route_path")
)


@dataclass
class Settings:
    """What holds for one host.

    Attributes:
        values: By the name of the setting.
        given: The names that somebody set, with the name that was used for it.
        problems: What is wrong with them, each a sentence for the user.

    """

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    problems: list[Failure] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def is_given(self, name: str) -> bool:
        """Tell whether somebody set it."""
        return name in self.given


def collect(
    inventory: Mapping[str, Any], environment: Mapping[str, str], evaluate: Callable[[str, Any], Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that somebody set, and the name of the variable that each was set by.

    Args:
        inventory: The variables of the host, templates not evaluated.
        environment: The environment of the controller.
        evaluate: Returns the value of a variable, called for those alone that are set and looked at.

    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for one in _ALL:
        for name in (one.name, one.wizard):
            if name and name in inventory:
                value = evaluate(name, inventory[name])
                if value not in (None, ""):
                    values[one.name], origins[one.name] = value, name
                    break
        else:
            name = next((name for name in one.environment if environment.get(name)), "")
            if name:
                values[one.name], origins[one.name] = environment[name], name
    return values, origins


def unknown_names(names: Iterable[str]) -> list[Failure]:
    """Return a refusal for each name that nothing reads, with the nearest that something does."""
    found = []
    for name in sorted(names):
        if name.startswith(_PREFIX) and name not in KNOWN_NAMES:
            # Without the part that all have in common, which would make any two of them look alike.
            own = {known[len(_PREFIX) :]: known for known in sorted(KNOWN_NAMES)}
            near = difflib.get_close_matches(name[len(_PREFIX) :], own, n=1)
            nearest = own[near[0]] if near else None
            meant = f" Did you mean {nearest}?" if nearest else ""
            found.append(
                Failure(
                    "setting_unknown",
                    f"The inventory sets {name}, and nothing in this collection reads it.{meant} Correct the name, or take it out.",
                    variable=name,
                    nearest=nearest,
                )
            )
    return found


def read(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Return the settings with their defaults, and what is wrong with those that were given."""
    settings = Settings(given=dict(origins))
    for one in _ALL:
        settings.values[one.name] = _default(one)
        if one.name not in values or one.name not in origins:
            continue
        try:
            settings.values[one.name] = _clean(one, values[one.name])
        except ValueError as error:
            variable = origins[one.name]
            shown = "(a secret)" if one.secret else repr(values[one.name])
            code = "timeout_invalid" if isinstance(error, _TooSmall) else "setting_invalid"
            settings.problems.append(Failure(code, f"{variable} is {shown}, and {error}", variable=variable))
    # One variable for several roles is wrong once.
    settings.problems = list({one.message: one for one in settings.problems}.values())
    return settings


def _default(one: Setting) -> Any:
    if one.kind == "dict":
        return {}
    return list(one.default) if one.kind == "list" else one.default


def _clean(one: Setting, value: Any) -> Any:
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
    if one.environment == (_SANDBOX_URL,):
        return text.split("://", 1)[-1].split("/", 1)[0].split(":", 1)[0] or one.default
    return _choice(one, text) if one.choices else text


def _choice(one: Setting, text: str) -> str:
    by_lower = {choice.lower(): choice for choice in one.choices}
    if text.lower() in by_lower:
        found = by_lower[text.lower()]
        return ALIASES.get(found, found) if one.choices is _PROVIDERS else found
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
        raise _TooSmall(f"it has to be {one.least} or more.")
    is_port = one.name.endswith("_port") and (number or one.default)
    if is_port and not _PORTS[0] <= number <= _PORTS[1]:
        raise ValueError(f"ports have to lie between {_PORTS[0]} and {_PORTS[1]}.")
    return number
