#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_gate
version_added: "0.1.0"
short_description: Put model servers behind the auth proxy, rotate its token, or remove it
description:
  - The auth proxy is nginx in its own unit, protected by one token. This module manages all of it as one transaction, except the nginx
    package, which M(nemoclaw.local_inference.host_package) installs.
  - O(state=present) ensures account, token, configuration and unit, has nginx test the configuration before anything is replaced, reloads
    or restarts nginx, and sends each port of the auth proxy a request without a token, with a wrong one and with the right one. If that
    fails, the previous files are restored and proved again; if there were none, only the token is left. A reload keeps live streams; only
    another unit, or another socket, needs a restart.
  - A run that is killed at any point is completed by the next one, which still knows what was proved last.
  - O(state=rotated) creates a new token and proves it with the auth proxy before it is written to the token file. The previous one stays
    valid for O(overlap) seconds. O(state=committed) ends that time at once. Neither needs O(gates), since they read them from the existing
    configuration.
  - O(state=absent) removes unit, files and account, and keeps the token and the package.
  - O(state=checked) fails with what prevents the auth proxy before anything is changed, packages included. It takes the same options as
    O(state=present).
  - If the sockets of the host show a server that can be reached without the auth proxy, Ollama is moved back to loopback, as
    M(nemoclaw.local_inference.ollama_service) does it. Any other server is named with the reason, and the module fails. O(state=loopback)
    does only this.
  - A proxy of NemoClaw's own on a port of the auth proxy (C(ollama-auth-proxy.js), a Node process of O(user)) is stopped once nginx has
    found nothing wrong, since the auth proxy takes its place with the same token file. Any other process is named and left alone, and the
    module fails. O(state=free) does only this.
  - O(state=compared) and O(state=serving) only inspect, either everything or the answers of its ports.
options:
  state:
    description: The requested state.
    type: str
    choices: [present, rotated, committed, absent, checked, free, loopback, compared, serving]
    default: serving
  gates:
    description: The servers behind the auth proxy. Needed for all states but V(rotated), V(committed) and V(absent).
    type: list
    elements: dict
    suboptions:
      name:
        description: Its name in messages, for example C(ollama).
        type: str
        required: true
      port:
        description: Port that the auth proxy listens on for it.
        type: int
        required: true
      probe_path:
        description: The path that is requested when it is proved.
        type: str
        default: /v1/models
      serving:
        description:
          - Whether the server behind it must answer with 2xx, through the auth proxy and with the token.
          - For a server that was just proved without the auth proxy. If it is false, any answer proves the port, and a server that is down
            only causes a warning.
          - In check mode it is not required, since the server may not run yet.
        type: bool
        default: false
      upstream_port:
        description: Port of the server on C(127.0.0.1). Needed for O(state=present).
        type: int
      paths:
        description:
          - The paths that are forwarded; one that ends with C(/) covers everything below it. Empty means all.
        type: list
        elements: str
        default: []
  serving:
    description: Names of O(gates) for which O(gates[].serving) is true, for callers that pass O(gates) on.
    type: list
    elements: str
    default: []
  listen:
    description:
      - Addresses that the auth proxy listens on, with IPv6 in brackets.
      - V(bridge) is the address of this host on the sandboxes' bridge, as Docker reports it. That is the gateway of OpenShell's network,
        or, with a warning, of Docker's own bridge while OpenShell has not created one. A host without Docker, and one whose engine runs in
        a virtual machine or without root, has none, which is a warning too.
    type: list
    elements: str
    default: ["0.0.0.0"]
  max_body_size:
    description: Maximum size of a request body, in nginx's notation.
    type: str
    default: 512m
  read_timeout:
    description: Seconds to wait for the first piece of a response and between two pieces.
    type: int
    default: 600
  connect_timeout:
    description: Seconds to connect to the server behind.
    type: int
    default: 5
  drain_timeout:
    description: Seconds for which a stream that is open during a reload may continue.
    type: int
    default: 3600
  max_connections:
    description: Maximum number of simultaneous client connections.
    type: int
    default: 1024
  max_connections_per_address:
    description: Maximum number of simultaneous requests with the token from one address; more are answered with 429.
    type: int
    default: 256
  workers:
    description: Worker processes of nginx.
    type: int
    default: 1
  memory_max:
    description: Memory limit of the unit, in systemd's notation.
    type: str
    default: 256M
  overlap:
    description:
      - Seconds for which the previous token stays valid after a rotation. V(0) revokes it with the rotation.
      - Nothing happens by itself when they have passed. The first run with O(state=present) after that removes the previous token.
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
        description: The expected content; white space at the end does not matter.
        type: str
        required: true
  path:
    description:
      - The token file.
      - By default C(~/.nemoclaw/ollama-proxy-token) of O(user).
    type: path
  user:
    description:
      - The owner of the token and of NemoClaw.
      - By default the user that the module runs as.
    type: str
  gate_user:
    description:
      - The account that the auth proxy runs as; it distinguishes the proxy's own sockets from others.
      - For O(state=free), O(state=compared) and O(state=serving).
    type: str
    default: nemoclaw-proxy
  unit:
    description:
      - The unit of the auth proxy, whose log is shown if it does not listen.
      - For O(state=compared) and O(state=serving).
    type: str
    default: nemoclaw-ollama-proxy.service
  timeout:
    description: Time limit in seconds for the auth proxy to start or to reload its tokens.
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
      - O(state=rotated) creates a new token each time. The other states are idempotent.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
notes:
  - All states that change something, and O(state=checked), need root (C(become)) and systemd.
  - Without root, the owners of other users' sockets cannot be seen, and the module names only the user.
  - A server that is down behind the auth proxy does not fail this module, except with O(gates[].serving). See RV(gates[].outcome).
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
  description: What was done, or would be in check mode, each as a verb and its object.
  returned: with O(state=present), O(state=rotated), O(state=committed), O(state=absent) and O(state=loopback)
  type: list
  elements: str
  sample: [write /etc/nemoclaw-ollama-proxy.conf, reload nemoclaw-ollama-proxy.service]
fingerprint:
  description:
    - Start of a hash of the token, which distinguishes tokens and reveals nothing about them. Null in check mode for a token that would be
      created.
  returned: with O(state=present), O(state=rotated) and O(state=committed)
  type: str
  sample: 5a0c84ea31dd7b06
previous_fingerprint:
  description: The same for the previous token while it is valid, else null.
  returned: with O(state=present), O(state=rotated) and O(state=committed)
  type: str
  sample: null
path:
  description: Path of the token file.
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
  description: Whether the files are as required, the service runs and is enabled, and the auth proxy serves.
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
  description: The paths of O(files) that are not as required.
  returned: with O(state=compared)
  type: list
  elements: str
  sample: []
found:
  description: The present content of O(files), so that it can be restored.
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
      description: The content, null if the file is missing or no text.
      type: str
      returned: always
exposed:
  description: The listeners through which other hosts can reach a server behind the auth proxy without going through it. As
    C(nemoclaw_host.listeners).
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
      description: The address that was queried.
      type: str
      returned: always
      sample: http://127.0.0.1:11435/v1/models
    outcome:
      description:
        - V(serving), V(backend_down) (the server behind it does not answer) or V(backend_refuses) (it requires its own key).
        - With any other outcome the module fails. See C(failure.code).
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
    - The code is C(port_taken), C(proxy_refused) (nothing listens), C(proxy_silent), C(proxy_open) (no token is required), C(proxy_foreign)
      (another server), C(proxy_impostor) (another user's process that answers as the auth proxy does) or C(token_rejected), besides those
      of M(nemoclaw.local_inference.proxy_token).
    - With O(gates[].serving) also C(backend_down), C(backend_refuses) or C(backend_unproved).
    - With O(state=loopback), O(state=present) and O(state=checked) C(engine_exposed), and those of
      M(nemoclaw.local_inference.ollama_service).
    - With O(state=present) and O(state=checked) C(proxy_settings_invalid), C(proxy_bridge_unknown) (Docker does not report the address for
      V(bridge) in O(listen)), C(systemd_missing), C(package_manager_missing) and C(package_not_installed). With the states that change
      something C(proxy_config_refused), C(account_failed), C(gate_unwritable), C(systemd_failed), C(root_needed), C(rotation_running)
      (another run is changing the auth proxy) and C(proxy_missing).
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
