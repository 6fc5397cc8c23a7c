#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_info
version_added: "0.1.0"
short_description: Gather the state of Ollama on a host
description:
  - Finds the C(ollama) program and the daemon, and reports the version of each, who listens on the daemon's port according to the kernel's
    socket tables, which models are installed with their sizes and capabilities, and which are in memory.
  - A server other than Ollama on that port is recognized by its answers and named in RV(foreign).
  - Reads only. No model is loaded and nothing is started. It fails only for an invalid address and an unknown user.
options:
  host:
    description:
      - Where the daemon is, as C(HOST:PORT). The port may be omitted.
      - Listeners are reported for loopback addresses only, since the socket tables are those of the target.
    type: str
    default: 127.0.0.1:11434
  user:
    description:
      - The user whose C(~/.local/bin) is searched for the program in addition to the system's folders.
      - By default the user that the module runs as.
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
attributes:
  action_group:
    support: full
    description: >-
      Use C(group/nemoclaw.local_inference.ollama) or C(group/nemoclaw.local_inference.all) in C(module_defaults) to set
      defaults for this module.
    membership: [nemoclaw.local_inference.ollama, nemoclaw.local_inference.all]
notes:
  - The owner of a listener that belongs to another user can be named only when the module runs as root.
seealso:
  - module: nemoclaw.local_inference.inference_facts
  - module: nemoclaw.local_inference.ollama_model
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Look at Ollama
  nemoclaw.local_inference.ollama_info:
  register: ollama

- name: Stop where Ollama is open to the network
  ansible.builtin.assert:
    that: ollama.loopback_only in [true, none]
    fail_msg: "Ollama listens on {{ ollama.listeners | map(attribute='address') | join(', ') }}"

- name: Show the models that can use tools
  ansible.builtin.debug:
    msg: "{{ ollama.models | selectattr('capabilities') | selectattr('capabilities', 'contains', 'tools') | map(attribute='name') }}"
"""

RETURN = r"""
installed:
  description: Whether the program is in the folders of the system, on C(PATH) or in the user's C(~/.local/bin).
  returned: success
  type: bool
path:
  description: Where the program is, null when it is not installed.
  returned: success
  type: str
  sample: /usr/local/bin/ollama
running:
  description: Whether an Ollama daemon answers at O(host).
  returned: success
  type: bool
version:
  description: Both versions, which differ after an upgrade without a restart.
  returned: success
  type: dict
  contains:
    client:
      description: Version of the program, null when it is not installed or does not report it.
      returned: success
      type: str
      sample: 0.32.9
    daemon:
      description: Version of the daemon, null when none answers.
      returned: success
      type: str
      sample: 0.32.9
listeners:
  description: Who listens on the port, empty for a host that is not loopback.
  returned: success
  type: list
  elements: dict
  contains:
    port:
      description: TCP port.
      returned: success
      type: int
      sample: 11434
    address:
      description: Address as the kernel has it; a v4-mapped one as C(::ffff:127.0.0.1).
      returned: success
      type: str
      sample: 127.0.0.1
    family:
      description: V(ipv4), V(ipv6) or V(v4-mapped).
      returned: success
      type: str
      sample: ipv4
    scope:
      description: V(loopback), V(any) (every interface) or V(address) (one interface's).
      returned: success
      type: str
      sample: loopback
    uid:
      description: Owner of the socket.
      returned: success
      type: int
      sample: 998
    user:
      description: Name of that user, null when it has none.
      returned: success
      type: str
      sample: ollama
    pid:
      description: Process ID, null without permission to see it.
      returned: success
      type: int
      sample: 812
    process:
      description: Name of the process, null without permission to see it.
      returned: success
      type: str
      sample: ollama
loopback_only:
  description: Whether all listeners are on loopback, null when nobody listens or O(host) is not loopback.
  returned: success
  type: bool
foreign:
  description: What answers on the port when it is not Ollama, else null.
  returned: success
  type: dict
  contains:
    message:
      description: What was seen, as a sentence, with the process if it is visible.
      returned: success
      type: str
    status:
      description: HTTP status of C(GET /api/tags).
      returned: when it speaks HTTP
      type: int
      sample: 404
    server:
      description: What it calls itself.
      returned: when it speaks HTTP
      type: str
      sample: nginx
models:
  description: The installed models.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name with its tag.
      returned: success
      type: str
      sample: qwen2.5:7b
    size:
      description: Bytes on disk.
      returned: success
      type: int
      sample: 4683087332
    digest:
      description: SHA-256 of the manifest.
      returned: success
      type: str
    parameter_size:
      description: As the model states it, null when it does not.
      returned: success
      type: str
      sample: 7.6B
    quantization:
      description: As the model states it, null when it does not.
      returned: success
      type: str
      sample: Q4_K_M
    capabilities:
      description: Capabilities of the model, null when the daemon does not report them.
      returned: success
      type: list
      elements: str
      sample: [completion, tools]
loaded:
  description: The models in memory.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name with its tag.
      returned: success
      type: str
      sample: qwen2.5:7b
    digest:
      description: SHA-256 of the manifest, null if the daemon does not report it.
      returned: success
      type: str
    size:
      description: Bytes in memory.
      returned: success
      type: int
      sample: 6654289920
    size_vram:
      description: Bytes on GPUs; 0 means that it runs on the CPU.
      returned: success
      type: int
      sample: 6654289920
    context_length:
      description: Context length in tokens, null if the daemon is too old to report it.
      returned: success
      type: int
      sample: 32768
    expires_at:
      description: When it will be unloaded.
      returned: success
      type: str
problems:
  description: Problems that prevented a complete answer, as sentences.
  returned: success
  type: list
  elements: str
failure:
  description: What stopped it, with C(code) and C(message).
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.ollama.info import describe, parse_address

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": "127.0.0.1:11434"},
    "user": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        found = describe(Machine(), find_account(module.params["user"]), parse_address(module.params["host"]))
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
