# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One setting: which of its sources counts, what it becomes, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import settings as known
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import sources

ONE = known.of_wizard("vllm_hf_token", "hf_token")


@pytest.mark.parametrize(
    ("inventory", "environment", "found"),
    [
        ({}, {}, (None, "")),
        ({"vllm_hf_token": "a", "hf_token": "b"}, {"HF_TOKEN": "c"}, ("a", "vllm_hf_token")),
        ({"hf_token": "b"}, {"HF_TOKEN": "c"}, ("b", "hf_token")),
        ({}, {"HUGGING_FACE_HUB_TOKEN": "d", "HF_TOKEN": "c"}, ("c", "HF_TOKEN")),
        ({}, {"HUGGING_FACE_HUB_TOKEN": "d", "HF_TOKEN": ""}, ("d", "HUGGING_FACE_HUB_TOKEN")),
        ({"vllm_hf_token": "", "hf_token": "b"}, {}, ("b", "hf_token")),
        ({"hf_token": None}, {"HF_TOKEN": "c"}, ("c", "HF_TOKEN")),
        ({"hf_token": " \n"}, {"HF_TOKEN": "  "}, (None, "")),
        ({"hf_token": False}, {"HF_TOKEN": "c"}, (False, "hf_token")),
        ({"hf_token": 0}, {"HF_TOKEN": "c"}, (0, "hf_token")),
    ],
)
def test_the_first_source_that_holds_something_counts(
    inventory: dict[str, Any], environment: dict[str, str], found: tuple[Any, str]
) -> None:
    assert sources.find(ONE, inventory, environment, lambda _name, value: value) == found


def test_only_what_is_set_is_evaluated() -> None:
    asked = []
    inventory = {"hf_token": "{{ a }}", "other": "{{ b }}"}
    sources.find(ONE, inventory, {}, lambda name, value: asked.append((name, value)))
    assert asked == [("hf_token", "{{ a }}")]


@pytest.mark.parametrize(
    ("name", "value", "clean"),
    [
        ("nemoclaw_yes", "1", True),
        ("nemoclaw_yes", "Yes", True),
        ("nemoclaw_require_tools", "off", False),
        ("nemoclaw_require_tools", False, False),
        ("nemoclaw_vllm_port", " 8001 ", 8001),
        ("nemoclaw_vllm_port", 8001, 8001),
        ("nemoclaw_model", " qwen2.5:7b\n", "qwen2.5:7b"),
        ("nemoclaw_provider", "NIM-Local", "nim"),
        ("nemoclaw_preferred_api", "OpenAI-Responses", "openai-responses"),
        ("nemoclaw_local_inference_sandbox_host_url", "https://a.b:1/v1", "a.b"),
        ("nemoclaw_local_inference_sandbox_host_url", "a.b", "a.b"),
        ("compatible_api_key", "sk-1 \n", "sk-1"),
    ],
)
def test_a_value_becomes_what_its_kind_is(name: str, value: Any, clean: Any) -> None:
    found = known.clean(known.WIZARD[name], value)
    assert (found, type(found)) == (clean, type(clean))


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("nemoclaw_yes", "perhaps", "setting_invalid", "NEMOCLAW_YES is 'perhaps', and it must be true or false."),
        (
            "nemoclaw_local_inference_timeout",
            "10m",
            "setting_invalid",
            "NEMOCLAW_LOCAL_INFERENCE_TIMEOUT is '10m', and it must be a whole number of seconds, like 180.",
        ),
        (
            "nemoclaw_vllm_port",
            "x",
            "setting_invalid",
            "NEMOCLAW_VLLM_PORT is 'x', and it must be a whole number, like 8000.",
        ),
        ("nemoclaw_vllm_port", 80, "setting_invalid", "and ports must be between 1024 and 65535."),
        ("nemoclaw_local_inference_timeout", "0", "timeout_invalid", "and it must be 1 or more."),
        (
            "nemoclaw_local_inference_sandbox_host_url",
            "http://[fd00::1]:1/v1",
            "setting_invalid",
            "it is an IPv6 address",
        ),
        (
            "nemoclaw_provider",
            "costum",
            "setting_invalid",
            "there is no such value. Did you mean custom? Use one of: auto,",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_that_was_used(name: str, value: Any, code: str, said: str) -> None:
    one = known.WIZARD[name]
    with pytest.raises(ValueError, match=r"\w") as raised:
        known.clean(one, value)
    failure = known.refuse(one, one.environment[0], value, raised.value)
    assert failure.code == code
    assert said in failure.message


def test_a_refused_secret_is_not_repeated() -> None:
    secret = known.Setting("pin", "int", secret=True)
    assert "canary" not in known.refuse(secret, "PIN", "canary", ValueError("it must be a whole number.")).message


@pytest.mark.parametrize("name", sorted(known.WIZARD))
def test_the_environment_has_the_same_name(name: str) -> None:
    assert known.WIZARD[name].environment[0] == name.upper()
    assert known.WIZARD[name].secret == name.lower().endswith(("_key", "_token"))
