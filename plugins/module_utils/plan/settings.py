# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The settings that decide what is done on a host: what each may hold, and all of them for the plan.

The roles' defaults read the same ones by the lookup plugin C(setting), for those who use one role alone; tests/unit compares the two. Here
they are read on the controller without a template for each, and what is wrong is said by the name that the user wrote.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..failure import Failure
from ..profiles import BY_NAME, PAGE, Profile
from ..route.route import ALIASES, PROVIDERS, SANDBOX_HOST

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
        default: Its value when not set.
        wizard: The variable of the inventory that every role reads, empty for none.
        environment: Variables of the controller's environment, the first that is not empty counts.
        choices: What it may be, in any case; empty for anything.
        secret: Whether it must never be shown.
        least: The smallest number allowed.
        by_profile: Whether the default follows from C(nemoclaw_profile); C(default) is the page's then.

    """

    name: str
    kind: str = "str"
    default: Any = ""
    wizard: str = ""
    environment: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    secret: bool = False
    least: int | None = None
    by_profile: bool = False


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
        _wizard("nemoclaw_profile", default=PAGE.name, choices=tuple(BY_NAME)),
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


def refuse(one: Setting, variable: str, value: Any, error: ValueError) -> Failure:
    """Return the failure for a value that L(clean) refused, by the name that the user wrote."""
    shown = "(a secret)" if one.secret else repr(value)
    code = "timeout_invalid" if isinstance(error, TooSmall) else "setting_invalid"
    return Failure(code, f"{variable} is {shown}, and {error}", variable=variable)


def default_of(one: Setting, profile: Profile = PAGE) -> Any:
    """Return its value when not set."""
    if one.kind == "dict":
        return {}
    default = getattr(profile, one.name) if one.by_profile else one.default
    return list(default) if one.kind == "list" else default


def clean(one: Setting, value: Any) -> Any:
    """Return the value as its kind; raises ValueError with the rest of a sentence."""
    if one.kind == "bool":
        return _boolean(value)
    if one.kind == "int":
        return _number(one, value)
    if one.kind == "list":
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)):
            raise ValueError("it must be a list.")
        return [part.strip() if isinstance(part, str) else part for part in found]
    if one.kind == "dict":
        if not isinstance(value, Mapping):
            raise ValueError("it must be a dictionary.")
        return dict(value)
    text = str(value).strip()
    if one.kind == "host":
        return _host(text) or one.default
    return _choice(one, text) if one.choices else text


def _host(text: str) -> str:
    """Return the host of a URL, or of what stands in one."""
    where = text.split("://", 1)[-1].split("/", 1)[0]
    if where.count(":") > 1:
        raise ValueError(
            "it is an IPv6 address, but the path from the sandboxes is probed by name or IPv4 address: use one of these."
        )
    return where.partition(":")[0]


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
    raise ValueError("it must be true or false.")


def _number(one: Setting, value: Any) -> int:
    try:
        number = int(str(value).strip())
    except ValueError:
        unit = " of seconds" if one.name.endswith(("_timeout", "_interval", "_overlap")) else ""
        raise ValueError(f"it must be a whole number{unit}, like {one.default or one.least or 1}.") from None
    if one.least is not None and number < one.least:
        raise TooSmall(f"it must be {one.least} or more.")
    is_port = one.name.endswith("_port") and (number or one.default)
    if is_port and not _PORTS[0] <= number <= _PORTS[1]:
        raise ValueError(f"ports must be between {_PORTS[0]} and {_PORTS[1]}.")
    return number


_TIMEOUT = "nemoclaw_local_inference_timeout"
_TOOLS = "nemoclaw_require_tools"
_SANDBOX_URL = "nemoclaw_local_inference_sandbox_host_url"

_ALL = (
    # First: defaults of others follow from it.
    WIZARD["nemoclaw_profile"],
    of_wizard("preflight_provider", "nemoclaw_provider"),
    of_wizard("preflight_user", "nemoclaw_user"),
    of_wizard("preflight_route_path", "nemoclaw_route_path"),
    of_wizard("preflight_ollama_port", "nemoclaw_ollama_port"),
    of_wizard("preflight_ollama_proxy_port", "nemoclaw_ollama_proxy_port"),
    of_wizard("preflight_vllm_port", "nemoclaw_vllm_port"),
    Setting("preflight_platforms", "list", ()),
    # Ollama.
    Setting("ollama_side", choices=(AUTO, "wsl", "windows"), default=AUTO),
    Setting("ollama_windows_bind", choices=("all", "loopback"), default=PAGE.ollama_windows_bind, by_profile=True),
    Setting("ollama_windows_timeout", "int", 60, least=1),
    Setting("ollama_version", default="0.32.9"),
    Setting("ollama_minimum_version"),
    Setting("ollama_install_method", default="archive", choices=("archive", "script")),
    of_wizard("ollama_install_mode", "nemoclaw_ollama_install_mode"),
    Setting("ollama_install_url", secret=True),
    Setting("ollama_install_checksum"),
    Setting("ollama_install_jetpack_url", secret=True),
    Setting("ollama_install_jetpack_checksum"),
    Setting("ollama_reinstall", "bool", False),
    Setting("ollama_environment", "dict"),
    Setting("ollama_context_length", "int", 0),
    of_wizard("ollama_model", "nemoclaw_model", default=AUTO),
    of_wizard("ollama_profile", "nemoclaw_profile"),
    of_wizard("ollama_allow_download", "nemoclaw_yes"),
    Setting("ollama_insecure_registry", "bool", False),
    Setting("ollama_keep_alive"),
    Setting("ollama_load_timeout", "int", 600, least=1),
    Setting("ollama_stall_timeout", "int", 120, least=1),
    of_wizard("ollama_timeout", _TIMEOUT),
    of_wizard("ollama_require_tools", _TOOLS),
    Setting("ollama_min_context_window", "int", 0),
    Setting("ollama_agent_prompt_tokens", "int", 6000),
    of_wizard("ollama_sandbox_host", _SANDBOX_URL),
    # A server of one's own.
    of_wizard("endpoint_url", "nemoclaw_endpoint_url"),
    of_wizard("endpoint_model", "nemoclaw_model"),
    Setting("endpoint_api_key", secret=True),
    WIZARD["compatible_api_key"],
    WIZARD["compatible_anthropic_api_key"],
    of_wizard("endpoint_preferred_api", "nemoclaw_preferred_api"),
    of_wizard("endpoint_timeout", _TIMEOUT),
    of_wizard("endpoint_require_tools", _TOOLS),
    Setting("endpoint_min_context_window", "int", 0),
    Setting("endpoint_agent_prompt_tokens", "int", 6000),
    Setting("endpoint_expect", "list", ()),
    Setting("endpoint_ca_path"),
    Setting("endpoint_validate_certs", "bool", True),
    Setting("endpoint_sandbox_url"),
    of_wizard("endpoint_sandbox_host", _SANDBOX_URL),
    # vLLM.
    of_wizard("vllm_port", "nemoclaw_vllm_port"),
    replace(WIZARD["VLLM_API_KEY"], name="vllm_api_key"),
    of_wizard("vllm_experimental", "nemoclaw_experimental"),
    of_wizard("vllm_model", "nemoclaw_vllm_model"),
    of_wizard("vllm_profile", "nemoclaw_profile"),
    Setting("vllm_models", "dict"),
    Setting("vllm_image"),
    Setting("vllm_name", default="nemoclaw-vllm"),
    Setting("vllm_gpus", default=AUTO),
    Setting("vllm_share_gpus", "bool", False),
    of_wizard("vllm_make_room", "nemoclaw_make_room"),
    Setting("vllm_cache_dir"),
    Setting("vllm_extra_args", "list", ()),
    Setting("vllm_environment", "dict"),
    Setting("vllm_publish", "list", ()),
    Setting("vllm_docker_host"),
    of_wizard("vllm_hf_token", "hf_token"),
    Setting("vllm_hf_endpoint"),
    of_wizard("vllm_ngc_api_key", "ngc_api_key"),
    Setting("vllm_allow_download", "bool", True),
    Setting("vllm_wait_timeout", "int", 900, least=1),
    Setting("vllm_stall_timeout", "int", 300, least=1),
    Setting("vllm_gate_port", "int", 0),
    of_wizard("vllm_timeout", _TIMEOUT),
    of_wizard("vllm_require_tools", _TOOLS),
    Setting("vllm_min_context_window", "int", 0),
    Setting("vllm_agent_prompt_tokens", "int", 6000),
    of_wizard("vllm_sandbox_host", _SANDBOX_URL),
    # NIM.
    of_wizard("nim_experimental", "nemoclaw_experimental"),
    of_wizard("nim_model", "nemoclaw_model"),
    of_wizard("nim_ngc_api_key", "ngc_api_key"),
    Setting("nim_registry", default="nvcr.io"),
    Setting("nim_image"),
    Setting("nim_models", "dict"),
    Setting("nim_served_model"),
    Setting("nim_name", default="nemoclaw-nim-nemoclaw"),
    of_wizard("nim_port", "nemoclaw_vllm_port"),
    Setting("nim_publish", "list", ()),
    Setting("nim_gpus", default=AUTO),
    Setting("nim_share_gpus", "bool", False),
    of_wizard("nim_make_room", "nemoclaw_make_room"),
    Setting("nim_cache_dir"),
    Setting("nim_keyless", "bool", False),
    Setting("nim_environment", "dict"),
    Setting("nim_docker_host"),
    Setting("nim_allow_download", "bool", True),
    Setting("nim_wait_timeout", "int", 900, least=1),
    Setting("nim_stall_timeout", "int", 300, least=1),
    Setting("nim_gate_port", "int", 0),
    of_wizard("nim_timeout", _TIMEOUT),
    of_wizard("nim_require_tools", _TOOLS),
    Setting("nim_min_context_window", "int", 0),
    Setting("nim_agent_prompt_tokens", "int", 6000),
    of_wizard("nim_sandbox_host", _SANDBOX_URL),
    # The auth proxy.
    Setting("proxy_token_path"),
    Setting("proxy_token_overlap", "int", 3600),
    Setting("proxy_listen", "list", PAGE.proxy_listen, by_profile=True),
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
    # The watch.
    Setting("watch_enabled", "bool", False),
    Setting("watch_interval", "int", 60, least=5),
    Setting("watch_timeout", "int", 60, least=1),
    Setting("watch_proof", "bool", True),
    Setting("watch_proof_interval", "int", 600, least=1),
    Setting("watch_close_proxy", "bool", False),
    Setting("watch_textfile", default="auto"),
    of_wizard("watch_user", "nemoclaw_user"),
    of_wizard("watch_route_path", "nemoclaw_route_path"),
    Setting("watch_token_path"),
    Setting("watch_ca_path"),
    Setting("watch_validate_certs", "bool", True),
    # The sandboxes.
    Setting("sandbox_backend", default=AUTO, choices=(AUTO, "nemoclaw", "openshell", "none")),
    Setting("sandbox_gateway"),
    Setting("sandbox_install_openshell", "bool", False),
    Setting("sandbox_token_path"),
    Setting("sandbox_change_shared_route", "bool", False),
    Setting("sandbox_replace_provider", "bool", False),
    of_wizard("sandbox_accept_third_party_software", "nemoclaw_accept_third_party_software"),
    of_wizard("sandbox_name", "nemoclaw_sandbox_name"),
    Setting("sandbox_image"),
    of_wizard("sandbox_ready_timeout", "nemoclaw_sandbox_ready_timeout"),
    Setting("sandbox_stall_timeout", "int", 300, least=1),
    Setting("sandbox_restart", "bool", False),
    Setting("sandbox_binaries", "list", ()),
    Setting("sandbox_proof", "bool", True),
    of_wizard("sandbox_require_tools", _TOOLS),
)
SETTINGS: dict[str, Setting] = {one.name: one for one in _ALL}


@dataclass
class Settings:
    """What holds for one host.

    Attributes:
        values: By the name of the setting.
        given: The names that were set, with the name that was used.
        problems: What is wrong with them, each a sentence for the user.

    """

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    problems: list[Failure] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def is_given(self, name: str) -> bool:
        """Tell whether it was set."""
        return name in self.given


def read(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Return the settings with their defaults, and what is wrong with those that were set."""
    settings = Settings(given=dict(origins))
    for one in _ALL:
        chosen = BY_NAME[settings.values.get("nemoclaw_profile", PAGE.name)]
        settings.values[one.name] = default_of(one, chosen)
        if one.name not in values or one.name not in origins:
            continue
        try:
            settings.values[one.name] = clean(one, values[one.name])
        except ValueError as error:
            settings.problems.append(refuse(one, origins[one.name], values[one.name], error))
    # One variable for several roles is wrong once.
    settings.problems = list({one.message: one for one in settings.problems}.values())
    return settings
