#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_install
version_added: "0.1.0"
short_description: Install, upgrade or remove Ollama in a pinned version
description:
  - Installs Ollama if it is missing or older than O(minimum_version). A version that is new enough is left alone, and nothing is
    downloaded. It never downgrades.
  - An archive is fetched, compared with its SHA-256, unpacked next to its destination and tried there (C(ollama --version)). Only then is
    it moved into place by renaming. The previous version is kept until the new program, and a daemon that runs it, have proved to work, and
    is restored if they do not.
  - A download has no limit on its total time, only on silence (O(stall_timeout)). The part that arrived before a connection broke is kept,
    and the next try resumes from there if the server supports it.
  - A daemon that runs the program is restarted after an upgrade the way it was started, as its unit or as a process of the same user with
    the same environment, and must answer with the new version.
  - In system mode, if systemd runs and has no Ollama unit, the user C(ollama) and the unit are created as Ollama's own installer creates
    them. An existing unit is never touched. Nothing is started or enabled, since M(nemoclaw.local_inference.ollama_service) does that on
    loopback.
options:
  state:
    description:
      - V(present) installs or upgrades.
      - V(absent) removes the program and its libraries from where O(mode) and O(prefix) put them, and in system mode stops and removes the
        unit that this module writes. A unit with different content stays. So do the user C(ollama), its home, and every model.
      - V(restored) undoes an upgrade that worked here but failed later. The version that O(keep_previous) kept is restored, and the daemon
        is restarted with it. If none is kept, nothing is done.
      - V(settled) commits an upgrade and deletes the kept version.
    type: str
    choices: [present, absent, restored, settled]
    default: present
  keep_previous:
    description:
      - Whether the version that an upgrade replaces is kept, in C(.nemoclaw-ollama-previous) under the prefix. RV(previous) names it.
      - For callers that prove more than that the new version runs. They finish with O(state=settled), or with O(state=restored).
      - A version that is already kept stays until then, since an interrupted run has proved nothing. It is restored automatically if the
        next installation fails.
    type: bool
    default: false
  reinstall:
    description:
      - Whether to reinstall Ollama although its version is new enough, for a broken installation. While set, every run reinstalls it.
      - Without it, Ollama is reinstalled only if files that this module installed are missing or have another size, or if O(checksum)
        differs from that of the archive of the same version that was installed.
    type: bool
    default: false
  version:
    description: The version that is installed, without wildcards.
    type: str
    default: 0.32.9
  minimum_version:
    description: An installed Ollama of this version or newer is left alone. Defaults to O(version).
    type: str
  method:
    description:
      - V(archive) installs the release's archive.
      - V(script) downloads Ollama's own installer to a private file and runs it with C(sh) and C(OLLAMA_VERSION) set. The installer
        downloads on its own, without a checksum, may install a GPU driver, and starts the service. Only for O(mode=system).
    type: str
    choices: [archive, script]
    default: archive
  mode:
    description:
      - V(system) installs to C(/usr/local) for all users, which needs root.
      - V(user) installs to C(~/.local) of O(user), without a service.
    type: str
    choices: [system, user]
    default: system
  prefix:
    description: Another folder for C(bin/ollama) and C(lib/ollama). Then only the Ollama in it is considered.
    type: path
  user:
    description: The owner of the installation with O(mode=user). By default the user that the module runs as.
    type: str
  url:
    description:
      - Where the archive (C(.tgz) or C(.tar.zst)) or the script is, as C(https://), C(http://), C(file://) or an absolute path on the host.
      - By default it is the release's own archive for the host's architecture, or C(https://ollama.com/install.sh).
      - The query of the URL, such as the signature of a presigned URL, is neither shown nor logged.
    type: str
  checksum:
    description:
      - C(sha256:) and 64 hexadecimal digits. A release has them in its C(sha256sum.txt).
      - It may be omitted for the default O(version), whose checksums the module knows, and for a script that is downloaded with C(https).
    type: str
  jetpack_url:
    description: As O(url), for the additional libraries that a Jetson with JetPack 5 or 6 gets. Other hosts get none.
    type: str
  jetpack_checksum:
    description: As O(checksum), for O(jetpack_url). The module knows none of them.
    type: str
  port:
    description: TCP port on which a running daemon is expected.
    type: int
    default: 11434
  restart:
    description: Whether a running daemon is restarted after an upgrade. If it is not, RV(daemon_restart_needed) says so.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the daemon after its restart.
    type: int
    default: 60
  stall_timeout:
    description: Seconds without a byte after which a download is abandoned.
    type: int
    default: 60
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
  - nemoclaw.local_inference.wait
attributes:
  check_mode:
    support: full
    details:
      - It requests the size of the archive from the server, downloads nothing, and reads a local archive to compare its checksum.
      - A missing zstd is then a warning, since an earlier task may install it.
  diff_mode:
    support: full
    details:
      - Shows the versions before and after, and the unit.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - Archives that end in C(.tar.zst), which Ollama has since 0.14.0, need M(nemoclaw.local_inference.zstd).
  - C(HTTPS_PROXY), C(HTTP_PROXY) and C(NO_PROXY) of the module's environment are used for hosts outside of the local network.
  - An upgrade replaces all of C(lib/ollama), as Ollama's own installer does.
seealso:
  - module: nemoclaw.local_inference.zstd
  - module: nemoclaw.local_inference.ollama_service
  - module: nemoclaw.local_inference.ollama_info
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Install zstd, which the archive needs
  nemoclaw.local_inference.zstd:
  become: true

- name: Install Ollama
  nemoclaw.local_inference.ollama_install:
  become: true

- name: Install another version, from a mirror, and leave alone what is new enough
  nemoclaw.local_inference.ollama_install:
    version: 0.33.1
    minimum_version: 0.32.9
    url: https://mirror.example/ollama/0.33.1/ollama-linux-amd64.tar.zst
    checksum: "sha256:{{ mirror_checksum }}"
  become: true

- name: Upgrade only if the model still works with the new version
  become: true
  block:
    - name: Upgrade
      nemoclaw.local_inference.ollama_install:
        version: 0.33.1
        keep_previous: true

    - name: Prove it
      nemoclaw.local_inference.endpoint_validate:
        base_url: http://127.0.0.1:11434/v1
        model: qwen2.5:7b

    - name: Let go of the old one
      nemoclaw.local_inference.ollama_install:
        state: settled
  rescue:
    - name: Go back
      nemoclaw.local_inference.ollama_install:
        state: restored

- name: Install Ollama without root, from a file that was brought to the host
  nemoclaw.local_inference.ollama_install:
    mode: user
    url: /srv/transfer/ollama-linux-arm64.tar.zst

- name: Remove it again, and keep the models
  nemoclaw.local_inference.ollama_install:
    state: absent
  become: true
"""

RETURN = r"""
finished:
  description:
    - Whether the work is finished. It may be false only with O(wait=0), and then there are only RV(finished), RV(progress) and C(changed).
  returned: success
  type: bool
progress:
  description: How far the work is.
  returned: while RV(finished) is false
  type: dict
  contains:
    phase:
      description: V(start), V(download), V(unpack), V(prove), V(restart), or V(script).
      returned: always
      type: str
      sample: download
    message:
      description: What is done.
      returned: always
      type: str
      sample: Downloading ollama-linux-amd64.tar.zst
    percent:
      description: Share of the download that is on the host, null in the other phases and if the total is unknown.
      returned: always
      type: float
      sample: 41.5
    completed:
      description: Bytes on the host, null in the other phases.
      returned: always
      type: int
    total:
      description: Bytes in total, null if unknown.
      returned: always
      type: int
    unit:
      description: What is counted, V(bytes).
      returned: always
      type: str
    rate:
      description: Bytes per second over the last 15 seconds, null if unknown.
      returned: always
      type: int
    seconds_left:
      description: Seconds that the download will take at this rate, null if unknown.
      returned: always
      type: int
    elapsed:
      description: Seconds since the work was started, by any run.
      returned: always
      type: int
version:
  description: Version of the program afterwards; in check mode the one that would be installed. Null for O(state=absent).
  returned: when RV(finished)
  type: str
  sample: 0.32.9
previous_version:
  description: Version of the program before, null if there was none or it did not report one.
  returned: when RV(finished)
  type: str
  sample: 0.12.3
previous:
  description: Version that O(keep_previous) has kept and that is not committed yet, null without one.
  returned: when RV(finished)
  type: str
  sample: 0.12.3
path:
  description: The program, null for O(state=absent).
  returned: when RV(finished)
  type: str
  sample: /usr/local/bin/ollama
mode:
  description: As O(mode).
  returned: when RV(finished)
  type: str
  sample: system
method:
  description: As O(method).
  returned: when RV(finished)
  type: str
  sample: archive
source:
  description: Source of the archive or the script, null if nothing was installed.
  returned: when RV(finished)
  type: str
  sample: https://github.com/ollama/ollama/releases/download/v0.32.9/ollama-linux-amd64.tar.zst
size:
  description: Bytes that were downloaded or read, null if none were or the server does not report the size.
  returned: when RV(finished)
  type: int
  sample: 1421653242
daemon_version:
  description: Version of the daemon on O(port) afterwards, null if none runs.
  returned: when RV(finished)
  type: str
  sample: 0.32.9
daemon_restarted:
  description: Whether a running daemon was restarted, which unloads its models.
  returned: when RV(finished)
  type: bool
daemon_restart_needed:
  description: Whether a running daemon keeps running the old program until it is restarted. Only with O(restart=false).
  returned: when RV(finished)
  type: bool
actions:
  description: What was done, or would be done in check mode.
  returned: when RV(finished)
  type: list
  elements: str
  sample: [install /srv/ollama-linux-amd64.tgz as Ollama 0.32.9 in /usr/local, write /etc/systemd/system/ollama.service]
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: checksum_mismatch
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    status:
      description: HTTP status of the server.
      type: int
      returned: for RV(failure.code=archive_not_found) and RV(failure.code=download_refused)
    found:
      description: The value found instead of the expected one, a checksum or a version.
      type: str
      returned: for RV(failure.code=checksum_mismatch) and RV(failure.code=version_mismatch)
    path:
      description: The program that is in the way or damaged.
      type: str
      returned: for RV(failure.code=ollama_elsewhere) and RV(failure.code=ollama_damaged)
    completed:
      description: Bytes that arrived.
      type: int
      returned: for RV(failure.code=download_stalled) and RV(failure.code=download_interrupted)
    total:
      description: Bytes in total, null when the server did not report it.
      type: int
      returned: for RV(failure.code=download_stalled) and RV(failure.code=download_interrupted)
    free:
      description: Bytes that are free.
      type: int
      returned: for RV(failure.code=disk_full) before the download
    needed:
      description: Bytes that are needed.
      type: int
      returned: for RV(failure.code=disk_full) before the download
    daemon_version:
      description: The version that the daemon reports after its restart, null if it does not answer.
      type: str
      returned: for RV(failure.code=daemon_not_upgraded)
    last_logs:
      description: The last lines of the daemon's or the script's log.
      type: list
      elements: str
      returned: for RV(failure.code=daemon_not_upgraded) and RV(failure.code=script_failed)
"""

import os
from dataclasses import asdict
from typing import Any

from ..module_utils.base import LINK_OPTION, WAIT_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.host.sockets import check_ports
from ..module_utils.jobs.job import Job, Outcome
from ..module_utils.jobs.progress import Report, silent
from ..module_utils.ollama.archive import DEFAULT_VERSION, Desired, name_variables
from ..module_utils.ollama.installation import Installation
from ..module_utils.ollama.unit_file import PATH as UNIT_PATH
from ..module_utils.ollama.unit_file import remove_installation

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "restored", "settled"], "default": "present"},
    "keep_previous": {"type": "bool", "default": False},
    "reinstall": {"type": "bool", "default": False},
    "version": {"type": "str", "default": DEFAULT_VERSION},
    "minimum_version": {"type": "str"},
    "method": {"type": "str", "choices": ["archive", "script"], "default": "archive"},
    "mode": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "prefix": {"type": "path"},
    "user": {"type": "str"},
    "url": LINK_OPTION,
    "checksum": {"type": "str"},
    "jetpack_url": LINK_OPTION,
    "jetpack_checksum": {"type": "str"},
    "port": {"type": "int", "default": 11434},
    "restart": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 60},
    "stall_timeout": {"type": "int", "default": 60},
    **WAIT_OPTIONS,
}


def diff(result: dict[str, Any]) -> list[dict[str, str]]:
    """Return the versions before and after, and the unit that was written."""
    header = result["path"] or "ollama"
    before = {"program": result["previous_version"], "daemon": result["previous_daemon"]}
    after = {"program": result["version"], "daemon": result["daemon_version"]}
    shown = [
        {
            "before_header": header,
            "after_header": header,
            "before": "".join(f"{side}: {version or 'none'}\n" for side, version in before.items()),
            "after": "".join(f"{side}: {version or 'none'}\n" for side, version in after.items()),
        }
    ]
    if result["unit"]:
        shown.append({"before_header": UNIT_PATH, "after_header": UNIT_PATH, "before": "", "after": result["unit"]})
    return shown


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = dict(module.params)
    wait, folder, state = params.pop("wait"), params.pop("jobs_path"), params.pop("state")
    os.umask(0o022)  # what is installed is for everybody, whatever root's own umask is
    try:
        user = params.pop("user")
        account = find_account(user if params["mode"] == "user" else None)
        check_ports([params["port"]])
        outcome = _bring(state, account, Desired(**params), module.check_mode, wait, folder)
    except Failure as failure:
        fail(module, name_variables(failure))
    result = outcome.as_result()
    if not outcome.finished:
        module.exit_json(**result)
    for warning in result.pop("warnings"):
        module.warn(warning)
    shown = diff(result)
    del result["unit"], result["previous_daemon"]
    module.exit_json(**result, mode=params["mode"], method=params["method"], diff=shown)


def _bring(
    state: str, account: Account, desired: Desired, check_mode: bool, wait: int | None, folder: str | None
) -> Outcome:
    def act(check_mode: bool, report: Report = silent) -> dict[str, Any]:
        if state == "absent":
            return asdict(remove_installation(Machine(), account, desired, check_mode))
        installation = Installation(Machine(), account, desired, report)
        work = {"present": installation.converge, "restored": installation.restore, "settled": installation.settle}
        return asdict(work[state](check_mode))

    def plan() -> dict[str, Any] | None:
        result = act(True)
        return None if result["changed"] else result

    if check_mode or wait is None or state != "present":  # only an installation takes long
        return Outcome(True, None, act(check_mode))
    job = Job(
        "ollama-install",
        f"{account.name} {desired.mode} {desired.prefix}",
        asdict(desired),
        "Installing Ollama",
        folder=folder,
    )
    return job.run(plan, lambda report: act(False, report), wait)


if __name__ == "__main__":
    main()
