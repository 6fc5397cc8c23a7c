#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_windows
version_added: "0.1.0"
short_description: Find, start, restart or install Ollama on the Windows side of WSL
description:
  - Runs inside WSL and controls Ollama on Windows through C(powershell.exe), as the Windows user who owns the WSL session.
  - Finds Ollama by its command, its processes, the known folders and the registry, and reports who listens on the port.
  - Sets the user's variable C(OLLAMA_HOST) according to O(bind) and remembers the previous value, so that O(state=restored) can put it
    back.
  - The app in the notification area is stopped before the daemon, since it would start it again. Then the app, or the verified C(ollama.exe
    serve), is started, and the endpoint is queried until it answers.
  - Anything that is already correct is left alone, so that loaded models stay loaded. Another program on the port, and the Ollama of
    another Windows user, are named and never stopped.
  - No argument is ever part of a script's text, and each call of PowerShell has a time limit.
options:
  state:
    description:
      - V(detected) inspects and changes nothing.
      - V(running) starts it if it does not run. A running one is never restarted; if it is bound differently or listens on another port,
        the module fails.
      - V(restarted) also restarts one that is bound differently from O(bind), for example only to the loopback of Windows.
      - V(installed) also installs it if the Windows user has none, and upgrades one older than O(minimum_version).
      - V(restored) restores the value that C(OLLAMA_HOST) had before this module first set it, unless it was changed since. Nothing is
        stopped or removed.
    type: str
    choices: [detected, running, restarted, installed, restored]
    default: detected
  bind:
    description:
      - V(all) is C(OLLAMA_HOST=0.0.0.0), which WSL and every container can reach at C(host.docker.internal). So can anyone else whom the
        Windows firewall lets through, since Ollama requires no key; the module warns about that.
      - V(loopback) is C(OLLAMA_HOST=127.0.0.1), with which Ollama also refuses a foreign C(Host) header. Containers of Docker Desktop still
        reach it at C(host.docker.internal). WSL itself does so only with mirrored networking, so a probe from a container must decide.
    type: str
    choices: [all, loopback]
    default: all
  port:
    description: TCP port of the daemon on Windows.
    type: int
    default: 11434
  host:
    description: Name or address, without a port, at which WSL queries the daemon.
    type: str
    default: host.docker.internal
  require_reachable:
    description:
      - Whether it fails with RV(failure.code=windows_firewall) if O(bind=all), O(host) can be resolved in WSL, and WSL gets no answer.
      - With V(false) that is only a warning, for callers that prove the path from a container afterwards, which may still be open.
    type: bool
    default: true
  tries:
    description: How many times the endpoint is queried after a start.
    type: int
    default: 15
  interval:
    description: Seconds between two of these tries.
    type: int
    default: 2
  timeout:
    description: Seconds after which a PowerShell call is stopped, together with the processes it started.
    type: int
    default: 60
  url:
    description:
      - The installer, as C(https://) or C(http://) as Windows reaches it, or as C(file://) or an absolute path inside WSL.
      - Put no secret in it, since Windows shows the command line of a process to other programs.
      - A name that ends in C(.exe) is run as C(OllamaSetup.exe) silently, which needs no network; anything else as a script like
        C(install.ps1), which downloads on its own.
    type: str
    default: https://ollama.com/install.ps1
  checksum:
    description: C(sha256:) and 64 hexadecimal digits, the checksum that the installer must have. Required for C(http://).
    type: str
  version:
    description: The version that C(install.ps1) is told to install, through C(OLLAMA_VERSION). By default the newest. A program installs
      its own version.
    type: str
  minimum_version:
    description:
      - An older Ollama is upgraded with O(state=installed), which stops it first, and refused otherwise. By default any release is
        accepted.
      - The daemon's version counts, or the program's if no daemon answers.
    type: str
  install_timeout:
    description: Time limit in seconds for the installer, and again for its download. It downloads more than a gigabyte.
    type: int
    default: 1800
  user:
    description: The user in whose home in WSL the previous C(OLLAMA_HOST) is stored. By default the user that the module runs as.
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - Windows is inspected, and nothing is changed.
  diff_mode:
    support: full
    details:
      - Shows whether it is installed, where it listens, and C(OLLAMA_HOST).
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - The scripts are written for Windows PowerShell 5.1. They are parsed and run against a stand-in that keeps the state of Windows, since no
    Windows is available where this collection is tested. No step of them has been run on Windows.
  - The previous C(OLLAMA_HOST) is stored in C(~/.nemoclaw/windows-ollama.json), mode 0600.
seealso:
  - module: nemoclaw.local_inference.ollama_model
  - module: nemoclaw.local_inference.inference_facts
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Look at Ollama on Windows
  nemoclaw.local_inference.ollama_windows:
  register: windows

- name: Start it where it does not run, and restart it where it is bound to loopback only
  nemoclaw.local_inference.ollama_windows:
    state: restarted

- name: Install it without the internet, and keep it on Windows' loopback
  nemoclaw.local_inference.ollama_windows:
    state: installed
    bind: loopback
    url: /mnt/c/Users/Public/Downloads/OllamaSetup.exe
    checksum: sha256:0d9f4bdb263c0f4a0657e57141771884dc4ad17051bb8d6e5a81dc44388a039f

- name: Put the Windows variable back as it was
  nemoclaw.local_inference.ollama_windows:
    state: restored
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - set OLLAMA_HOST=0.0.0.0:11434 for the Windows user LAPTOP\ada (it was not set)
    - stop ollama app.exe, ollama.exe on Windows
    - start C:\Users\ada\AppData\Local\Programs\Ollama\ollama app.exe
bind:
  description:
    - Where it listens, V(all), V(loopback) or V(other), null if it does not. In check mode, as it is now.
    - This and the following values are null for O(state=restored) if there was nothing to restore, since Windows is not queried then.
  returned: success
  type: str
  sample: all
diagnosis:
  description: PowerShell commands to inspect the processes, port, variable and log on Windows by hand.
  returned: success
  type: list
  elements: str
  sample: ["[Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User')"]
installed:
  description: Whether the Windows user has Ollama installed.
  returned: success
  type: bool
running:
  description: Whether an Ollama listens on the port of Windows, of this user or of another one.
  returned: success
  type: bool
reachable:
  description: Whether it answers WSL at O(host). Even if it does not, a container may reach it.
  returned: success
  type: bool
answers:
  description: Whether it answers on Windows' own loopback.
  returned: success
  type: bool
guarded:
  description: Whether it refuses a foreign C(Host) header, as it does on loopback. Null if nothing answers.
  returned: success
  type: bool
restarted:
  description: Whether a running part of Ollama was stopped and started again, which unloads its models.
  returned: success
  type: bool
models:
  description: The names of its models, null if nothing answers on Windows.
  returned: success
  type: list
  elements: str
  sample: [qwen2.5:14b]
version:
  description: The version of the daemon, else of the program, null if unknown.
  returned: success
  type: str
  sample: 0.32.9
path:
  description: The program, as Windows calls it.
  returned: success
  type: str
  sample: C:\Users\ada\AppData\Local\Programs\Ollama\ollama.exe
found_by:
  description: How it was found, V(command), V(process), V(folder) or V(registry).
  returned: success
  type: str
  sample: command
app:
  description: The app for the notification area next to it, null without one.
  returned: success
  type: str
  sample: C:\Users\ada\AppData\Local\Programs\Ollama\ollama app.exe
windows_user:
  description: The owner of the Windows session that this WSL belongs to.
  returned: success
  type: str
  sample: LAPTOP\ada
other_users:
  description: Ollama of other Windows users, as far as this one can see.
  returned: success
  type: list
  elements: dict
  sample: [{user: grace, path: 'C:\Users\grace\AppData\Local\Programs\Ollama\ollama.exe'}]
listeners:
  description: Who listens on the port of Windows.
  returned: success
  type: list
  elements: dict
  sample: [{address: 0.0.0.0, port: 11434, pid: 4711, process: ollama}]
variable:
  description: C(OLLAMA_HOST) of the Windows user before and after, null if it was not set.
  returned: success
  type: dict
  contains:
    before:
      description: Before.
      type: str
      returned: always
    after:
      description: After. In check mode, as it is now.
      type: str
      returned: always
      sample: 0.0.0.0:11434
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: windows_firewall
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    diagnosis:
      description: Commands that show the problem. Those that begin with a path or a Linux command are for WSL, others for PowerShell.
      type: list
      elements: str
      returned: where there are some
    actions:
      description: What was done on Windows before it failed.
      type: list
      elements: str
      returned: where something was
    command:
      description: The command for PowerShell on Windows that restores C(OLLAMA_HOST) by hand.
      type: str
      returned: for O(state=restored)
    firewall_command:
      description: The command that opens the port for WSL, for PowerShell as administrator.
      type: str
      returned: for RV(failure.code=windows_firewall)
    listeners:
      description: The other programs on the port, as RV(listeners).
      type: list
      elements: dict
      returned: for RV(failure.code=windows_port_taken)
    last_logs:
      description: The last lines of the installer's output.
      type: list
      elements: str
      returned: for RV(failure.code=windows_install_failed)
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.windows import converge
from ..module_utils.windows.converge import as_result
from ..module_utils.windows.powershell import Windows
from ..module_utils.windows.presence import Keeper
from ..module_utils.windows.refusals import make_desired

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {
        "type": "str",
        "choices": ["detected", "running", "restarted", "installed", "restored"],
        "default": "detected",
    },
    "bind": {"type": "str", "choices": ["all", "loopback"], "default": "all"},
    "port": {"type": "int", "default": 11434},
    "host": {"type": "str", "default": "host.docker.internal"},
    "require_reachable": {"type": "bool", "default": True},
    "tries": {"type": "int", "default": 15},
    "interval": {"type": "int", "default": 2},
    "timeout": {"type": "int", "default": 60},
    "url": {"type": "str", "default": "https://ollama.com/install.ps1"},
    "checksum": {"type": "str"},
    "version": {"type": "str"},
    "minimum_version": {"type": "str"},
    "install_timeout": {"type": "int", "default": 1800},
    "user": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    state, check_mode = module.params["state"], module.check_mode
    try:
        keeper = Keeper(find_account(module.params["user"]))
        desired = make_desired(module.params)

        def connect() -> Windows:
            return Windows(Machine(), desired.address.port, desired.timeout)

        if state == "detected":
            result = converge.detect(connect(), desired)
        elif state == "restored":
            result = converge.restore(connect, keeper, check_mode)
        else:
            result = converge.converge(connect(), keeper, desired, check_mode)
    except Failure as failure:
        fail(module, failure)
    answer = as_result(result, desired, check_mode)
    for warning in answer.pop("warnings"):
        module.warn(warning)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
