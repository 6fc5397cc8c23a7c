#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_install
version_added: "0.1.0"
short_description: Install or upgrade Ollama in a pinned version
description:
  - Installs Ollama where it is missing or older than O(minimum_version). What is new enough is left alone, and nothing is downloaded.
    It never goes back to an older version.
  - An archive is fetched, compared with its SHA-256, unpacked beside its place and tried there (C(ollama --version)). Only then it is put
    in place by renaming. What was there before is kept until the new program, and a running daemon with it, have proved themselves, and
    comes back where they do not.
  - A download has no limit on its whole time, only on silence (O(stall_timeout)). What came before a connection broke is kept, and
    the next try goes on from there where the server can do that.
  - A daemon that runs the program is restarted after an upgrade as it was started, as its unit or as a process of the same user with the
    same environment, and has to answer with the new version.
  - In system mode, where systemd runs and has no unit of Ollama, the user C(ollama) and the unit are made as Ollama's own installer
    makes them. A unit that is there is never touched. Nothing is started or enabled, since M(nemoclaw.local_inference.ollama_service)
    does that on loopback.
options:
  version:
    description: The version that is installed, without wildcards.
    type: str
    default: 0.32.9
  minimum_version:
    description: What is there already is left alone from this version on. By default it is O(version).
    type: str
  method:
    description:
      - V(archive) installs the release's archive.
      - V(script) fetches Ollama's own installer to a private file and runs it by C(sh) with C(OLLAMA_VERSION) set. It downloads on its
        own, without a checksum, may install a GPU's driver, and starts the service. For O(mode=system) alone.
    type: str
    choices: [archive, script]
    default: archive
  mode:
    description:
      - V(system) installs to C(/usr/local) for everybody, which needs root.
      - V(user) installs to C(~/.local) of O(user), without a service.
    type: str
    choices: [system, user]
    default: system
  prefix:
    description: Another folder for C(bin/ollama) and C(lib/ollama). Only the Ollama in it is looked at then.
    type: path
  user:
    description: Whose installation it is in O(mode=user). By default the user that the module runs as.
    type: str
  url:
    description:
      - Where the archive (C(.tgz) or C(.tar.zst)) or the script is, as C(https://), C(http://), C(file://) or an absolute path on the host.
      - By default it is the release's own archive for the host's architecture, or C(https://ollama.com/install.sh).
    type: str
  checksum:
    description:
      - C(sha256:) and 64 hexadecimal digits. A release has them in its C(sha256sum.txt).
      - It may be left out for the default O(version), whose checksums the module knows, and for a script that comes by C(https).
    type: str
  jetpack_url:
    description: As O(url), for the libraries that a Jetson with JetPack 5 or 6 gets besides. Other hosts get none.
    type: str
  jetpack_checksum:
    description: As O(checksum), for O(jetpack_url). The module knows none of them.
    type: str
  port:
    description: TCP port on which a running daemon is looked for.
    type: int
    default: 11434
  restart:
    description: Whether a running daemon is restarted after an upgrade. Where it is not, RV(daemon_restart_needed) says so.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the daemon after its restart.
    type: int
    default: 60
  stall_timeout:
    description: Seconds without a byte after which a download is given up.
    type: int
    default: 60
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - It asks the server for the size of the archive, downloads nothing, and reads a local archive to compare its checksum.
      - A missing zstd is a warning then, since a task before this one may install it.
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
  - C(HTTPS_PROXY), C(HTTP_PROXY) and C(NO_PROXY) of the module's environment are honoured for hosts outside of the own network.
  - An upgrade replaces the whole of C(lib/ollama), as Ollama's own installer does.
seealso:
  - module: nemoclaw.local_inference.zstd
  - module: nemoclaw.local_inference.ollama_service
  - module: nemoclaw.local_inference.ollama_info
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Have zstd, which the archive needs
  nemoclaw.local_inference.zstd:
  become: true

- name: Have Ollama
  nemoclaw.local_inference.ollama_install:
  become: true

- name: Have another version, from a mirror, and leave alone what is new enough
  nemoclaw.local_inference.ollama_install:
    version: 0.33.1
    minimum_version: 0.32.9
    url: https://mirror.example/ollama/0.33.1/ollama-linux-amd64.tar.zst
    checksum: "sha256:{{ mirror_checksum }}"
  become: true

- name: Have Ollama without root, from a file that was brought to the host
  nemoclaw.local_inference.ollama_install:
    mode: user
    url: /srv/transfer/ollama-linux-arm64.tar.zst
"""

RETURN = r"""
version:
  description: Version of the program afterwards; in check mode the one that there would be.
  returned: success
  type: str
  sample: 0.32.9
previous_version:
  description: Version of the program before, null where there was none or it did not tell.
  returned: success
  type: str
  sample: 0.12.3
path:
  description: The program.
  returned: success
  type: str
  sample: /usr/local/bin/ollama
mode:
  description: As O(mode).
  returned: success
  type: str
  sample: system
method:
  description: As O(method).
  returned: success
  type: str
  sample: archive
source:
  description: Where the archive or the script came from, null where nothing was installed.
  returned: success
  type: str
  sample: https://github.com/ollama/ollama/releases/download/v0.32.9/ollama-linux-amd64.tar.zst
size:
  description: Bytes of what was downloaded or read, null where nothing was or the server does not tell.
  returned: success
  type: int
  sample: 1421653242
daemon_version:
  description: Version of the daemon on O(port) afterwards, null where none runs.
  returned: success
  type: str
  sample: 0.32.9
daemon_restarted:
  description: Whether a running daemon was restarted, which takes its models out of memory.
  returned: success
  type: bool
daemon_restart_needed:
  description: Whether a running daemon goes on with the old program until it is restarted. Only with O(restart=false).
  returned: success
  type: bool
actions:
  description: What was done, or would be done in check mode.
  returned: success
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
      description: The sentence that is C(msg) as well.
      type: str
      returned: always
    status:
      description: HTTP status of the server.
      type: int
      returned: for RV(failure.code=archive_not_found) and RV(failure.code=download_refused)
    found:
      description: What there is instead of what is wanted, a checksum or a version.
      type: str
      returned: for RV(failure.code=checksum_mismatch) and RV(failure.code=version_mismatch)
    path:
      description: The program that is in the way.
      type: str
      returned: for RV(failure.code=ollama_elsewhere)
    completed:
      description: Bytes that came.
      type: int
      returned: for RV(failure.code=download_stalled) and RV(failure.code=download_interrupted)
    total:
      description: Bytes in all, null when the server did not tell.
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
      description: What the daemon says after its restart, null where it does not answer.
      type: str
      returned: for RV(failure.code=daemon_not_upgraded)
    last_logs:
      description: The last lines of the daemon's or the script's log.
      type: list
      elements: str
      returned: for RV(failure.code=daemon_not_upgraded) and RV(failure.code=script_failed)
"""

import os
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.edge import create_module, fail
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.facts import check_ports
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install import Installation
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.install_wish import Result, Wish
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.release import DEFAULT_VERSION
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.unit_file import PATH as UNIT_PATH

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "version": {"type": "str", "default": DEFAULT_VERSION},
    "minimum_version": {"type": "str"},
    "method": {"type": "str", "choices": ["archive", "script"], "default": "archive"},
    "mode": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "prefix": {"type": "path"},
    "user": {"type": "str"},
    "url": {"type": "str"},
    "checksum": {"type": "str"},
    "jetpack_url": {"type": "str"},
    "jetpack_checksum": {"type": "str"},
    "port": {"type": "int", "default": 11434},
    "restart": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 60},
    "stall_timeout": {"type": "int", "default": 60},
}


def diff(result: Result) -> list[dict[str, str]]:
    """Return the versions before and after, and the unit that was written."""
    before = {"program": result.previous_version, "daemon": result.previous_daemon}
    after = {"program": result.version, "daemon": result.daemon_version}
    shown = [
        {
            "before_header": result.path or "ollama",
            "after_header": result.path or "ollama",
            "before": "".join(f"{side}: {version or 'none'}\n" for side, version in before.items()),
            "after": "".join(f"{side}: {version or 'none'}\n" for side, version in after.items()),
        }
    ]
    if result.unit:
        shown.append({"before_header": UNIT_PATH, "after_header": UNIT_PATH, "before": "", "after": result.unit})
    return shown


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = dict(module.params)
    os.umask(0o022)  # what is installed is for everybody, whatever root's own umask is
    try:
        user = params.pop("user")
        account = find_account(user if params["mode"] == "user" else None)
        check_ports([params["port"]])
        # The progress of the download goes nowhere: nobody sees what a module says before it ends.
        installation = Installation(Machine(), account, Wish(**params), report=lambda _progress: None)
        result = installation.converge(module.check_mode)
    except Failure as failure:
        fail(module, failure)
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(
        changed=result.changed,
        version=result.version,
        previous_version=result.previous_version,
        path=result.path,
        mode=params["mode"],
        method=params["method"],
        source=result.source,
        size=result.size,
        daemon_version=result.daemon_version,
        daemon_restarted=result.daemon_restarted,
        daemon_restart_needed=result.daemon_restart_needed,
        actions=result.actions,
        diff=diff(result),
    )


if __name__ == "__main__":
    main()
