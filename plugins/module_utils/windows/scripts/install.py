# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Install Ollama on Windows by its own installer: fetched or copied to a private folder, its checksum proved, then run."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.frame import encoded, frame

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
