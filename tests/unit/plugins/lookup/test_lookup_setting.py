# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup plugin in templates: sources, defaults, what Ansible makes of an error, and values of a vault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

# A process of its own, as in test_contracts.py, and one for all questions, since Ansible takes half a second to start. The inventory comes
# as YAML, so that a vault's value is what Ansible makes of it.
_RESOLVER = """
import json, os, sys
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader()
secrets = [("default", VaultSecret(b"lab"))]
loader = DataLoader()
loader.set_vault_secrets(secrets)
VaultSecretsContext.initialize(VaultSecretsContext(secrets))
base = {name: value for name, value in os.environ.items() if not name.startswith("NEMOCLAW_")}


def answer(templar, expression):
    try:
        return templar.template(trust_as_template("{{ %s }}" % expression))
    except Exception as error:
        return {"error": str(error)}


for line in sys.stdin:
    path, environment, expressions = json.loads(line)
    os.environ.clear()
    os.environ.update(base | environment)
    text = open(path).read()
    if "CANARY" in text:
        vault = VaultLib(secrets).encrypt("canary").decode().strip()
        lines = ["!vault |"] + ["    " + line for line in vault.splitlines()]
        with open(path, "w") as file:
            file.write(text.replace("CANARY", chr(10).join(lines)))
    templar = Templar(loader=loader, variables=loader.load_from_file(path, trusted_as_template=True))
    print(json.dumps([answer(templar, expression) for expression in expressions]), flush=True)
"""
LOOKUP = "'nemoclaw.local_inference.setting'"


Resolve = Callable[..., "list[Any]"]


@pytest.fixture(scope="module")
def resolver() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _RESOLVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate()


@pytest.fixture
def resolve(resolver: subprocess.Popen[str], tmp_path: Path) -> Resolve:
    """Return a function that evaluates expressions with an inventory, on a controller with this environment."""

    def ask(inventory: str, environment: dict[str, str], *expressions: str) -> list[Any]:
        path = tmp_path / "inventory.yml"
        path.write_text(f"---\nansible_host: a\n{inventory}\n", encoding="utf-8")
        assert resolver.stdin is not None
        assert resolver.stdout is not None
        print(json.dumps([str(path), environment, expressions]), file=resolver.stdin, flush=True)
        found: list[Any] = json.loads(resolver.stdout.readline())
        return found

    return ask


def test_sources_and_defaults(resolve: Resolve) -> None:
    inventory = "nemoclaw_model: '{{ family }}:7b'\nfamily: qwen\nnemoclaw_yes: ''\nnemoclaw_require_tools: false"
    environment = {
        "NEMOCLAW_MODEL": "other",
        "NEMOCLAW_YES": "1",
        "NEMOCLAW_VLLM_PORT": "8001",
        "NEMOCLAW_SANDBOX_NAME": " ",
    }
    cases = {
        "lookup(%s, 'nemoclaw_model', default='auto')": "qwen:7b",
        "lookup(%s, 'nemoclaw_yes')": True,
        "lookup(%s, 'nemoclaw_require_tools')": False,
        "lookup(%s, 'nemoclaw_vllm_port')": 8001,
        "lookup(%s, 'nemoclaw_ollama_port')": 11434,
        "lookup(%s, 'nemoclaw_provider')": "auto",
        "lookup(%s, 'nemoclaw_provider', default='custom')": "custom",
        "lookup(%s, 'nemoclaw_sandbox_name')": "",
        "lookup(%s, 'nemoclaw_sandbox_name', default='')": "",
        "query(%s, 'nemoclaw_model', 'nemoclaw_endpoint_url', default=none)": ["qwen:7b", None],
    }
    expressions = [text % LOOKUP for text in cases]
    assert resolve(inventory, environment, *expressions) == list(cases.values())


BY_PROFILE = [
    f"lookup('nemoclaw.local_inference.profile', '{name}')"
    for name in ("proxy_listen", "ollama_windows_bind", "proxy_paths")
]
LATER = [["127.0.0.1", "bridge"], "loopback"]


@pytest.mark.parametrize(
    ("inventory", "environment", "values"),
    [
        ("", {}, [["0.0.0.0"], "all"]),
        ("", {"NEMOCLAW_PROFILE": "later"}, LATER),
        # The role's own variable is what is made of it, and is not looked at.
        ("nemoclaw_profile: '{{ lab }}'\nlab: later\nproxy_listen: ['10.0.0.1']", {"NEMOCLAW_PROFILE": "page"}, LATER),
    ],
)
def test_the_default_by_profile(
    inventory: str, environment: dict[str, str], values: list[Any], resolve: Resolve
) -> None:
    *found, error = resolve(inventory, environment, *BY_PROFILE)
    assert found == values
    assert "says nothing of proxy_paths" in error["error"]


def test_a_profile_that_is_none_has_no_default(resolve: Resolve) -> None:
    (error,) = resolve("nemoclaw_profile: latest", {}, BY_PROFILE[0])
    assert "nemoclaw_profile is 'latest'" in error["error"]


def test_a_template_that_cannot_be_evaluated_is_an_error_and_not_the_default(resolve: Resolve) -> None:
    (found,) = resolve("nemoclaw_model: '{{ nothing }}'", {}, f"lookup({LOOKUP}, 'nemoclaw_model')")
    assert "'nothing' is undefined" in found["error"]


def test_text_of_the_environment_is_no_template(resolve: Resolve) -> None:
    environment = {"NEMOCLAW_MODEL": "{{ 1 + 1 }}"}
    assert resolve("", environment, f"lookup({LOOKUP}, 'nemoclaw_model')") == ["{{ 1 + 1 }}"]


def test_a_value_of_a_vault(resolve: Resolve) -> None:
    assert resolve("hf_token: CANARY", {}, f"lookup({LOOKUP}, 'hf_token')") == ["canary"]


@pytest.mark.parametrize(
    ("environment", "name", "said"),
    [
        ({"NEMOCLAW_YES": "perhaps"}, "nemoclaw_yes", "NEMOCLAW_YES is 'perhaps', and it must be true or false."),
        (
            {"NEMOCLAW_VLLM_PORT": "x"},
            "nemoclaw_vllm_port",
            "NEMOCLAW_VLLM_PORT is 'x', and it must be a whole number, like 8000.",
        ),
        ({}, "nemoclaw_modle", "There is no setting nemoclaw_modle. Did you mean nemoclaw_model?"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(environment: dict[str, str], name: str, said: str, resolve: Resolve) -> None:
    (found,) = resolve("", environment, f"lookup({LOOKUP}, '{name}')")
    assert said in found["error"]
