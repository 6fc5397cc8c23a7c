# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Look at Ollama on Windows, and change nothing: where it is, what runs, who listens, what is set (upstream-facts N9)."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.frame import frame

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
