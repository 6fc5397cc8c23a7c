# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WSL host in a folder, whose powershell.exe is powershell_double.py; for the unit tests of plugins/module_utils/windows."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import powershell_double
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    CommandResult,
    Machine,
    find_account,
    run_command,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.powershell import Windows
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.presence import Keeper
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.refusals import Desired, make_desired

OPTIONS: dict[str, Any] = {
    "state": "restarted",
    "bind": "all",
    "port": 11434,
    "host": "127.0.0.1",
    "require_reachable": True,
    "tries": 2,
    "interval": 0,
    "timeout": 60,
    "url": "https://ollama.com/install.ps1",
    "checksum": None,
    "version": None,
    "minimum_version": None,
    "install_timeout": 60,
}


def desired(**options: Any) -> Desired:
    return make_desired({**OPTIONS, **options})


def _in_this_process(argv: Sequence[str], _limit_s: float, _environ: Mapping[str, str]) -> CommandResult:
    """Ask the stand-in as C(run_command) does, without a start of Python for each of hundreds of calls."""
    said = io.BytesIO()
    output = io.TextIOWrapper(said, encoding="utf-8")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = powershell_double.powershell(argv[1:], Path(argv[0]).parent)
    output.flush()
    return CommandResult(code, said.getvalue().decode("utf-8", "replace"))


class Laptop:
    """A WSL host, the Windows around it, and the home of its user; by_process: PowerShell is a process, as it is there."""

    def __init__(self, folder: Path, by_process: bool = False) -> None:
        self._runner = run_command if by_process else _in_this_process
        self.root = folder / "root"
        self.home = folder / "home"
        self.home.mkdir()
        for path, text in (("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n"), ("etc/wsl.conf", "")):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)
        self.bin = self.root / "opt/windows"
        self.state_path = self.bin / powershell_double.STATE
        self.machine = Machine(root=self.root, environ={"PATH": "/opt/windows", "WSL_DISTRO_NAME": "Ubuntu"})
        self.keeper = Keeper(self.account)

    @property
    def account(self) -> Account:
        return find_account()._replace(home=str(self.home))

    def boot(self, preset: str = "installed", hook: str | None = None, **changes: Any) -> Windows:
        """Set Windows up and return the way to it."""
        powershell_double.install(self.bin, powershell_double.laptop(preset, **changes), hook, python=sys.executable)
        return self.connect()

    def connect(self, port: int = 11434, timeout: float = 60) -> Windows:
        return Windows(self.machine, port, timeout, self._runner)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_path.read_text(encoding="utf-8"))
        return state

    def change(self, **changes: Any) -> None:
        self.state_path.write_text(json.dumps({**self.state, **changes}), encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        """Return the names of the scripts that changed something."""
        return [name for name in self.state["calls"] if name != "look"]
