# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Ollama the role takes on WSL, and why, by the expressions and the refusals of the role itself.

What the role does then is in tests/integration/targets/ollama_sides (each way it can go, once) and in molecule/wsl.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_windows

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))
import powershell_double

ROLE = Path(__file__).resolve().parents[2] / "roles" / "ollama"

# A process of its own, as in test_contracts.py. Tasks that assert are judged in the order of the role; the others only tell or look.
_PLAYER = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader()
loader = DataLoader()
defaults, constants, tasks = (
    loader.load_from_file(f"{sys.argv[1]}/{name}/{file}.yml", trusted_as_template=True)
    for name, file in (("defaults", "main"), ("vars", "main"), ("tasks", "side"))
)

def play(case):
    templar = Templar(loader=loader, variables={
        **defaults, **constants, **case["settings"], "ansible_check_mode": False, "ansible_facts": {"nemoclaw_host": case["host"]}
    })
    def holds(condition):
        return templar.template(trust_as_template("{{ " + str(condition) + " }}"))
    for task in tasks:
        if "nemoclaw.local_inference.ollama_windows" in task and holds(task["when"]):
            seen = {**case["seen"], "changed": False}
            templar.available_variables = {**templar.available_variables, "__ollama_seen": seen}
            if holds(task["failed_when"]):
                return {"refused": seen["msg"]}
        check = task.get("ansible.builtin.assert")
        if check and not holds(check["that"]):
            return {"refused": templar.template(check["fail_msg"])}
        if "ansible.builtin.debug" in task and holds(task.get("when", True)):
            said = templar.template(task["ansible.builtin.debug"]["msg"])
    choice = templar.template(constants["__ollama_choice"])
    return {**choice, "gated": templar.template(constants["__ollama_is_gated"]), "said": said}

print(json.dumps([play(case) for case in json.load(sys.stdin)]))
"""

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
START_WINDOWS = {"ollama_provider": "start-windows-ollama"}
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
    taken("windows", "nemoclaw_provider", {"ollama_provider": "Start-Windows-Ollama"}, **BOTH),
    taken("windows", "ollama_side is windows", WINDOWS, **BOTH),
    taken("wsl", "as ollama_side is wsl", WSL, **DESKTOP, daemon="0.9.3"),
    taken("wsl", "the engine of this WSL is native", daemon="0.9.3", windows="0.9.3"),
    refused("ollama_side: windows", **BOTH),
    refused("Quit that one", WSL, **BOTH),
    refused("Quit that one", **DESKTOP, windows="0.9.3", route="ollama"),
    refused("Docker Desktop alone", START_WINDOWS, windows="0.9.3"),
    refused("no engine here", WINDOWS, docker="none"),
    refused("set-version", **DESKTOP, version=1),
    refused("no answer within 15 s", **DESKTOP, version=None),
    # WSL does not reach what runs on the loopback of Windows, and containers of Docker Desktop do.
    refused("on Windows .0.32.9 at its loopback.", laptop="loopback", **DESKTOP, daemon="0.9.3"),
    refused("Quit that one", WSL, laptop="loopback", **DESKTOP, daemon="0.9.3"),
    taken("windows", "for Windows alone", laptop="loopback", **DESKTOP, path="/usr/bin/ollama"),
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


def host(docker: str = "native", **facts: Any) -> dict[str, Any]:
    """Return the facts of a WSL, as inference_facts would tell them."""
    record = {"provider_name": "ollama-local", "model": "m", "base_url_host": "http://127.0.0.1:11434/v1"}
    return {
        "platform": "wsl",
        "user": {"name": "lab", "home": "/home/lab"},
        "problems": {"wsl": "it gave no answer within 15 s."},
        "wsl": {
            "version": facts.get("version", 2),
            "distro": "Debian",
            "networking_mode": facts.get("mode", "nat"),
            "interop": facts.get("interop", True),
        },
        "docker": {
            "kind": docker,
            "reachable": docker != "none" and "code" not in facts,
            "code": facts.get("code", "absent"),
            "reason": "no engine here.",
        },
        "ollama": {
            "path": facts.get("path"),
            "client_version": None,
            "daemon_version": facts.get("daemon"),
            "both_running": "daemon" in facts and "windows" in facts,
            "windows": {
                "host": "host.docker.internal:11434" if "windows" in facts else None,
                "daemon_version": facts.get("windows"),
                "problem": None,
            },
        },
        "route": {**record, "provider": facts["route"]} if "route" in facts else None,
    }


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


@pytest.fixture(scope="module")
def played(seen: dict[str, Any]) -> list[dict[str, Any]]:
    defaults = {
        "ollama_side": "auto",
        "ollama_provider": "ollama",
        "ollama_model": "auto",
        "ollama_windows_bind": "all",
    }
    given = [
        {"settings": {**defaults, **settings}, "seen": seen[laptop], "host": host(**facts)}
        for _wanted, settings, laptop, facts in CASES
    ]
    done = subprocess.run(
        [sys.executable, "-c", _PLAYER, str(ROLE)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(CASES)))
def test_side(played: list[dict[str, Any]], number: int) -> None:
    wanted, _settings, _laptop, facts = CASES[number]
    found = played[number]
    if "refused" in wanted:
        assert re.search(wanted["refused"], found.get("refused", ""), re.DOTALL), found
        return
    assert (found.get("side"), found.get("gated")) == (wanted["side"], facts.get("docker") != "desktop"), found
    assert re.search(wanted["says"], found["reason"])
    assert found["reason"] in found["said"]
