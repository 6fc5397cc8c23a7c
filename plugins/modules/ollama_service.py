#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_service
version_added: "0.1.0"
short_description: Bind Ollama to loopback and prove it
description:
  - Ensures that the Ollama daemon runs on C(127.0.0.1) and nowhere else, and proves it afterwards with the kernel's own socket tables.
  - Under systemd it writes its own drop-in, C(zz-nemoclaw.conf), next to those of the user, whose lines are never touched. The name sorts
    after C(override.conf), so its C(OLLAMA_HOST) comes last. The unit is the one that the daemon really runs in.
  - Before anything is restarted, C(systemd-analyze verify) reads the files, and the variables that the next start would get are compared
    with the requested ones. If a later file, an C(EnvironmentFile), the command itself or C(UnsetEnvironment) would override them, the
    module stops and names it with its line. A restart that would change nothing is not done.
  - The daemon is restarted only if it is exposed, not on C(127.0.0.1), on another port, or lacks a variable, so loaded models otherwise
    stay loaded.
  - The module stops waiting for a service that has crashed three times, and quotes the line of its journal that says why.
  - If a service does not answer with a changed drop-in, the previous drop-in is restored, provided that the service was on loopback with
    it.
  - Before a daemon is closed to the network, a warning says where it listened, and who was connected.
  - If the service replaces a daemon that was started by hand, now or at the next boot, the C(OLLAMA_) variables of that daemon go into the
    drop-in, except secrets. Its model store is among them if the service's user may write there.
  - Without systemd an exposed daemon is stopped and started again on loopback as the same user with the same environment, and a missing one
    is started. Nothing then starts it after a reboot, which RV(supervised) and a warning report.
  - On a DGX Spark C(OLLAMA_LLM_LIBRARY=cuda_v13) is set if Ollama includes that library.
options:
  port:
    description: TCP port of the daemon on C(127.0.0.1).
    type: int
    default: 11434
  state:
    description:
      - V(started) ensures that it runs on loopback.
      - V(stopped) stops it.
      - V(absent) removes the drop-in, no matter which unit it was written for and who holds the port now. A running daemon keeps its
        address until its next start.
    type: str
    choices: [started, stopped, absent]
    default: started
  enabled:
    description: Whether it starts at boot, with systemd. V(false) leaves that as it is.
    type: bool
    default: true
  environment:
    description:
      - Additional variables for the service, for example C(OLLAMA_CONTEXT_LENGTH). Used with systemd, and for a daemon that the module
        starts.
      - C(OLLAMA_HOST) is set by O(port). No secrets, since the drop-in is readable by everyone.
    type: dict
    default: {}
  least_context_length:
    description:
      - Minimum context length of models, in tokens. If C(OLLAMA_CONTEXT_LENGTH) is set neither in O(environment) nor in a file of the
        service, and Ollama's own default on this host is less, it is set to this value, as far as the host has memory for O(model).
        RV(context) says what was decided, and why.
      - Ollama uses 4096 tokens with less than 23 GiB of GPU memory, and silently truncates an agent's prompt.
      - V(0) leaves it to Ollama.
    type: int
    default: 0
  model:
    description: The model whose memory is estimated for that.
    type: str
  model_bytes:
    description: Its size in bytes, if it is not on the host yet; 0 if unknown.
    type: int
    default: 0
  user:
    description:
      - The user who runs the daemon if there is no service, and whose C(~/.local/bin) is searched for the program.
      - By default the user that the module runs as.
    type: str
  timeout:
    description: Seconds to wait for the daemon after a start.
    type: int
    default: 60
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - Anything that would override the drop-in stops it in check mode too.
  diff_mode:
    support: full
    details:
      - Shows the drop-in.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - Under systemd it needs root (C(become)).
  - Another server on the port is named and never stopped, and neither is an Ollama in a container, nor one in a user's own systemd.
seealso:
  - module: nemoclaw.local_inference.ollama_info
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Bind Ollama to loopback
  nemoclaw.local_inference.ollama_service:
  become: true

- name: Give its models room for an agent
  nemoclaw.local_inference.ollama_service:
    environment:
      OLLAMA_CONTEXT_LENGTH: 65536
  become: true
"""

RETURN = r"""
listeners:
  description: Who listens on the port afterwards, as in M(nemoclaw.local_inference.ollama_info).
  returned: success
  type: list
  elements: dict
  sample: [{port: 11434, address: 127.0.0.1, family: ipv4, scope: loopback, uid: 998, user: ollama, pid: 812, process: ollama}]
context:
  description: What was decided about the context of models, as sentences; empty if there is nothing to report.
  returned: success
  type: str
  sample: >-
    Models get a context of 16384 tokens (OLLAMA_CONTEXT_LENGTH), since an agent's prompts need that and Ollama's default on this host
    is 4096.
keep_alive:
  description: The value of C(OLLAMA_KEEP_ALIVE) for the service, null if it is not set.
  returned: success
  type: str
  sample: "-1"
closed:
  description: What was open to the network and was closed, or would be in check mode; null if nothing was.
  returned: success
  type: dict
  contains:
    listeners:
      description: As RV(listeners), only those that were open.
      returned: always
      type: list
      elements: dict
    clients:
      description: Connections from elsewhere at that moment, with C(address) and the number of C(connections).
      returned: always
      type: list
      elements: dict
      sample: [{address: 192.168.1.20, connections: 2}]
restarted:
  description: Whether a running daemon was restarted, which unloads its models.
  returned: success
  type: bool
supervised:
  description: Whether the daemon that runs is a service, null when none runs.
  returned: success
  type: bool
unit:
  description: The unit, null without one.
  returned: success
  type: str
  sample: ollama.service
drop_in:
  description: Path of the drop-in, null without a unit.
  returned: success
  type: str
  sample: /etc/systemd/system/ollama.service.d/zz-nemoclaw.conf
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/systemd/system/ollama.service.d/zz-nemoclaw.conf, restart ollama.service]
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: ollama_exposed
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    listeners:
      description: As RV(listeners).
      type: list
      elements: dict
      returned: for RV(failure.code=ollama_exposed)
    last_state:
      description: State of the unit.
      type: str
      returned: for RV(failure.code=ollama_not_started)
    last_logs:
      description: The last lines of the unit's log.
      type: list
      elements: str
      returned: for RV(failure.code=ollama_not_started)
    files:
      description: The files that set another value than the requested one.
      type: list
      elements: str
      returned: for RV(failure.code=drop_in_overruled)
    places:
      description: As RV(failure.files), each with its line.
      type: list
      elements: str
      sample: ["/etc/ollama.d/lan.env:2"]
      returned: for RV(failure.code=drop_in_overruled)
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.host.sockets import check_ports
from ..module_utils.ollama.service import converge
from ..module_utils.ollama.service_plan import Desired

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "port": {"type": "int", "default": 11434},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "enabled": {"type": "bool", "default": True},
    "environment": {"type": "dict", "default": {}},
    "least_context_length": {"type": "int", "default": 0},
    "model": {"type": "str"},
    "model_bytes": {"type": "int", "default": 0},
    "user": {"type": "str"},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = dict(module.params)
    try:
        account = find_account(params.pop("user"))
        check_ports([params["port"]])
        params["least_context"] = params.pop("least_context_length")
        report, found = converge(Machine(), account, Desired(**params), module.check_mode)
    except Failure as failure:
        fail(module, failure)
    for warning in report.warnings:
        module.warn(warning)
    module.exit_json(
        changed=report.changed,
        restarted=report.restarted,
        actions=report.actions,
        listeners=found.listeners,
        context=report.context,
        keep_alive=report.keep_alive,
        closed=report.closed,
        supervised=bool(found.own or any(one.origin.is_users for one in found.holders)) if found.running else None,
        unit=found.unit.name if found.unit else None,
        drop_in=report.path,
        diff={
            "before": report.before,
            "after": report.after,
            "before_header": report.path or "",
            "after_header": report.path or "",
        },
    )


if __name__ == "__main__":
    main()
