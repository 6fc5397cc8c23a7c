# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The scripts that run on Windows: look, set the variable, stop, start, install, and what stands around each (upstream-facts N9).

The parameters travel as base64 of JSON in the first line, so that nothing of them is ever read as code. The rest of a script never changes,
so that a stand-in for powershell.exe can know it byte for byte. The answer is one line of ASCII, and a script ends by a limit of its own.
Written for Windows PowerShell 5.1, whose ConvertTo-Json writes a list that came out of New-Object as an object with a count: lists are made
by a cast.
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


# Runs the installer's text as "irm https://ollama.com/install.ps1 | iex" does, which no execution policy forbids, and
# keeps what it says. It gets its paths by the environment.
CHILD = r"""
$ProgressPreference = 'SilentlyContinue'
try {
    $text = [System.IO.File]::ReadAllText($env:OLLAMA_INSTALLER)
    & ([scriptblock]::Create($text)) *> $env:OLLAMA_INSTALLER_LOG
    exit 0
} catch {
    $_ | Out-String | Out-File -LiteralPath $env:OLLAMA_INSTALLER_LOG -Append
    exit 1
}
"""

# Parameters: source (a URL, or a path as Windows sees it), program (whether it is OllamaSetup.exe and not install.ps1),
# sha256 or null, version or null, host, seconds. WaitForExit and not -Wait: that waits for all descendants, and the installer
# starts Ollama, which does not end.
INSTALL = frame(
    r"""
    $child = '@CHILD@'
    $folder = Join-Path ([System.IO.Path]::GetTempPath()) ('nemoclaw-' + [Guid]::NewGuid().ToString('N'))
    [void](New-Item -ItemType Directory -Path $folder)
    $answer = @{ stage = 'fetch'; found = $null; code = $null; log = '' }
    try {
        $source = [string]$parameters.source
        $file = Join-Path $folder $(if ($parameters.program) { 'OllamaSetup.exe' } else { 'install.ps1' })
        try {
            if ($source -match '^https?://') {
                [System.Net.ServicePointManager]::SecurityProtocol = [System.Net.SecurityProtocolType]::Tls12
                Invoke-WebRequest -Uri $source -OutFile $file -UseBasicParsing
            } else {
                Copy-Item -LiteralPath $source -Destination $file
            }
        } catch {
            $answer.log = [string]$_.Exception.Message
            Write-Answer $answer
            $watchdog.Stop()
            exit 0
        }
        $answer.stage = 'checksum'
        $answer.found = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash.ToLowerInvariant()
        if (-not $parameters.sha256 -or $parameters.sha256 -eq $answer.found) {
            $answer.stage = 'run'
            $log = Join-Path $folder 'install.log'
            $env:OLLAMA_INSTALLER = $file
            $env:OLLAMA_INSTALLER_LOG = $log
            $env:OLLAMA_HOST = [string]$parameters.host
            if ($parameters.version) { $env:OLLAMA_VERSION = [string]$parameters.version }
            if ($parameters.program) {
                $command = @{ FilePath = $file; ArgumentList = '/VERYSILENT /SUPPRESSMSGBOXES /NORESTART' }
            } else {
                $line = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand ' + $child
                $command = @{ FilePath = (Get-Process -Id $PID).Path; ArgumentList = $line; WindowStyle = 'Hidden' }
            }
            $process = Start-Process @command -PassThru
            [void]$process.Handle
            if ($process.WaitForExit(1000 * [int]$parameters.seconds)) {
                $answer.code = [int]$process.ExitCode
            } else {
                & taskkill.exe /T /F /PID $process.Id | Out-Null
            }
            if (Test-Path -LiteralPath $log) {
                $answer.log = [string](@(Get-Content -LiteralPath $log -Tail 20) -join "`n")
            }
        }
    } finally {
        Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    }
    Write-Answer $answer
""".replace("@CHILD@", encoded(CHILD))
)


# Parameters: port.
# The order of the candidates is NemoClaw's own: command, running process, known folders; the registry comes last.
LOOK = frame(r"""
    $port = [int]$parameters.port
    $me = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    # What started us may be older than an installation: read the PATH of today.
    $machinePath = [Environment]::GetEnvironmentVariable('Path', 'Machine')
    $env:Path = $machinePath + ';' + [Environment]::GetEnvironmentVariable('Path', 'User')

    $candidates = [System.Collections.ArrayList]@()
    # Join-Path and Split-Path stop at a drive that is not there now: one of a network, or what a registry entry remembers.
    function Add-Candidate([string]$how, [string]$path) {
        if (-not $path) { return }
        if (-not (Test-Path -LiteralPath $path -PathType Leaf -ErrorAction SilentlyContinue)) { return }
        $app = [System.IO.Path]::Combine([System.IO.Path]::GetDirectoryName($path), 'ollama app.exe')
        $hasApp = Test-Path -LiteralPath $app -PathType Leaf -ErrorAction SilentlyContinue
        [void]$candidates.Add(@{
            how = $how
            path = $path
            app = $(if ($hasApp) { $app } else { $null })
            version = [string](Get-Item -LiteralPath $path).VersionInfo.ProductVersion
        })
    }
    function Add-Folder([string]$how, [string]$folder) {
        if (-not $folder) { return }
        # What cannot be read is no candidate.
        try { Add-Candidate $how ([System.IO.Path]::Combine($folder.Trim(' "'), 'ollama.exe')) } catch { $Error.Clear() }
    }
    function Add-Beside([string]$how, [string]$file) {
        if (-not $file) { return }
        try { Add-Folder $how ([System.IO.Path]::GetDirectoryName($file)) } catch { $Error.Clear() }
    }

    $processes = [System.Collections.ArrayList]@()
    foreach ($one in @(Get-CimInstance -ClassName Win32_Process -Filter "Name = 'ollama.exe' OR Name = 'ollama app.exe'")) {
        # Windows tells nobody but an administrator whose the processes of others are.
        $owner = $null
        $sid = $null
        try {
            $answer = Invoke-CimMethod -InputObject $one -MethodName GetOwner
            if ($answer.ReturnValue -eq 0) { $owner = [string]$answer.Domain + '\' + [string]$answer.User }
            $sid = [string](Invoke-CimMethod -InputObject $one -MethodName GetOwnerSid).Sid
        } catch { $sid = $null }
        [void]$processes.Add(@{
            name = [string]$one.Name
            pid = [int]$one.ProcessId
            path = $(if ($one.ExecutablePath) { [string]$one.ExecutablePath } else { $null })
            owner = $owner
            mine = ($sid -eq $me.User.Value)
        })
    }

    $command = Get-Command -Name 'ollama.exe' -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if ($command) { Add-Candidate 'command' ([string]$command.Path) }
    foreach ($one in $processes) {
        if ($one.mine) { Add-Beside 'process' ([string]$one.path) }
    }
    if ($env:LOCALAPPDATA) { Add-Folder 'folder' ($env:LOCALAPPDATA + '\Programs\Ollama') }
    foreach ($base in @($env:ProgramFiles, ${env:ProgramFiles(x86)})) {
        if ($base) { Add-Folder 'folder' ($base + '\Ollama') }
    }
    $uninstall = 'Microsoft\Windows\CurrentVersion\Uninstall\*'
    $keys = @("HKCU:\Software\$uninstall", "HKLM:\Software\$uninstall", "HKLM:\Software\WOW6432Node\$uninstall", 'HKCU:\Software\Ollama')
    foreach ($key in $keys) {
        # One value of another program that is malformed makes a whole key unreadable.
        try { $entries = @(Get-ItemProperty -Path $key -ErrorAction SilentlyContinue) } catch { $entries = @() }
        foreach ($entry in $entries) {
            if ([string]$entry.DisplayName -like 'Ollama*') { Add-Folder 'registry' ([string]$entry.InstallLocation) }
            if ($entry.InstallDir) { Add-Folder 'registry' ([string]$entry.InstallDir) }
        }
    }

    $others = [System.Collections.ArrayList]@()
    $profiles = 'HKLM:\Software\Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-*'
    foreach ($entry in @(Get-ItemProperty -Path $profiles -ErrorAction SilentlyContinue)) {
        $home_ = [string]$entry.ProfileImagePath
        if (-not $home_ -or $home_ -eq $env:USERPROFILE) { continue }
        try {
            $path = [System.IO.Path]::Combine($home_, 'AppData\Local\Programs\Ollama\ollama.exe')
            if (Test-Path -LiteralPath $path -PathType Leaf -ErrorAction SilentlyContinue) {
                [void]$others.Add(@{ user = [System.IO.Path]::GetFileName($home_); path = $path })
            }
        } catch { $Error.Clear() }
    }

    $listeners = [System.Collections.ArrayList]@()
    foreach ($one in @(Get-NetTCPConnection -State Listen -LocalPort $port -ErrorAction SilentlyContinue)) {
        $process = Get-Process -Id $one.OwningProcess -ErrorAction SilentlyContinue
        [void]$listeners.Add(@{
            address = [string]$one.LocalAddress
            port = [int]$one.LocalPort
            pid = [int]$one.OwningProcess
            process = $(if ($process) { [string]$process.ProcessName } else { $null })
        })
    }

    # Answers with the status of GET on loopback, 0 where there was none, and the body.
    function Get-Answer([string]$path, [string]$hostName) {
        $answer = @{ status = 0; body = '' }
        try {
            $request = [System.Net.WebRequest]::Create("http://127.0.0.1:$port$path")
            $request.Timeout = 3000
            $request.ReadWriteTimeout = 3000
            $request.Proxy = $null
            if ($hostName) { $request.Host = $hostName }
            $response = $request.GetResponse()
            $reader = New-Object System.IO.StreamReader($response.GetResponseStream())
            $answer.status = [int]$response.StatusCode
            $answer.body = $reader.ReadToEnd()
            $response.Close()
        } catch {
            $reason = $_.Exception
            while ($reason.InnerException -and -not ($reason -is [System.Net.WebException])) { $reason = $reason.InnerException }
            if ($reason -is [System.Net.WebException] -and $reason.Response) { $answer.status = [int]$reason.Response.StatusCode }
        }
        return $answer
    }
    $answers = $false
    $guarded = $null
    $version = $null
    $models = $null
    if ($listeners.Count -gt 0) {
        $tags = Get-Answer '/api/tags' ''
        $answers = ($tags.status -eq 200 -and $tags.body -match '"models"')
    }
    if ($answers) {
        $models = [System.Collections.ArrayList]@()
        foreach ($one in @(($tags.body | ConvertFrom-Json).models)) { if ($one.name) { [void]$models.Add([string]$one.name) } }
        if ((Get-Answer '/api/version' '').body -match '"version"\s*:\s*"([^"]+)"') { $version = $Matches[1] }
        # On loopback Ollama checks the Host header, elsewhere it does not (ollama issues 3269, 6021).
        $guarded = ((Get-Answer '/api/tags' 'untrusted.invalid').status -eq 403)
    }

    Write-Answer @{
        user = $me.Name
        windows = [string][Environment]::OSVersion.Version
        powershell = [string]$PSVersionTable.PSVersion
        candidates = $candidates
        processes = $processes
        others = $others
        listeners = $listeners
        answers = $answers
        guarded = $guarded
        version = $version
        models = $models
        variable = [Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User')
        machine_variable = [Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'Machine')
    }
""")
