# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts for Windows, read by a real parser of PowerShell; nothing that runs them can be had from PyPI, npm or Debian.

A parser finds a brace that is missing and not a cmdlet that does not exist, so the cmdlets and their parameters are compared with
those of Windows PowerShell 5.1 (Microsoft's reference, modules Microsoft.PowerShell.*, CimCmdlets, NetTCPIP, NetSecurity).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tree_sitter_powershell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows import presence
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts import (
    CHILD,
    INSTALL,
    LOOK,
    SET_VARIABLE,
    START,
    STOP,
)
from tree_sitter import Language, Parser

COMMON = {"-ErrorAction"}
# What 5.1 has, as far as we use it.
CMDLETS = {
    "ConvertFrom-Json": set(),
    "ConvertTo-Json": {"-InputObject", "-Depth", "-Compress"},
    "Copy-Item": {"-LiteralPath", "-Destination"},
    "Get-CimInstance": {"-ClassName", "-Filter"},
    "Get-Command": {"-Name", "-CommandType"},
    "Get-Content": {"-LiteralPath", "-Tail"},
    "Get-Date": set(),
    "Get-FileHash": {"-LiteralPath", "-Algorithm"},
    "Get-Item": {"-LiteralPath"},
    "Get-ItemProperty": {"-Path"},
    "Get-NetFirewallRule": {"-DisplayName"},
    "Get-NetTCPConnection": {"-State", "-LocalPort"},
    "Get-Process": {"-Id", "-Name"},
    "Invoke-CimMethod": {"-InputObject", "-MethodName"},
    "Invoke-RestMethod": set(),
    "Invoke-WebRequest": {"-Uri", "-OutFile", "-UseBasicParsing"},
    "Join-Path": set(),
    "New-Item": {"-ItemType", "-Path"},
    "New-NetFirewallHyperVRule": {
        "-Name",
        "-DisplayName",
        "-Direction",
        "-Action",
        "-VMCreatorId",
        "-Protocol",
        "-RemotePorts",
    },
    "New-NetFirewallRule": {"-DisplayName", "-Direction", "-Action", "-Protocol", "-LocalPort", "-RemoteAddress"},
    "New-Object": set(),
    "Out-File": {"-LiteralPath", "-Append"},
    "Out-Null": set(),
    "Out-String": set(),
    "Remove-Item": {"-LiteralPath", "-Recurse", "-Force"},
    "Select-Object": {"-First"},
    "Split-Path": {"-Leaf", "-Parent"},
    # Most of its parameters come from a table (@command), which the parser does not look into.
    "Start-Process": {"-PassThru"},
    "Start-Sleep": {"-Milliseconds", "-Seconds"},
    "Stop-Process": {"-Id", "-Force"},
    "Test-Path": {"-LiteralPath", "-PathType"},
}
PROGRAMS = {"taskkill.exe"}
# Whatever is only in PowerShell 7.
NEWER = {"&&", "||", "??", "??=", "?.", "?["}

SCRIPTS = {"look": LOOK, "set_variable": SET_VARIABLE, "stop": STOP, "start": START, "install": INSTALL}
TEXTS = {
    **SCRIPTS,
    "the installer's child": CHILD,
    "the watchdog": "param($seconds, $process) Start-Sleep -Seconds $seconds; & taskkill.exe /T /F /PID $process",
    **{f"look {number}": text for number, text in enumerate(presence.commands(11434))},
    "the firewall of Hyper-V": platform.hyper_v_command(11434),
    "set by hand": presence.set_command("it's"),
    **{f"firewall {number}": text for number, text in enumerate(platform.firewall_commands(11434))},
}


def parse(text: str) -> Any:
    return Parser(Language(tree_sitter_powershell.language())).parse(text.encode()).root_node


def nodes(root: Any) -> Iterator[Any]:
    yield root
    for child in root.children:
        yield from nodes(child)


def parameters(command: Any) -> Iterator[str]:
    """Yield the parameters of a command, and not those of commands among its arguments."""
    for child in command.children:
        if child.type == "command_parameter":
            yield child.text.decode()
        elif child.type != "command":
            yield from parameters(child)


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_powershell(name: str) -> None:
    broken = [
        f"line {node.start_point[0]}: {node.text[:60]!r}"
        for node in nodes(parse(TEXTS[name]))
        if node.is_error or node.is_missing
    ]
    assert broken == []


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("old", "new"), [("}\n", "\n"), ("foreach (", "foreach ("[:-1]), ("@{", "@")])
def test_the_parser_finds_what_is_broken(name: str, old: str, new: str) -> None:
    if old in SCRIPTS[name]:
        assert parse(SCRIPTS[name].replace(old, new, 1)).has_error


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_is_one_of_windows_powershell(name: str) -> None:
    root = parse(TEXTS[name])
    functions = {node.text.decode() for node in nodes(root) if node.type == "function_name"}
    assert not NEWER & {node.text.decode() for node in nodes(root) if not node.children}
    for node in nodes(root):
        if node.type != "command":
            continue
        command = node.child_by_field_name("command_name")
        # What follows & may be a script block, which the installer's child runs.
        if command is None or command.type == "command_name_expr" or command.text.decode() in functions | PROGRAMS:
            continue
        assert command.text.decode() in CMDLETS
        assert set(parameters(node)) <= CMDLETS[command.text.decode()] | COMMON


def test_the_watchdog_is_the_one_that_was_read() -> None:
    assert all(TEXTS["the watchdog"] in script for script in SCRIPTS.values())


def test_nothing_is_run_from_text_but_the_installer() -> None:
    for name, script in SCRIPTS.items():
        assert "Invoke-Expression" not in script
        assert "iex " not in script
        assert ("[scriptblock]" in script) is False, name
    assert CHILD.count("[scriptblock]::Create") == 1


def test_a_drive_that_is_gone_does_not_end_the_look() -> None:
    """Join-Path and Split-Path throw DriveNotFound for one, which ended the script for a registry entry of a program long gone."""
    names = [
        node.child_by_field_name("command_name") for node in nodes(parse(SCRIPTS["look"])) if node.type == "command"
    ]
    assert {"Join-Path", "Split-Path"} & {name.text.decode() for name in names if name is not None} == set()
    # Combine throws as well, for a character that no path may have.
    guarded = [
        line for line in SCRIPTS["look"].splitlines() if "Add-Candidate $how" in line or "Add-Folder $how" in line
    ]
    assert len(guarded) == 2
    assert all("try {" in line for line in guarded)
