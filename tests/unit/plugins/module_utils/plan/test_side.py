# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Ollama serves a WSL, why, and what is refused: a table, with what the module ollama_windows tells of each Windows.

What the role does then is in molecule/wsl.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.choice import BLIND_CODES
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_windows
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.ollama import decide_ollama

REPO = Path(__file__).resolve().parents[5]
sys.path.insert(0, str(REPO / "tests" / "servers"))
import powershell_double

Make = Callable[..., Any]

# Each Windows that may be around it: what the module says of it, on a stand-in for powershell.exe.
LAPTOPS: dict[str, tuple[str, list[str]]] = {
    "bare": ("bare", []),
    "installed": ("installed", []),
    "loopback": ("loopback", []),
    "policy": ("bare", ["policy"]),
    "interop_off": ("bare", ["interop_off"]),
}

DESKTOP: dict[str, Any] = {"docker": "desktop"}
BOTH: dict[str, Any] = {**DESKTOP, "daemon": "0.9.3", "windows": "0.9.3"}
START_WINDOWS = {"nemoclaw_provider": "start-windows-ollama"}
ON_LOOPBACK = {"ollama_windows_bind": "loopback"}
WSL, WINDOWS = ({"ollama_side": side} for side in ("wsl", "windows"))


def taken(side: str, says: str, settings: dict[str, Any] | None = None, laptop: str = "bare", **facts: Any) -> Any:
    return {"side": side, "says": says}, settings or {}, laptop, facts


def refused(says: str, settings: dict[str, Any] | None = None, laptop: str = "bare", **facts: Any) -> Any:
    return {"refused": says}, settings or {}, laptop, facts


CASES = [
    taken("wsl", "the engine of this WSL is native"),
    taken("wsl", "none answers here .no engine", docker="none"),
    taken("windows", "because it runs there, at host.docker.internal:11434", **DESKTOP, windows="0.9.3"),
    taken("wsl", "because it runs there", **DESKTOP, daemon="0.9.3"),
    taken("wsl", "interop is off", **DESKTOP, path="/usr/bin/ollama", interop=False),
    taken("windows", "as the recorded route has it", **DESKTOP, daemon="0.9.3", route="start-windows-ollama"),
    taken("wsl", "as the recorded route has it", **DESKTOP, route="ollama"),
    taken("windows", "nemoclaw_provider is start-windows-ollama", START_WINDOWS, **DESKTOP, daemon="0.9.3"),
    taken("windows", "nemoclaw_provider", {"nemoclaw_provider": "Start-Windows-Ollama"}, **BOTH),
    taken("windows", "ollama_side is windows", WINDOWS, **BOTH),
    taken("wsl", "as ollama_side is wsl", WSL, **DESKTOP, daemon="0.9.3"),
    taken("wsl", "the engine of this WSL is native", daemon="0.9.3", windows="0.9.3"),
    refused("ollama_side: windows", **BOTH),
    refused("Quit that one", WSL, **BOTH),
    refused("Quit that one", **DESKTOP, windows="0.9.3", route="ollama"),
    refused("only with Docker Desktop", START_WINDOWS, windows="0.9.3"),
    refused("no engine here", WINDOWS, docker="none"),
    refused("set-version", **DESKTOP, version=1),
    refused("no answer within 15 s", **DESKTOP, version=None),
    # WSL does not reach what runs on the loopback of Windows, and containers of Docker Desktop do.
    refused("on Windows .0.32.9 at its loopback.", laptop="loopback", **DESKTOP, daemon="0.9.3"),
    refused("Quit that one", WSL, laptop="loopback", **DESKTOP, daemon="0.9.3"),
    taken("windows", "for Windows only", laptop="loopback", **DESKTOP, path="/usr/bin/ollama"),
    taken("windows", "because it is installed there", laptop="installed", **DESKTOP),
    taken("windows", "there is no Ollama yet", **DESKTOP),
    # One port for both sides, whatever the engine is.
    refused("share port 11434.*ollama_port", mode="mirrored", windows="0.9.3"),
    refused("share port 11434.*ollama_side: windows", WSL, mode="mirrored", **DESKTOP, windows="0.9.3"),
    taken("windows", "because it runs there", ON_LOOPBACK, mode="mirrored", **DESKTOP, windows="0.9.3"),
    refused("networkingMode=mirrored", ON_LOOPBACK, **DESKTOP, windows="0.9.3"),
    # An engine that does not answer may be Docker Desktop.
    refused("no engine here.*ollama_side: wsl", **DESKTOP, code="daemon_stopped"),
    refused("no engine here", docker="native", code="permission_denied", windows="0.9.3"),
    taken("wsl", "as ollama_side is wsl", WSL, docker="none", code="daemon_stopped"),
    # A Windows that cannot be asked matters only where nothing else decides.
    refused("policy of that machine.*ollama_side: wsl", laptop="policy", **DESKTOP),
    taken("wsl", "because it runs there", laptop="policy", **DESKTOP, daemon="0.9.3"),
    taken("wsl", "as ollama_side is wsl", WSL, laptop="interop_off", **DESKTOP),
    refused("qwen2.5, .*nemoclaw_yes", {**START_WINDOWS, "ollama_model": "qwen2.5"}, laptop="loopback", **DESKTOP),
]


def facts_of(make_host: Make, docker: str = "native", **facts: Any) -> dict[str, Any]:
    """Return the facts of a WSL, as inference_facts would tell them."""
    record = {"provider_name": "ollama-local", "model": "m", "base_url_host": "http://127.0.0.1:11434/v1"}
    found: dict[str, Any] = make_host(
        platform="wsl",
        problems={"wsl": "it gave no answer within 15 s."},
        wsl={
            "version": facts.get("version", 2),
            "distro": "Debian",
            "networking_mode": facts.get("mode", "nat"),
            "interop": facts.get("interop", True),
        },
        docker={
            "kind": docker,
            "reachable": docker != "none" and "code" not in facts,
            "code": facts.get("code", "absent"),
            "reason": "no engine here.",
        },
        ollama={
            "path": facts.get("path"),
            "daemon_version": facts.get("daemon"),
            "both_running": "daemon" in facts and "windows" in facts,
            "windows": {
                "host": "host.docker.internal:11434" if "windows" in facts else None,
                "daemon_version": facts.get("windows"),
                "problem": None,
            },
        },
        route={**record, "provider": facts["route"]} if "route" in facts else None,
    )
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the module ollama_windows tells of each Windows, as Ansible registers it."""
    found = {}
    for name, (preset, misbehave) in LAPTOPS.items():
        folder = tmp_path_factory.mktemp(name)
        laptop = {**powershell_double.laptop(preset), "misbehave": misbehave}
        powershell_double.install(folder, laptop, python=sys.executable)
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(SystemExit) as ended,
            patch_module_args({"state": "detected"}),
        ):
            patch.setenv("PATH", f"{folder}:/usr/bin:/bin")
            patch.setenv("WSL_DISTRO_NAME", "Debian")
            said: list[str] = []
            patch.setattr("builtins.print", lambda *words, said=said, **_options: said.append(str(words[0])))
            ollama_windows.main()
        assert ended.value.code in (0, 1)
        found[name] = json.loads(said[-1])
    return found


@pytest.mark.parametrize(
    ("wanted", "variables", "laptop", "facts"),
    CASES,
    ids=[f"{number}-{next(iter(case[0].values()))}" for number, case in enumerate(CASES)],
)
def test_side(
    wanted: dict[str, str],
    variables: dict[str, Any],
    laptop: str,
    facts: dict[str, Any],
    seen: dict[str, Any],
    make_host: Make,
    make_settings: Make,
) -> None:
    settings = make_settings(**{"nemoclaw_provider": "ollama", **variables})
    asked: list[str] = []

    def ask(name: str, _options: dict[str, Any]) -> dict[str, Any]:
        asked.append(name)
        return dict(seen[laptop]) if name == "ollama_windows" else {"actions": []}

    made = facts_of(make_host, **facts)
    if "refused" in wanted:
        with pytest.raises(Failure) as refused:
            decide_ollama(made, settings, False, ask)
        assert re.search(wanted["refused"], refused.value.message, re.DOTALL)
        assert refused.value.message.endswith("Nothing was changed.")
        return
    decision = decide_ollama(made, settings, False, ask)
    assert decision["is_windows"] == (wanted["side"] == "windows")
    assert decision["is_gated"] == (facts.get("docker") != "desktop")
    said = " ".join(decision["lines"])
    assert re.search(f"The Ollama of {'Windows' if decision['is_windows'] else 'this WSL'}, .*{wanted['says']}", said)
    # A call of PowerShell takes seconds.
    assert asked.count("ollama_windows") == (
        facts.get("docker") == "desktop" and facts.get("interop", True) and "windows" not in facts
    )


@pytest.mark.parametrize(
    ("laptop", "facts", "said"),
    [
        ("policy", {**DESKTOP, "daemon": "0.9.3"}, "policy of that machine.*A container checks whether another"),
        ("bare", {"daemon": "0.9.3"}, "through the auth proxy"),
        (
            "bare",
            {**BOTH, "asked": WINDOWS},
            "host.docker.internal:11434, without an auth proxy.*The other one runs as well",
        ),
    ],
)
def test_what_is_said_of_a_side(
    laptop: str, facts: dict[str, Any], said: str, seen: dict[str, Any], make_host: Make, make_settings: Make
) -> None:
    given = dict(facts)
    settings = make_settings(nemoclaw_provider="ollama", **given.pop("asked", {}))
    found = decide_ollama(
        facts_of(make_host, **given),
        settings,
        False,
        lambda name, _options: seen[laptop] if name == "ollama_windows" else {},
    )
    assert re.search(said, " ".join(found["lines"]), re.DOTALL)


def test_a_windows_that_says_something_else_than_what_is_there_ends_the_look(
    make_host: Make, make_settings: Make
) -> None:
    said = {
        "failed": True,
        "msg": "It crashed.",
        "failure": {"code": "windows_ollama_no_answer", "message": "It crashed."},
    }
    with pytest.raises(Failure) as refused:
        decide_ollama(
            facts_of(make_host, **DESKTOP), make_settings(nemoclaw_provider="ollama"), False, lambda *_asked: said
        )
    assert refused.value.code == "windows_ollama_no_answer"


def test_the_role_knows_the_same_codes_of_a_windows_that_cannot_be_asked() -> None:
    constants = yaml.safe_load((REPO / "roles" / "ollama" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert constants["__ollama_blind_codes"] == list(BLIND_CODES)
