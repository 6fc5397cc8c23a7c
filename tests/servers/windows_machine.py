# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a Windows machine, and what each of our scripts would do to it: the inside of powershell_double.py."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

# A space and umlauts, as in many names of users.
HOME = "C:\\Users\\J\u00f6rg M\u00fcller"
FOLDER = HOME + "\\AppData\\Local\\Programs\\Ollama"
WSL_SHARE = "\\\\wsl.localhost\\Double"


def laptop(preset: str = "installed", **changes: Any) -> dict[str, Any]:
    """Return the state of a Windows machine: C(bare), C(installed), C(loopback) (runs there only) or C(running)."""
    installed = preset != "bare"
    state: dict[str, Any] = {
        "user": "LAPTOP\\J\u00f6rg M\u00fcller",
        # Where Ollama is, and by what it is found: command, folder, registry; null for nowhere.
        "folder": FOLDER if installed else None,
        "found_by": "command",
        "has_app": True,
        "version": "0.32.9",
        # What the installer brings.
        "installs": "0.32.9",
        "models": [],
        "processes": [],
        "listeners": [],
        "others": [],
        "variable": None,
        "machine_variable": None,
        # What an installer's URL delivers; others cannot be fetched.
        "downloads": {"https://ollama.com/install.ps1": "a" * 64},
        "next_pid": 5000,
        "misbehave": [],
        "calls": [],
    }
    if preset in ("loopback", "running"):
        state["variable"] = None if preset == "loopback" else "0.0.0.0:11434"
        _launch(state, state["variable"] or "127.0.0.1:11434", app=True)
    return {**state, **changes}


def _launch(state: dict[str, Any], host: str, app: bool) -> None:
    """Have a daemon, and the app that watches it, run and listen as OLLAMA_HOST says."""
    folder, owner = state["folder"], state["user"]
    pid = state["next_pid"]
    state["next_pid"] += 2
    if app:
        state["processes"].append(
            {"name": "ollama app.exe", "pid": pid, "path": f"{folder}\\ollama app.exe", "owner": owner}
        )
        if "app_never_binds" in state["misbehave"]:
            return
    state["processes"].append({"name": "ollama.exe", "pid": pid + 1, "path": f"{folder}\\ollama.exe", "owner": owner})
    if "never_binds" in state["misbehave"]:
        return
    address, _colon, port = host.rpartition(":")
    # Go listens on both families where 0.0.0.0 is asked for, and Windows shows that as :: (ollama issue 11613).
    shown = "127.0.0.1" if "binds_loopback" in state["misbehave"] else {"0.0.0.0": "::"}.get(address, address)
    state["listeners"].append({"address": shown, "port": int(port), "pid": pid + 1, "process": "ollama"})


class Windows:
    """The scripts, one method each: what it would answer, and what it would do to the machine."""

    def __init__(self, state: dict[str, Any], hook: str | None) -> None:
        self.state = state
        self._hook = hook

    def look(self, port: int) -> dict[str, Any]:
        """Do as LOOK."""
        state = self.state
        listeners = [one for one in state["listeners"] if one["port"] == port]
        mine = [one for one in listeners if (one["process"] or "").lower() == "ollama"]
        answers = bool(mine) and "silent" not in state["misbehave"]
        guarded = "unguarded" not in state["misbehave"] and all(one["address"] == "127.0.0.1" for one in mine)
        candidates = []
        if state["folder"]:
            app = f"{state['folder']}\\ollama app.exe" if state["has_app"] else None
            path = f"{state['folder']}\\ollama.exe"
            candidates = [{"how": state["found_by"], "path": path, "app": app, "version": state["version"]}]
        return {
            "user": state["user"],
            "windows": "10.0.22631.0",
            "powershell": "5.1.22621.4391",
            "candidates": candidates,
            "processes": [{**one, "mine": one["owner"] == state["user"]} for one in state["processes"]],
            "others": state["others"],
            "listeners": listeners,
            "answers": answers,
            "guarded": guarded if answers else None,
            "version": state["version"] if answers else None,
            "models": state["models"] if answers else None,
            "variable": state["variable"],
            "machine_variable": state["machine_variable"],
        }

    def set_variable(self, value: str | None) -> dict[str, Any]:
        """Do as SET_VARIABLE."""
        before = self.state["variable"]
        if "variable_reset" not in self.state["misbehave"]:
            self.state["variable"] = value or None
        return {"before": before, "after": self.state["variable"]}

    def stop(self) -> dict[str, Any]:
        """Do as STOP."""
        state = self.state
        mine = [one for one in state["processes"] if one["owner"] == state["user"]]
        short = [
            {"name": one["name"], "pid": one["pid"]}
            for one in sorted(mine, key=lambda one: one["name"] != "ollama app.exe")
        ]
        if "wont_stop" in state["misbehave"]:
            return {"stopped": short, "left": short}
        pids = {one["pid"] for one in mine}
        state["processes"] = [one for one in state["processes"] if one["pid"] not in pids]
        state["listeners"] = [one for one in state["listeners"] if one["pid"] not in pids]
        self._call_hook("stop")
        return {"stopped": short, "left": []}

    def start(self, path: str, serve: bool, host: str) -> dict[str, Any]:
        """Do as START."""
        known = f"{self.state['folder']}\\{'ollama.exe' if serve else 'ollama app.exe'}"
        if path != known:
            return {
                "error": {
                    "id": "InvalidOperationException,StartProcessCommand",
                    "type": "System.ComponentModel.Win32Exception",
                    "message": "Das System kann die angegebene Datei nicht finden",
                    "line": 40,
                }
            }
        if not self._call_hook("start", OLLAMA_HOST=host):
            self.state["processes"].append(
                {"name": "ollama.exe", "pid": self.state["next_pid"], "path": path, "owner": self.state["user"]}
            )
            self.state["next_pid"] += 2
        else:
            _launch(self.state, host, app=not serve)
        return {"pid": self.state["processes"][-1]["pid"]}

    def install(self, source: str, program: bool, sha256: str | None, host: str, **_others: Any) -> dict[str, Any]:
        """Do as INSTALL."""
        state = self.state
        if source.startswith(WSL_SHARE):
            path = Path(source[len(WSL_SHARE) :].replace("\\", "/"))
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        elif source in state["downloads"]:
            found = state["downloads"][source]
        else:
            return {
                "stage": "fetch",
                "found": None,
                "code": None,
                "log": "Der Remotename konnte nicht aufgel\u00f6st werden",
            }
        if sha256 and sha256 != found:
            return {"stage": "checksum", "found": found, "code": None, "log": ""}
        if "install_hangs" in state["misbehave"]:
            return {"stage": "run", "found": found, "code": None, "log": ">>> Downloading"}
        if "install_fails" in state["misbehave"]:
            return {
                "stage": "run",
                "found": found,
                "code": 1,
                "log": ">>> Downloading\nNicht gen\u00fcgend Speicherplatz",
            }
        if "install_elsewhere" not in state["misbehave"]:
            state["folder"], state["version"] = FOLDER, state["installs"]
            # The installer starts the app at its end, with the environment that it was given.
            self._call_hook("start", OLLAMA_HOST=host)
            _launch(state, host, app=True)
        return {"stage": "run", "found": found, "code": 0, "log": f">>> Installed {'program' if program else 'script'}"}

    def _call_hook(self, event: str, **environment: str) -> bool:
        if not self._hook:
            return True
        import subprocess  # here, since most calls do without it, and it takes long

        environ = {**os.environ, **environment, "WINDOWS_EVENT": event}
        # To a file: a daemon that inherits our output would hold it open, and the module would wait for that daemon's end.
        with Path(__file__).with_name("hook.log").open("ab") as log:
            done = subprocess.run(
                self._hook, shell=True, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        return done.returncode == 0
