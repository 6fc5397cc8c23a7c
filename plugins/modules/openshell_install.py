#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openshell_install
version_added: "0.1.0"
short_description: Install OpenShell in a pinned release
description:
  - Installs the programs of an OpenShell release if they are missing or of another release. Programs of that release, wherever the host
    finds them, are left alone, and nothing is downloaded.
  - An archive is fetched, compared with its SHA-256, unpacked next to its destination, and its program is run there. Only then is it moved
    into place by renaming. The previous programs stay until all new ones have proved to work.
  - Command line and gateway must be of the same release, so name both in O(components) where this host runs a gateway of its own.
  - Nothing is started, stopped, registered or made a unit. A running gateway keeps using the old program until it is restarted.
options:
  version:
    description: The release, from 0.0.44 up to but not including 0.1.0, which removed the inference route.
    type: str
    required: true
  components:
    description:
      - V(cli) is C(openshell), V(gateway) C(openshell-gateway), V(supervisor) C(openshell-sandbox).
      - A gateway looks for the supervisor next to itself, and pulls an image of it if there is none.
    type: list
    elements: str
    default: [cli]
  url:
    description:
      - The folder with the archives, named as the release names them, as C(https://), C(http://), C(file://) or an absolute path on
        the host. For a single component it may be the archive itself (C(.tar.gz)).
      - By default the release's own page on GitHub.
    type: str
  checksums:
    description:
      - For each component, C(sha256:) and 64 hexadecimal digits. All components need one.
      - A release has them in C(openshell-checksums-sha256.txt) and similar files for the others.
    type: dict
    required: true
  mode:
    description:
      - V(system) installs to C(/usr/local/bin) for all users, which needs root.
      - V(user) installs to C(~/.local/bin) of the user that the module runs as.
    type: str
    choices: [system, user]
    default: system
  prefix:
    description: Another folder that gets C(bin). Then only the OpenShell in it is considered.
    type: path
  stall_timeout:
    description: Seconds without a byte after which a download is abandoned.
    type: int
    default: 60
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - It requests the sizes from the server, downloads nothing, and reads a local archive to compare its checksum.
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - C(HTTPS_PROXY), C(HTTP_PROXY) and C(NO_PROXY) of the module's environment are used for hosts outside of the local network.
seealso:
  - module: nemoclaw.local_inference.openshell_provider
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Install the command line
  nemoclaw.local_inference.openshell_install:
    version: 0.0.83
    checksums:
      cli: "sha256:{{ openshell_cli_sha256 }}"
  become: true

- name: Install command line and gateway, from files that were brought to the host
  nemoclaw.local_inference.openshell_install:
    version: 0.0.83
    components: [cli, gateway, supervisor]
    url: /srv/transfer/openshell-0.0.83
    checksums: "{{ openshell_sha256 }}"
  become: true
"""

RETURN = r"""
version:
  description: The release of the components afterwards; in check mode the one that would be installed.
  returned: success
  type: str
  sample: 0.0.83
previous:
  description: The release of each component before, null if there was none or it did not report one.
  returned: success
  type: dict
  sample: {"cli": null}
paths:
  description: The program of each component.
  returned: success
  type: dict
  sample: {"cli": "/usr/local/bin/openshell"}
size:
  description: Bytes that were downloaded or read, null if none were or a server does not report the size.
  returned: success
  type: int
  sample: 19713204
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["install /srv/openshell-x86_64-unknown-linux-musl.tar.gz as /usr/local/bin/openshell"]
failure:
  description: What stopped it. The previous programs are in place.
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
    found:
      description: The value found instead of the expected one, a checksum or a release.
      type: str
      returned: for RV(failure.code=checksum_mismatch) and RV(failure.code=version_mismatch)
    path:
      description: The program that is in the way.
      type: str
      returned: for RV(failure.code=openshell_elsewhere)
    status:
      description: HTTP status of the server.
      type: int
      returned: for RV(failure.code=archive_not_found) and RV(failure.code=download_refused)
"""

import os
from typing import Any

from ..module_utils.base import LINK_OPTION, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.openshell.install import Desired, Installation

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "version": {"type": "str", "required": True},
    "components": {"type": "list", "elements": "str", "default": ["cli"]},
    "url": LINK_OPTION,
    "checksums": {"type": "dict", "required": True},
    "mode": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "prefix": {"type": "path"},
    "stall_timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    os.umask(0o022)  # what is installed is for everybody, whatever root's own umask is
    try:
        result = Installation(Machine(), find_account(), Desired(**module.params)).converge(module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
