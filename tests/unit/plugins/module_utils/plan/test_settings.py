# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: where they come from, what they may be, and what a user is told who writes them wrong."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import settings as known
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import sources

MakeSettings = Callable[..., known.Settings]

REPO = Path(known.__file__).resolve().parents[3]
# Settings that a role gets from the plan's own look, or will get.
NOT_YET = {"ollama_reinstall"}
# Settings of the controller's environment that a role reads under a name of another role, or not at all.
SHARED = {
    "compatible_api_key": "endpoint_api_key",
    "compatible_anthropic_api_key": "endpoint_api_key",
    "nemoclaw_profile": "ollama_profile",
}


@functools.cache
def role_file(role: str, name: str) -> dict[str, Any]:
    """Return what a file of a role says: hundreds of cases ask, so it is read once in a process, and by libyaml."""
    text = (REPO / "roles" / role / name).read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return content


def role_options(role: str) -> dict[str, Any]:
    options: dict[str, Any] = role_file(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


@pytest.mark.parametrize("one", known.SETTINGS.values(), ids=lambda one: one.name)
def test_the_roles_have_the_same_settings(one: known.Setting) -> None:
    if one.name in NOT_YET:
        return
    name = SHARED.get(one.name, one.name)
    option = role_options(name.split("_")[0])[name]
    assert option["type"] == ("str" if one.kind == "host" else one.kind)
    assert bool(option.get("no_log")) == (one.secret and not one.name.endswith("_url"))
    # The page's value is what a role has where nobody sets anything.
    if one.name == "ollama_minimum_version" or option.get("no_log"):
        return  # it follows from another one, or has none that is shown
    empty: Any = {"dict": {}, "list": []}.get(one.kind, "")
    default = list(one.default) if one.kind == "list" else one.default
    assert (default or empty) == (option.get("default", empty) or empty)


@pytest.mark.parametrize("one", known.SETTINGS.values(), ids=lambda one: one.name)
def test_the_roles_read_it_from_the_same_places(one: known.Setting) -> None:
    if one.name in NOT_YET or one.name in SHARED:
        return
    defaults = role_file(one.name.split("_")[0], "defaults/main.yml")
    read = re.findall(r"setting', '(\w+)'", str(defaults[one.name]))
    if one.name != "endpoint_api_key":
        assert read == ([one.wizard] if one.wizard else list(one.environment))


def test_every_variable_that_something_reads_is_known() -> None:
    files = [
        *(REPO / "roles").rglob("*.yml"),
        *(REPO / "playbooks").rglob("*.yml"),
        *(REPO / "examples").rglob("*.yml"),
    ]
    found = {
        name
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
        for name in re.findall(r"(?<![\w.])(nemoclaw_[a-z_]+)\b(?!\.)", line)
    }
    # Modules of that name, and facts.
    modules = {path.stem for path in (REPO / "plugins" / "modules").glob("nemoclaw_*.py")}
    assert found - modules - sources.KNOWN_NAMES == set()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("nemoclaw_providr", "nemoclaw_provider"),
        ("nemoclaw_ollama_prot", "nemoclaw_ollama_port"),
        ("nemoclaw_endpointurl", "nemoclaw_endpoint_url"),
        ("nemoclaw_compatible_api_key", "compatible_api_key"),
        ("nemoclaw_proxy_listen", "proxy_listen"),
        ("nemoclaw_zzz", None),
        ("NEMOCLAW_PROVIDER", "nemoclaw_provider"),
        ("Nemoclaw_Yes", "nemoclaw_yes"),
        ("nemoclaw-provider", "nemoclaw_provider"),
        ("nemoclawProvider", "nemoclaw_provider"),
        ("nemoclow_provider", "nemoclaw_provider"),
        ("nemo_claw_endpoint_url", "nemoclaw_endpoint_url"),
        ("nemclaw_model", "nemoclaw_model"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str | None) -> None:
    others = ["ansible_host", "nemoclaw_yes", "my_nemoclaw_thing", "nemo_model", "nemo_provider", "NEMO_HOME", "nemo"]
    (failure,) = sources.unknown_names([name, *others])
    assert failure.code == "setting_unknown"
    assert failure.details["nearest"] == nearest
    assert f"sets {name}," in failure.message
    assert (f"Did you mean {nearest}?" in failure.message) == bool(nearest)


def test_a_name_of_something_else_is_left_alone() -> None:
    names = ["nemoclaw_dashboard_port", "nemoclaw_lab_a", "nemoclaw_lab_b", "nemoclaw_provdier"]
    (failure,) = sources.unknown_names(names, ["nemoclaw_dashboard_port", "nemoclaw_lab_*"])
    assert failure.details["variable"] == "nemoclaw_provdier"
    assert "nemoclaw_extra_names" in failure.message


@pytest.mark.parametrize(
    ("values", "provider"),
    [
        ({}, "ollama"),
        ({"preflight_provider": "nim"}, "nim"),
        ({"preflight_provider": "auto"}, "auto"),
        ({"endpoint_url": "http://a/v1"}, None),
    ],
)
def test_the_provider_of_a_playbook_is_for_those_who_name_nothing(values: dict[str, Any], provider: str | None) -> None:
    origins = dict.fromkeys(values, "x")
    sources.prefer("ollama", values, origins)
    assert values.get("preflight_provider") == provider
    assert ("preflight_provider" in origins) == ("preflight_provider" in values)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"nemoclaw_provider": "costum"}, ["nemoclaw_provider is 'costum'", "Did you mean custom?"]),
        ({"nemoclaw_preferred_api": "openai-response"}, ["nemoclaw_preferred_api", "Did you mean openai-responses?"]),
        ({"ollama_side": "windoze"}, ["ollama_side", "Did you mean windows?"]),
        ({"nemoclaw_ollama_port": "eleven"}, ["nemoclaw_ollama_port", "whole number"]),
        ({"nemoclaw_ollama_port": 80}, ["nemoclaw_ollama_port", "between 1024 and 65535"]),
        ({"nemoclaw_local_inference_timeout": 0}, ["nemoclaw_local_inference_timeout", "1 or more"]),
        ({"nemoclaw_yes": "perhaps"}, ["nemoclaw_yes", "true or false"]),
        ({"vllm_models": ["a"]}, ["vllm_models", "dictionary"]),
        ({"proxy_listen": {"a": 1}}, ["proxy_listen", "list"]),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_name_that_the_user_wrote(
    variables: dict[str, Any], said: list[str], make_settings: MakeSettings
) -> None:
    (failure,) = make_settings(**variables).problems
    assert failure.code == ("timeout_invalid" if "1 or more" in said else "setting_invalid")
    assert failure.details["variable"] == next(iter(variables))
    assert all(part in failure.message for part in said)


def test_a_wrong_value_of_the_environment_is_named_as_it_stands_there(make_settings: MakeSettings) -> None:
    (failure,) = make_settings({"NEMOCLAW_PROVIDER": "costum"}).problems
    assert failure.message.startswith("NEMOCLAW_PROVIDER is 'costum'")


@pytest.mark.parametrize(
    ("environment", "variables", "setting", "value"),
    [
        ({}, {}, "ollama_timeout", 180),
        ({"NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": "7"}, {}, "ollama_timeout", 7),
        ({"NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": "7"}, {"nemoclaw_local_inference_timeout": "8"}, "vllm_timeout", 8),
        ({}, {"nemoclaw_local_inference_timeout": "8", "nim_timeout": 9}, "nim_timeout", 9),
        ({"NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": ""}, {"nemoclaw_local_inference_timeout": ""}, "nim_timeout", 180),
        ({}, {"nemoclaw_provider": "NIM-Local"}, "preflight_provider", "nim"),
        ({}, {"nemoclaw_provider": "anthropiccompatible"}, "preflight_provider", "anthropicCompatible"),
        ({"HUGGING_FACE_HUB_TOKEN": "a"}, {}, "vllm_hf_token", "a"),
        ({"HUGGING_FACE_HUB_TOKEN": "a", "HF_TOKEN": "b"}, {}, "vllm_hf_token", "b"),
        # The name of newer releases of NemoClaw, and that of older ones.
        ({"NVIDIA_INFERENCE_API_KEY": "a"}, {}, "nim_ngc_api_key", "a"),
        ({"NVIDIA_INFERENCE_API_KEY": "a", "NVIDIA_API_KEY": "b"}, {}, "nim_ngc_api_key", "b"),
        ({"NEMOCLAW_LOCAL_INFERENCE_SANDBOX_HOST_URL": "http://a.b:1/v1"}, {}, "nim_sandbox_host", "a.b"),
        ({}, {"nemoclaw_require_tools": "no"}, "endpoint_require_tools", False),
        ({}, {"proxy_listen": "127.0.0.1, 10.0.0.1"}, "proxy_listen", ["127.0.0.1", "10.0.0.1"]),
    ],
)
def test_where_a_value_comes_from(
    environment: dict[str, str], variables: dict[str, Any], setting: str, value: Any, make_settings: MakeSettings
) -> None:
    made = make_settings(environment, **variables)
    assert made.problems == []
    assert made[setting] == value


def test_a_template_that_several_settings_read_is_evaluated_once() -> None:
    asked: list[str] = []

    def evaluate(name: str, raw: Any) -> Any:
        asked.append(name)
        return raw

    values, origins = sources.collect({"nemoclaw_model": "a", "ollama_model": "b"}, {}, evaluate)
    assert sorted(asked) == ["nemoclaw_model", "ollama_model"]
    assert (values["ollama_model"], values["nim_model"], values["endpoint_model"]) == ("b", "a", "a")
    assert origins["nim_model"] == "nemoclaw_model"


def test_a_secret_is_never_shown() -> None:
    one = known.SETTINGS["vllm_api_key"]
    made = known.read({"vllm_api_key": "canary", "nemoclaw": 1}, {"vllm_api_key": "VLLM_API_KEY"})
    assert one.secret
    assert made["vllm_api_key"] == "canary"
    assert "canary" not in repr(made.problems)
