# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Change what runs on Windows: the variable, stop, start. Each says what it found and what it did."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.frame import frame

# Parameters: value, null to remove it. The broadcast to open windows that this makes may take seconds.
SET_VARIABLE = frame(r"""
    $before = [Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User')
    $value = $parameters.value
    if ($null -ne $value) { $value = [string]$value }
    [Environment]::SetEnvironmentVariable('OLLAMA_HOST', $value, 'User')
    Write-Answer @{ before = $before; after = [Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User') }
""")

# No parameters. The tray app first: it would start a daemon again, on loopback (upstream-facts N9). Processes of other
# users are left alone, whatever the rights are that this one has.
STOP = frame(r"""
    $me = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
    function Get-Mine([string]$name) {
        foreach ($one in @(Get-CimInstance -ClassName Win32_Process -Filter "Name = '$name'")) {
            $sid = $null
            try { $sid = [string](Invoke-CimMethod -InputObject $one -MethodName GetOwnerSid).Sid } catch { $sid = $null }
            if ($sid -eq $me) { $one }
        }
    }
    $stopped = [System.Collections.ArrayList]@()
    $left = [System.Collections.ArrayList]@()
    foreach ($name in @('ollama app.exe', 'ollama.exe')) {
        $until = (Get-Date).AddSeconds(10)
        foreach ($one in @(Get-Mine $name)) {
            Stop-Process -Id $one.ProcessId -Force -ErrorAction SilentlyContinue
            [void]$stopped.Add(@{ name = $name; pid = [int]$one.ProcessId })
        }
        while (@(Get-Mine $name).Count -gt 0 -and (Get-Date) -lt $until) { Start-Sleep -Milliseconds 200 }
        foreach ($one in @(Get-Mine $name)) { [void]$left.Add(@{ name = $name; pid = [int]$one.ProcessId }) }
    }
    Write-Answer @{ stopped = $stopped; left = $left }
""")

# Parameters: path, serve (false for the tray app), host. ShellExecute (no -NoNewWindow, no redirection) hands no handle on:
# a daemon that inherited our output would keep the call open for as long as it runs.
START = frame(r"""
    $path = [string]$parameters.path
    $env:OLLAMA_HOST = [string]$parameters.host
    $arguments = @{ FilePath = $path; WorkingDirectory = (Split-Path -Parent $path); PassThru = $true; WindowStyle = 'Hidden' }
    # The app as its own installer starts it: without a window of its own.
    $arguments.ArgumentList = $(if ($parameters.serve) { 'serve' } else { '--hide --fast-startup' })
    $process = Start-Process @arguments
    Write-Answer @{ pid = [int]$process.Id }
""")
