#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_probe
version_added: "0.1.0"
short_description: Check whether sandboxes can reach a port of this host
description:
  - Opens a TCP connection from a container on OpenShell's Docker network, which is where sandboxes are, and reports whether it worked.
  - A host's firewall that blocks the containers' bridge is the usual reason why an agent gets network errors although everything works on
    the host. The module then returns the command that opens the path, for the firewall that the host runs.
  - It sends nothing over the connection unless O(path) is set, and needs no Python library, only the C(docker) command.
options:
  host:
    description: What to reach, by the name that sandboxes use.
    type: str
    default: host.openshell.internal
  port:
    description: The TCP port, by default that of the authenticated reverse proxy.
    type: int
    default: 11435
  path:
    description:
      - Also request this path over HTTP, for example V(/api/version). Any status counts as an answer.
      - Docker Desktop may accept connections for a port on which nothing listens, so this check is more reliable there.
    type: str
    default: ""
  network:
    description:
      - The Docker network to probe from.
      - By default the one that E(OPENSHELL_DOCKER_NETWORK_NAME) names, else C(openshell-docker), else the one with OpenShell's label.
    type: str
  fallback_network:
    description: The network to probe from if OpenShell has not created one yet, for example V(bridge). By default there is then no verdict.
    type: str
  image:
    description:
      - The image to probe from. Any image with C(nc) or C(bash) works, so on a host without a registry the sandbox's own image does.
      - If it is missing and cannot be pulled, a small one is built from the host's busybox, as C(nemoclaw-local-inference/probe:2).
    type: str
    default: busybox@sha256:73aaf090f3d85aa34ee199857f03fa3a95c8ede2ffd4cc2cdb5b94e566b11662
  busybox:
    description: The statically linked busybox to build an image from, by default the one on the C(PATH) (Debian's package busybox-static).
    type: path
  timeout:
    description: Seconds for the connection, 1 to 60.
    type: int
    default: 5
  user:
    description: The user who runs the C(docker) command. By default the user that the module runs as.
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - It probes in check mode too, but only with an existing image.
  diff_mode:
    support: none
    details:
      - There is nothing to show.
  idempotent:
    support: full
    details:
      - It reports a change only if it had to get an image.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - A blocked path does not fail the module. Decide by RV(outcome).
seealso:
  - module: nemoclaw.local_inference.proxy_gate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Probe the way from the sandboxes to the proxy
  nemoclaw.local_inference.sandbox_probe:
  register: probe

- name: Stop before anything is saved where it is blocked
  ansible.builtin.assert:
    that: probe.outcome != 'blocked'
    fail_msg: "{{ probe.hint }}"

- name: Probe the path to the Ollama of Windows, on WSL with Docker Desktop
  nemoclaw.local_inference.sandbox_probe:
    host: host.docker.internal
    port: 11434
    path: /api/version
    fallback_network: bridge

- name: Probe the path to vLLM, from the sandbox's own image
  nemoclaw.local_inference.sandbox_probe:
    port: 8000
    image: openshell/sandbox:latest
"""

RETURN = r"""
outcome:
  description:
    - V(reachable), V(blocked), or V(unavailable) if nothing could be probed, which says nothing about the path.
  returned: success
  type: str
  sample: reachable
reason:
  description:
    - V(open) for a connection.
    - V(firewall), V(not_listening) (nothing listens on the port) or V(wrong_address) (something does, but not for the sandboxes' network)
      for V(blocked). V(windows) stands for C(host.docker.internal) with Docker Desktop, which is Windows.
    - V(not_probed) for V(unavailable).
  returned: success
  type: str
  sample: open
hint:
  description: What was found and what to do, as sentences; null for V(reachable).
  returned: success
  type: str
command:
  description: The command that opens the firewall, null if that is not the reason.
  returned: success
  type: str
  sample: sudo ufw allow from 172.18.0.0/16 to 172.18.0.1 port 11435 proto tcp
close_command:
  description: The command that removes that rule again, null for nftables, where a rule has no name.
  returned: success
  type: str
  sample: sudo ufw delete allow from 172.18.0.0/16 to 172.18.0.1 port 11435 proto tcp
firewall:
  description: V(ufw), V(firewalld), V(nftables), V(iptables) or V(unknown), null if that is not the reason.
  returned: success
  type: str
  sample: ufw
engine:
  description: V(desktop) for Docker Desktop, V(native) for any other engine, null if none answers.
  returned: success
  type: str
  sample: native
status:
  description: The HTTP status of the answer for O(path), null if nothing was requested.
  returned: success
  type: int
  sample: 200
network:
  description: The network that was probed from.
  returned: success
  type: str
  sample: openshell-docker
subnet:
  description: Its IPv4 subnet.
  returned: success
  type: str
  sample: 172.18.0.0/16
gateway:
  description: The host's address on it.
  returned: success
  type: str
  sample: 172.18.0.1
image:
  description: The image that was probed from, null if none was available.
  returned: success
  type: str
host:
  description: What was probed.
  returned: success
  type: str
  sample: host.openshell.internal
port:
  description: Its port.
  returned: success
  type: int
  sample: 11435
failure:
  description: The problem with the options, with C(code) and C(message).
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.openshell.probe import DEFAULT_IMAGE, Desired, probe

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": "host.openshell.internal"},
    "port": {"type": "int", "default": 11435},
    "path": {"type": "str", "default": ""},
    "network": {"type": "str"},
    "fallback_network": {"type": "str"},
    "image": {"type": "str", "default": DEFAULT_IMAGE},
    "busybox": {"type": "path"},
    "timeout": {"type": "int", "default": 5},
    "user": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = dict(module.params)
    try:
        account = find_account(params.pop("user"))
        result = probe(Machine(), account, Desired(**params), module.check_mode)
    except Failure as failure:
        fail(module, failure)
    if result["outcome"] == "unavailable":
        module.warn(result["hint"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
