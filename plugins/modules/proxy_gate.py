#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_gate
version_added: "0.1.0"
short_description: Put the auth proxy before model servers, rotate its token, or remove it
description:
  - The auth proxy is nginx in a unit of its own, which opens to one token. This module sees to all of it as one transaction, except to the
    package of nginx, which M(nemoclaw.local_inference.host_package) installs.
  - O(state=present) sees to account, token, configuration and unit, has nginx test the configuration before anything is replaced, reloads
    or restarts, and asks each port of the auth proxy without a token, with a wrong one and with the right one. Where that fails, the
    previous files are put back and proved again; where there were none, nothing is left but the token. A reload keeps live streams; only
    another unit, or another socket, needs a restart.
  - A run that is killed anywhere is finished by the next one, which still knows what was proved last.
  - O(state=rotated) makes a new token and proves it with the auth proxy before the token file gets it. The previous one stays valid for
    O(overlap) seconds. O(state=committed) ends that time at once. Both need no O(gates), since they read them from the configuration that
    is there.
  - O(state=absent) removes unit, files and account, and keeps the token and the package.
  - O(state=checked) tells what forbids the auth proxy before anything is changed, a package included; that is a failure. It takes the same
    options as O(state=present).
  - A server that can be reached past the auth proxy, by the sockets of the host, is brought back to loopback where it is an Ollama, as
    M(nemoclaw.local_inference.ollama_service) does it. Another one is named with the reason, and the module fails. O(state=loopback) does
    this alone.
  - A proxy of NemoClaw's own on a port of the auth proxy (C(ollama-auth-proxy.js), a Node process of O(user)) is stopped once nginx has
    found nothing wrong, since the auth proxy takes its place with the same token file. Anybody else is named and left alone, and the module
    fails. O(state=free) does this alone.
  - O(state=compared) and O(state=serving) only look, at all of it or at what its ports answer.
options:
  state:
    description: What to see to.
    type: str
    choices: [present, rotated, committed, absent, checked, free, loopback, compared, serving]
    default: serving
  gates:
    description: The servers behind the auth proxy. Needed for all states but V(rotated), V(committed) and V(absent).
    type: list
    elements: dict
    suboptions:
      name:
        description: What it is called in messages, for example C(ollama).
        type: str
        required: true
      port:
        description: Port that the auth proxy listens on for it.
        type: int
        required: true
      probe_path:
        description: What is asked for when it is proved.
        type: str
        default: /v1/models
      serving:
        description:
          - Whether the server behind it has to answer with 2xx, through the auth proxy and with the token.
          - For a server that was just proved without the auth proxy. Where it is false, any answer proves the port, and a server that is
            down is a warning.
          - In check mode it is not asked for, since the server may not run yet.
        type: bool
        default: false
      upstream_port:
        description: Port of the server on C(127.0.0.1). Needed for O(state=present).
        type: int
      paths:
        description:
          - The paths that are passed on; one that ends with C(/) stands for all below it. Empty means all.
        type: list
        elements: str
        default: []
  serving:
    description: Names of O(gates) for which O(gates[].serving) is true, for a list that others give.
    type: list
    elements: str
    default: []
  listen:
    description:
      - Addresses that the auth proxy listens on, with IPv6 in brackets.
      - V(bridge) is the address of this host on the bridge that sandboxes come by. Docker is asked for it. That is the gateway of
        OpenShell's network, or of Docker's own bridge while OpenShell has made none, with a warning. A host without Docker, and one whose
        engine runs in a virtual machine or without root, has none, which is a warning too.
    type: list
    elements: str
    default: ["0.0.0.0"]
  max_body_size:
    description: Largest body of a request, as nginx writes sizes.
    type: str
    default: 512m
  read_timeout:
    description: Seconds between two pieces of an answer, and before the first one.
    type: int
    default: 600
  connect_timeout:
    description: Seconds to connect to the server behind.
    type: int
    default: 5
  drain_timeout:
    description: Seconds for which a stream that is live at a reload may go on.
    type: int
    default: 3600
  max_connections:
    description: The most connections of clients at the same time.
    type: int
    default: 1024
  max_connections_per_address:
    description: Requests with the token at the same time from one address; more are answered with 429.
    type: int
    default: 256
  workers:
    description: Worker processes of nginx.
    type: int
    default: 1
  memory_max:
    description: Memory that the unit may use, as systemd writes sizes.
    type: str
    default: 256M
  overlap:
    description:
      - Seconds for which the previous token stays valid after a rotation. V(0) ends it with the rotation.
      - Nothing runs when they have passed. The first run with O(state=present) after that drops the previous token.
    type: int
    default: 3600
  files:
    description: What O(state=compared) compares, the files of root with mode 0644 that make the auth proxy.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: What it has to hold; white space at the end does not matter.
        type: str
        required: true
  path:
    description:
      - The token file.
      - By default C(~/.nemoclaw/ollama-proxy-token) of O(user).
    type: path
  user:
    description:
      - Whose token and whose NemoClaw it is.
      - By default the user that the module runs as.
    type: str
  gate_user:
    description:
      - The account that the auth proxy runs as; it tells the proxy's own sockets from others.
      - For O(state=free), O(state=compared) and O(state=serving).
    type: str
    default: nemoclaw-proxy
  unit:
    description:
      - The unit of the auth proxy, whose log is shown where it does not listen.
      - For O(state=compared) and O(state=serving).
    type: str
    default: nemoclaw-ollama-proxy.service
  timeout:
    description: Seconds that the auth proxy may take to start, or to read its tokens again.
    type: int
    default: 15
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is written, stopped or restarted, and nginx does not test the configuration.
  diff_mode:
    support: full
    details:
      - Tokens are shown by their fingerprints.
  idempotent:
    support: partial
    details:
      - O(state=rotated) makes a new token each time. The other states are idempotent.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - All states that change something, and O(state=checked), need root (C(become)) and systemd.
  - Without root, the owners of other users' sockets cannot be seen, and the module names no more than the user.
  - A server that is down behind the auth proxy is no failure of this module, except with O(gates[].serving). RV(gates[].outcome) tells.
seealso:
  - module: nemoclaw.local_inference.proxy_token
  - module: nemoclaw.local_inference.host_package
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Put Ollama behind the auth proxy
  nemoclaw.local_inference.proxy_gate:
    state: present
    user: lab
    gates:
      - { name: ollama, port: 11435, upstream_port: 11434 }
  become: true

- name: Make a new token; the old one stays valid for ten minutes
  nemoclaw.local_inference.proxy_gate:
    state: rotated
    user: lab
    overlap: 600
  become: true

- name: Prove that the auth proxy serves
  nemoclaw.local_inference.proxy_gate:
    user: lab
    gates:
      - { name: ollama, port: 11435 }
  become: true
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, each as a verb and what it was done to.
  returned: with O(state=present), O(state=rotated), O(state=committed), O(state=absent) and O(state=loopback)
  type: list
  elements: str
  sample: [write /etc/nemoclaw-ollama-proxy.conf, reload nemoclaw-ollama-proxy.service]
fingerprint:
  description:
    - Start of a hash of the token, which tells two tokens apart and nothing about either. Null in check mode for a token that would be
      made.
  returned: with O(state=present), O(state=rotated) and O(state=committed)
  type: str
  sample: 5a0c84ea31dd7b06
previous_fingerprint:
  description: The same for the previous token while it is valid, else null.
  returned: with O(state=present), O(state=rotated) and O(state=committed)
  type: str
  sample: null
path:
  description: Where the token lies.
  returned: with O(state=present), O(state=rotated) and O(state=committed)
  type: str
  sample: /home/lab/.nemoclaw/ollama-proxy-token
summary:
  description: Which tokens are valid now, as sentences.
  returned: with O(state=rotated) and O(state=committed)
  type: str
  sample: The token is now 5a0c84ea31dd7b06 in /home/lab/.nemoclaw/ollama-proxy-token. The previous one opens nothing any more.
stopped:
  description: Process ids of the NemoClaw proxies that were stopped, or would be in check mode.
  returned: with O(state=free)
  type: list
  elements: int
  sample: []
converged:
  description: Whether the files are as they have to be, the service runs and is enabled, and the auth proxy serves.
  returned: with O(state=compared)
  type: bool
  sample: true
reasons:
  description: Why it is not converged, as sentences.
  returned: with O(state=compared)
  type: list
  elements: str
  sample: []
restart_needed:
  description: Whether the unit was changed and systemd has not read it.
  returned: with O(state=compared)
  type: bool
  sample: false
wrong:
  description: The paths of O(files) that are not as they have to be.
  returned: with O(state=compared)
  type: list
  elements: str
  sample: []
found:
  description: What O(files) hold now, so that it can be put back.
  returned: with O(state=compared)
  type: list
  elements: dict
  contains:
    path:
      description: As in O(files[].path).
      type: str
      returned: always
      sample: /etc/nemoclaw-ollama-proxy.conf
    content:
      description: What it holds, null where it is not there or no text.
      type: str
      returned: always
exposed:
  description: The listeners by which others than this host reach a server behind the auth proxy, past it. As C(nemoclaw_host.listeners).
  returned: with O(state=compared)
  type: list
  elements: dict
  sample: []
gates:
  description: What was seen of each port. With O(state=compared), and in check mode, empty unless it is converged.
  returned: with O(state=present), O(state=rotated), O(state=committed), O(state=serving) and O(state=compared)
  type: list
  elements: dict
  contains:
    name:
      description: As in O(gates[].name).
      type: str
      returned: always
      sample: ollama
    port:
      description: As in O(gates[].port).
      type: int
      returned: always
      sample: 11435
    url:
      description: Where it was asked.
      type: str
      returned: always
      sample: http://127.0.0.1:11435/v1/models
    outcome:
      description:
        - V(serving), V(backend_down) (the server behind it does not answer) or V(backend_refuses) (it wants a key of its own).
        - With any other the module fails. See C(failure.code).
      type: str
      returned: always
      sample: serving
    status:
      description: HTTP status with the token.
      type: int
      returned: always
      sample: 200
    detail:
      description: The outcome in words.
      type: str
      returned: always
failure:
  description:
    - What stopped it, with C(code) and C(message).
    - The code is C(port_taken), C(proxy_refused) (nothing listens), C(proxy_silent), C(proxy_open) (no token is asked for),
      C(proxy_foreign) (somebody else's server),
      C(proxy_impostor) (another user's process that answers as the auth proxy does) or C(token_rejected), besides
      those of M(nemoclaw.local_inference.proxy_token).
    - With O(gates[].serving) also C(backend_down), C(backend_refuses) or C(backend_unproved).
    - With O(state=loopback), O(state=present) and O(state=checked) C(engine_exposed), and those of
      M(nemoclaw.local_inference.ollama_service).
    - With O(state=present) and O(state=checked) C(proxy_settings_invalid), C(proxy_bridge_unknown) (Docker does not tell the
      address for V(bridge) in O(listen)), C(systemd_missing), C(package_manager_missing) and C(package_not_installed). With the states
      that change something C(proxy_config_refused), C(account_failed), C(gate_unwritable),
      C(systemd_failed), C(root_needed), C(rotation_running) (another run changes the auth proxy at this moment) and C(proxy_missing).
  returned: on failure
  type: dict
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.proxy import transaction
from ..module_utils.proxy.configuration import ACCOUNT, PROBE_PATH, UNIT, Gate, ProxySettings, problems
from ..module_utils.proxy.gate import at_bridge, compare_gates, prove_gates, upstream_ports
from ..module_utils.proxy.probe import GATE_WORKS, SERVING
from ..module_utils.proxy.service import bring_to_loopback, free_ports

_NEED_GATES = ("present", "checked", "free", "loopback", "compared", "serving")

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {
        "type": "str",
        "choices": ["present", "rotated", "committed", "absent", *_NEED_GATES[1:]],
        "default": "serving",
    },
    # Without a default, which would count as given: without servers there is nothing to prove, and nothing to write.
    "gates": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "probe_path": {"type": "str", "default": PROBE_PATH},
            "serving": {"type": "bool", "default": False},
            "upstream_port": {"type": "int"},
            "paths": {"type": "list", "elements": "str", "default": []},
        },
    },
    "serving": {"type": "list", "elements": "str", "default": []},
    "listen": {"type": "list", "elements": "str", "default": ["0.0.0.0"]},  # noqa: S104 - the page's own default
    "max_body_size": {"type": "str", "default": "512m"},
    "read_timeout": {"type": "int", "default": 600},
    "connect_timeout": {"type": "int", "default": 5},
    "drain_timeout": {"type": "int", "default": 3600},
    "max_connections": {"type": "int", "default": 1024},
    "max_connections_per_address": {"type": "int", "default": 256},
    "workers": {"type": "int", "default": 1},
    "memory_max": {"type": "str", "default": "256M"},
    "overlap": {"type": "int", "default": 3600},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}},
    },
    "path": {"type": "path"},
    "user": {"type": "str"},
    "gate_user": {"type": "str", "default": ACCOUNT},
    "unit": {"type": "str", "default": UNIT},
    "timeout": {"type": "int", "default": 15},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=[("state", state, ["gates"]) for state in _NEED_GATES])
    params, check_mode = module.params, module.check_mode
    try:
        account = find_account(params["user"])
        result = _act(params, account, check_mode) or _look(params, account, check_mode)
    except Failure as failure:
        fail(module, failure)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    for row in result.get("gates", []):
        if row["outcome"] in GATE_WORKS and row["outcome"] != SERVING:
            module.warn(f"The auth proxy at {row['url']}: {row['detail']}.")
    module.exit_json(**result)


def _act(params: dict[str, Any], account: Account, check_mode: bool) -> dict[str, Any] | None:
    """Return the result of a state of the whole auth proxy, None for one that looks at a part."""
    settings, notes = ProxySettings.of(_gates(params, check_mode), params), list[str]()
    machine, state = Machine(), params["state"]
    # What is wrong with the settings is said first, which needs no engine.
    if state in ("checked", "present") and not problems(settings):
        settings, notes = at_bridge(machine, account, settings)
    desired = transaction.Desired(settings, account, params["path"], params["overlap"], params["timeout"])
    if state == "checked":
        transaction.foresee(machine, desired, may_install=True)
        return {"changed": False}
    if state == "absent":
        return transaction.remove(machine, params["timeout"], check_mode).as_result()
    work = {"present": transaction.ensure, "rotated": transaction.rotate, "committed": transaction.commit}.get(state)
    if work is None:
        return None
    report = work(machine, desired, check_mode)
    report.warnings += notes
    return report.as_result()


def _look(params: dict[str, Any], account: Account, check_mode: bool) -> dict[str, Any]:
    gates = _gates(params, check_mode)
    path = transaction.Desired(ProxySettings(gates), account, params["path"]).token_file
    if params["state"] == "free":
        stopped = free_ports(gates, account, params["gate_user"], check_mode)
        return {"changed": bool(stopped), "stopped": stopped}
    if params["state"] == "loopback":
        warnings: list[str] = []
        actions = bring_to_loopback(Machine(), account, upstream_ports(gates), check_mode, warnings)
        return {"changed": bool(actions), "actions": actions, "warnings": warnings}
    known = (gates, account, path, params["gate_user"], params["unit"])
    if params["state"] == "compared":
        return {"changed": False, **compare_gates(*known, params["files"])}
    return {"changed": False, "gates": prove_gates(*known, params["timeout"])}


def _gates(params: dict[str, Any], check_mode: bool) -> list[Gate]:
    """Return the servers; in check mode none has to serve, since it may be what is not running yet."""
    named = [{**one, "serving": one["serving"] or one["name"] in params["serving"]} for one in params["gates"] or []]
    return [
        Gate(**{**one, "paths": tuple(one["paths"]), "serving": one["serving"] and not check_mode}) for one in named
    ]


if __name__ == "__main__":
    main()
