# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A powershell.exe that keeps the state of a Windows machine in a file, and a wslpath beside it.

The real part cannot run: there is no Windows where the tests run, and no package registry that they reach has PowerShell. So
this program runs no script at all. It knows those of plugins/module_utils/windows/scripts.py byte for byte (their SHA-256, taken
when it is put in place), does to its state what each of them would do, and refuses everything else with exit code 64.

Put it in place, on the machine that has the repository (the collection has to lie below ansible_collections, or on PYTHONPATH):

    python powershell_double.py FOLDER [--preset bare|installed|loopback|running] [--change JSON] [--hook COMMAND] [--python PATH]

FOLDER then has C(powershell.exe), C(wslpath), C(powershell_double.json) (the settings), C(windows.json) (the state) and
C(windows_machine.py). The folder can be copied anywhere; it needs only the Python of --python (default: /usr/bin/python3). Have it
first on PATH, or powershell.exe linked into a folder of PATH, and WSL_DISTRO_NAME set, so that the host looks like WSL.

--change is merged into the state (see laptop() for its keys). --hook is a shell command that runs whenever a daemon starts or
stops on "Windows", with WINDOWS_EVENT (start, stop) and, for a start, OLLAMA_HOST in its environment; a laboratory starts
and stops a real Ollama elsewhere by it. It has to return at once (the daemon in the background); what it prints goes to
FOLDER/hook.log. Where it fails, a start does not bind. A preset that runs already does not call it.

State keys that misbehave, in the list "misbehave": hang, banner, localised, policy, policy_error, interop_off, garbage,
utf16, never_binds, app_never_binds, binds_loopback, silent (listens, answers nothing), unguarded, wont_stop, variable_reset,
install_fails, install_hangs, install_elsewhere.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windows_machine import WSL_SHARE, Windows, laptop

SETTINGS, STATE = "powershell_double.json", "windows.json"
ARGUMENTS = [
    "-NoLogo",
    "-NoProfile",
    "-NonInteractive",
    "-InputFormat",
    "None",
    "-OutputFormat",
    "Text",
    "-ExecutionPolicy",
    "Bypass",
    "-EncodedCommand",
]
PARAMETERS = {
    "look": {"port", "limit"},
    "set_variable": {"value", "limit"},
    "stop": {"limit"},
    "start": {"path", "serve", "host", "limit"},
    "install": {"source", "program", "sha256", "version", "host", "seconds", "limit"},
}
REFUSED = 64


def install(folder: Path, state: dict[str, Any], hook: str | None = None, python: str = "/usr/bin/python3") -> Path:
    """Put the double into a folder and return the path of its state."""
    # A clone that lies below no ansible_collections has the collection on PYTHONPATH.
    homes = [folder.parent for folder in Path(__file__).absolute().parents if folder.name == "ansible_collections"]
    sys.path[:0] = [str(home) for home in homes[:1]]
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows import scripts

    folder.mkdir(parents=True, exist_ok=True)
    known = {_digest(getattr(scripts, name.upper())): name for name in PARAMETERS}
    settings = {"hook": hook, "scripts": known}
    (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    (folder / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")
    inside = Path(__file__).with_name("windows_machine.py").read_text(encoding="utf-8")
    (folder / "windows_machine.py").write_text(inside, encoding="utf-8")
    for name in ("powershell.exe", "wslpath"):
        path = folder / name
        path.write_text(f"#!{python}\n" + Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
        path.chmod(0o755)
    return folder / STATE


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def refuse(why: str) -> int:
    """Say why this is nothing that the double knows."""
    print(f"powershell double: refused: {why}", file=sys.stderr)
    return REFUSED


def powershell(arguments: Sequence[str], home: Path) -> int:
    """Answer one call."""
    settings = json.loads((home / SETTINGS).read_text(encoding="utf-8"))
    if list(arguments[:-1]) != ARGUMENTS:
        return refuse(f"arguments {arguments[:-1]}")
    script = base64.b64decode(arguments[-1], validate=True).decode("utf-16-le")
    first, _newline, body = script.partition("\n")
    given = re.fullmatch(r"\$NemoclawInput = '([A-Za-z0-9+/=]*)'", first)
    name = settings["scripts"].get(_digest(body))
    if given is None or name is None:
        return refuse(f"a script that it does not know, beginning with {script[:60]!r}")
    parameters = json.loads(base64.b64decode(given[1]))
    if set(parameters) != PARAMETERS[name] or not isinstance(parameters.pop("limit"), int):
        return refuse(f"parameters {sorted(parameters)} for {name}")
    with (home / STATE).open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        state["calls"].append(name)
        answer = None if _is_kept(state["misbehave"]) else getattr(Windows(state, settings["hook"]), name)(**parameters)
        file.seek(0)
        file.truncate()
        json.dump(state, file, indent=2)
    return _say(answer, state["misbehave"], home)


def _is_kept(misbehave: list[str]) -> bool:
    """Tell whether a script never gets as far as doing anything."""
    return bool({"hang", "localised", "policy", "policy_error", "interop_off", "garbage"} & set(misbehave))


def _say(answer: dict[str, Any] | None, misbehave: list[str], home: Path) -> int:
    """Write as PowerShell would, with what is around it, and return its exit code."""
    if "hang" in misbehave:
        import subprocess  # here, since it takes long, and tests make hundreds of calls

        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note = home / "hanging.new"
        note.write_text(f"{os.getpid()} {child.pid}")
        note.rename(home / "hanging")
        time.sleep(600)
    text = {
        "localised": 'Die Benennung "ConvertTo-Json" wurde nicht erkannt. \u00dcberpr\u00fcfen Sie die Schreibweise.\r\n',
        "policy": '#< CLIXML\r\n<Objs><S S="Error">Die Methode kann nicht aufgerufen werden._x000D__x000A_ + '
        "FullyQualifiedErrorId : MethodInvocationNotSupportedInConstrainedLanguage_x000D_</S></Objs>",
        "interop_off": "WSL Interoperability is disabled. Please enable it before running Windows binaries.\n",
        "garbage": 'NEMOCLAW-ANSWER:{"user": \r\n',
    }
    for kind, said in text.items():
        if kind in misbehave:
            sys.stdout.buffer.write(said.encode("cp850" if kind == "localised" else "utf-8"))
            return 1
    if "policy_error" in misbehave:
        answer = {
            "error": {
                "id": "UnauthorizedAccess,Microsoft.PowerShell.Commands.ImportModuleCommand",
                "type": "System.Management.Automation.PSSecurityException",
                "message": "Die Ausf\u00fchrung von Skripts ist auf diesem System deaktiviert.",
                "line": 30,
            }
        }
    # json.dumps writes ASCII, as the scripts do.
    line = f"NEMOCLAW-ANSWER:{json.dumps(answer)}\r\n"
    if "banner" in misbehave:
        line = f"\ufeffWillkommen, J\u00f6rg!\r\n\r\nNEMOCLAW-ANSWER:[1]\r\n{line}Auf Wiedersehen\r\n"
    sys.stdout.buffer.write(line.encode("utf-16-le" if "utf16" in misbehave else "utf-8"))
    return 1 if answer is not None and "error" in answer else 0


def wslpath(arguments: Sequence[str]) -> int:
    """Answer C(wslpath -w PATH), and refuse everything else."""
    if len(arguments) != 2 or arguments[0] != "-w" or not arguments[1].startswith("/"):
        return refuse(f"wslpath {list(arguments)}")
    print(WSL_SHARE + arguments[1].replace("/", "\\"))
    return 0


def main() -> int:
    """Be whatever the name says."""
    name, home = Path(sys.argv[0]).name, Path(__file__).resolve().parent
    if name == "powershell.exe":
        return powershell(sys.argv[1:], home)
    if name == "wslpath":
        return wslpath(sys.argv[1:])
    import argparse

    parser = argparse.ArgumentParser(description="Put a stand-in for powershell.exe in place.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=["bare", "installed", "loopback", "running"], default="installed")
    parser.add_argument("--change", type=json.loads, default={})
    parser.add_argument("--hook")
    parser.add_argument("--python", default="/usr/bin/python3")
    options = parser.parse_args()
    print(install(options.folder, laptop(options.preset, **options.change), options.hook, options.python))
    return 0


if __name__ == "__main__":
    sys.exit(main())
