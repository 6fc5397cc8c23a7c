#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_token
version_added: "0.1.0"
short_description: Manage the token of the authenticated reverse proxy
description:
  - Stores the token for the proxy in front of Ollama in C(~/.nemoclaw/ollama-proxy-token), which is NemoClaw's own path and format. These
    are 24 random bytes as 48 lowercase hexadecimal digits and a newline, with mode 0600 in a folder with mode 0700.
  - An existing token is kept. A new one is created only if there is none, or with O(state=prepared) and O(state=rotated).
  - During a rotation, two tokens are valid. The previous one is in a file next to it, whose name ends with C(.previous).
  - Also writes the file that nginx includes, so the token never leaves the host. A token is in that file before it is in the token file,
    and is removed from it only after it has been removed from the token file.
options:
  state:
    description:
      - V(present) creates a token if there is none, and ends a rotation that is older than O(overlap) or was only prepared.
      - V(prepared) creates a new token next to the token file, in a file whose name ends with C(.next), and writes it to O(gate_path). The
        token file stays. Once nginx takes the new token, V(rotated) puts it in place.
      - V(rotated) creates a new token each time, or uses the one that was prepared; the previous one stays valid until O(overlap) has
        passed. Without V(prepared) before it, clients that read the token file are refused until nginx has read O(gate_path) again.
      - V(absent) removes all tokens.
    type: str
    choices: [present, prepared, rotated, absent]
    default: present
  path:
    description:
      - The token file.
      - By default C(~/.nemoclaw/ollama-proxy-token) of O(user).
    type: path
  user:
    description:
      - The owner of the token. When run as root, the module reads and writes the token with the rights of this user.
      - By default the user that the module runs as.
    type: str
  overlap:
    description:
      - Seconds for which the previous token stays valid after a rotation. V(0) revokes it at once.
      - Nothing happens by itself when they have passed. The first run with O(state=present) after that removes the previous token.
    type: int
    default: 3600
  gate_path:
    description:
      - File with the valid tokens for the C(map) of nginx, with mode 0640, owned by the user that the module runs as.
      - Without it, only the token files are kept.
    type: path
  gate_group:
    description:
      - The group that may read O(gate_path), that is the group that nginx runs as.
    type: str
    default: nemoclaw-proxy
  gate_config:
    description:
      - The configuration of nginx that includes O(gate_path).
      - Only compared with O(gate_loaded).
    type: path
  gate_loaded:
    description:
      - File with what C(sha256sum) prints of O(gate_config) and O(gate_path), written whenever nginx reads them.
      - With it, RV(gate_changed) is also true if an earlier run was interrupted before nginx read what it had written.
    type: path
  return_content:
    description:
      - Whether RV(token) is returned. If so, set C(no_log) on the task.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Tokens are shown by their fingerprints.
  idempotent:
    support: partial
    details:
      - O(state=prepared) and O(state=rotated) create a new token each time. The other states are idempotent.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.proxy_gate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Ensure a token
  nemoclaw.local_inference.proxy_token:

- name: Ensure a token, and let nginx know it
  nemoclaw.local_inference.proxy_token:
    user: lab
    gate_path: /etc/nemoclaw-ollama-proxy.tokens
  become: true

- name: Let nginx take a new one as well, before anybody holds it
  nemoclaw.local_inference.proxy_token:
    state: prepared
    user: lab
    gate_path: /etc/nemoclaw-ollama-proxy.tokens
  become: true

- name: Make nginx read it
  ansible.builtin.systemd_service:
    name: nemoclaw-ollama-proxy.service
    state: reloaded
  become: true

- name: Put it in place; the old one stays valid for an hour
  nemoclaw.local_inference.proxy_token:
    state: rotated
    user: lab
    gate_path: /etc/nemoclaw-ollama-proxy.tokens
  become: true

- name: End the overlap now
  nemoclaw.local_inference.proxy_token:
    overlap: 0
"""

RETURN = r"""
fingerprint:
  description:
    - Start of a hash of the token, which distinguishes tokens and reveals nothing about them.
    - Null for O(state=absent), and in check mode for a token that would be created.
  returned: always
  type: str
  sample: 5a0c84ea31dd7b06
previous_fingerprint:
  description: The same for the previous token while it is valid, else null.
  returned: always
  type: str
  sample: null
next_fingerprint:
  description: The same for the token that was prepared, else null.
  returned: always
  type: str
  sample: null
path:
  description: Path of the token file.
  returned: always
  type: str
  sample: /home/lab/.nemoclaw/ollama-proxy-token
next_path:
  description: Path of a prepared token.
  returned: always
  type: str
  sample: /home/lab/.nemoclaw/ollama-proxy-token.next
gate_changed:
  description: Whether nginx must read O(gate_path) again, because of this run or an earlier one.
  returned: always
  type: bool
  sample: false
token:
  description: The token.
  returned: with O(return_content=true), where there is a token
  type: str
  sample: 48 lowercase hexadecimal digits
failure:
  description:
    - What stopped it, with C(code) and C(message).
    - The token file then holds the previous token. Only if O(overlap=0) could not be written to O(gate_path) at the end does it hold the
      new one, and O(gate_path) both.
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import find_account
from ..module_utils.proxy.configuration import ACCOUNT
from ..module_utils.proxy.kept import bring
from ..module_utils.proxy.token_files import TokenFiles

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "prepared", "rotated", "absent"], "default": "present"},
    "path": {"type": "path"},
    "user": {"type": "str"},
    "overlap": {"type": "int", "default": 3600},
    "gate_path": {"type": "path"},
    "gate_group": {"type": "str", "default": ACCOUNT},
    "gate_config": {"type": "path"},
    "gate_loaded": {"type": "path"},
    "return_content": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    try:
        kept = bring(
            find_account(params["user"]),
            params["state"],
            path=params["path"],
            overlap=params["overlap"],
            gate_path=params["gate_path"],
            gate_group=params["gate_group"],
            gate_config=params["gate_config"],
            gate_loaded=params["gate_loaded"],
            hand=None if module.check_mode else TokenFiles(),
        )
    except Failure as failure:
        fail(module, failure)
    for warning in kept.warnings:
        module.warn(warning)
    result = kept.as_result()
    if params["return_content"] and kept.token:
        result["token"] = kept.token
    module.exit_json(**result)


if __name__ == "__main__":
    main()
