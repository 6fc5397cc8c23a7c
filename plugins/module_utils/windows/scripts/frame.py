# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What stands around every script: its parameters before it, its answer as one line of ASCII after it, a limit of its own.

The parameters travel as base64 of JSON in the first line, so that nothing of them is ever read as code. The rest of a
script never changes, so that a stand-in for powershell.exe can know it byte for byte. Written for Windows PowerShell 5.1, whose
ConvertTo-Json writes a list that came out of New-Object as an object with a count: lists are made by a cast.
"""

from __future__ import annotations

import base64
import json
from typing import Any

# Starts the one line that is ours among a profile's banners and whatever else writes to the same stream.
MARK = "NEMOCLAW-ANSWER:"
_FIRST = "$NemoclawInput = '{parameters}'\n"

# Killing powershell.exe on the Linux side does not surely end the process on the Windows side, so it ends itself, and its
# children with it, when the time is up. The parameters hold "limit", in seconds.
_HEAD = r"""
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false) } catch { $Error.Clear() }

function Write-Answer($answer) {
    $json = ConvertTo-Json -InputObject $answer -Depth 6 -Compress
    $escape = { param($found) '\u{0:x4}' -f [int][char]$found.Value }
    $ascii = [regex]::Replace($json, '[^\x20-\x7e]', $escape)
    [Console]::Out.WriteLine('NEMOCLAW-ANSWER:' + $ascii)
}

$watchdog = $null
try {
    $bytes = [System.Convert]::FromBase64String($NemoclawInput)
    $parameters = [System.Text.Encoding]::UTF8.GetString($bytes) | ConvertFrom-Json
    $watchdog = [System.Management.Automation.PowerShell]::Create()
    [void]$watchdog.AddScript('param($seconds, $process) Start-Sleep -Seconds $seconds; & taskkill.exe /T /F /PID $process')
    [void]$watchdog.AddArgument([int]$parameters.limit).AddArgument($PID).BeginInvoke()
"""

_TAIL = r"""
    $watchdog.Stop()
    exit 0
} catch {
    $reason = $_.Exception
    while ($reason.InnerException) { $reason = $reason.InnerException }
    Write-Answer @{ error = @{
        id = [string]$_.FullyQualifiedErrorId
        type = $reason.GetType().FullName
        message = [string]$reason.Message
        line = [int]$_.InvocationInfo.ScriptLineNumber
    } }
    if ($watchdog) { $watchdog.Stop() }
    exit 1
}
"""


def frame(body: str) -> str:
    """Return a whole script without its parameters."""
    return _HEAD + body + _TAIL


def with_parameters(script: str, parameters: dict[str, Any]) -> str:
    """Return what PowerShell runs: a script of ours with C(parameters) in front."""
    text = base64.b64encode(json.dumps(parameters).encode()).decode()
    return _FIRST.format(parameters=text) + script


def encoded(script: str) -> str:
    """Return a script as C(-EncodedCommand) takes it: base64 of UTF-16, little endian."""
    return base64.b64encode(script.encode("utf-16-le")).decode()
