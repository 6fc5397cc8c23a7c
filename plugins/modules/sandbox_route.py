#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_route
version_added: "0.1.0"
short_description: Route the sandboxes of a gateway in one transaction, and record the route
description:
  - Points C(https://inference.local) in the sandboxes to the server of O(route), proves that from inside a sandbox, and records it. A
    failure restores the previous route, and the message says whether that worked.
  - With OpenShell 0.1, which has no such route, it attaches the server to one sandbox, O(sandbox) or that of the record. The agent there
    calls RV(environment) directly; its model and its timeout are in its own configuration, and OpenShell does not set them. This is
    experimental, since it was not tested with a real 0.1 gateway.
  - Inspects and plans first. Foreseeable problems are refused before the first change - a gateway that does not answer, other sandboxes
    that would be affected, a path that a firewall blocks, a provider of another type.
  - If the provider in use must change, the new address and key go to a second provider (C(NAME-next)) until they are proved and recorded,
    because the key of the existing one cannot be read back.
  - A run that is interrupted at any point is completed by the next one. Until the route is recorded, a note next to the record
    (C(local-inference.json.change)) has the route that was in force before.
options:
  state:
    description:
      - V(present) routes the sandboxes to O(route) and records it.
      - V(rotated) updates the provider of the recorded route with the current token of the auth proxy, and proves it. Only an existing
        provider is changed; a route without an auth proxy is left alone. The previous token stays valid meanwhile, and if the proof fails
        the provider gets it back. With O(restart) the proof comes before the restart, and once more after it.
      - V(absent) removes the recorded route from the gateway, with the providers whose key this host set. The record and the sandboxes
        stay, and so does everything that NemoClaw created.
    type: str
    choices: [present, rotated, absent]
    default: present
  route:
    description: The route, as RV(nemoclaw.local_inference.inference_route#module:route). Required for O(state=present).
    type: dict
  credential:
    description: The server's key. Without it the gateway gets C(dummy), since OpenShell creates no provider without a key.
    type: str
  behind_gate:
    description: Whether the server is behind the auth proxy, so that the proxy's token is the key. The token is read on the host.
    type: bool
    default: false
  token_path:
    description: The file of that token. By default C(~/.nemoclaw/ollama-proxy-token).
    type: path
  token_changes:
    description:
      - Whether the token is rotated before O(state=rotated) in the same play. In check mode nothing has rotated it yet, so the provider is
        compared with a token that does not exist yet. A real run reads the token that exists by then.
    type: bool
    default: false
    version_added: "0.2.0"
  path:
    description: The route record. By default C(~/.nemoclaw/local-inference.json) of the user that the module runs as.
    type: path
  backend:
    description:
      - V(nemoclaw) has NemoClaw create the sandbox and keeps its records correct, V(openshell) uses OpenShell directly; it is an error if
        the one that is named is missing. V(none) records the route only.
      - V(auto) means V(nemoclaw) if that is installed, V(openshell) if its command line is installed and a gateway is registered, else
        V(none). A gateway that does not answer is an error, since its sandboxes may be running.
    type: str
    choices: [auto, nemoclaw, openshell, none]
    default: auto
  gateway:
    description: The gateway's name, as C(openshell gateway list) has it. By default the active one, with NemoClaw C(nemoclaw).
    type: str
  sandbox:
    description:
      - The sandbox to create if none has that name. Without it only the route is set.
      - With NemoClaw the default is the recorded one, else C(my-assistant).
    type: str
  image:
    description: The image to create it from. By default the gateway's own. NemoClaw builds its own.
    type: str
  ready_timeout:
    description: Time limit in seconds until it is ready.
    type: int
    default: 180
  stall_timeout:
    description: Seconds without output from NemoClaw, in addition to O(ready_timeout), after which its onboarding is stopped.
    type: int
    default: 300
  change_shared_route:
    description: Whether the route may change even if sandboxes other than O(sandbox) use it.
    type: bool
    default: false
  replace_provider:
    description:
      - Whether a provider of the same name and another type, which OpenShell cannot change, is deleted and created again.
      - With OpenShell 0.1 also whether a provider profile of that name that was not made from here is replaced.
    type: bool
    default: false
  accept_third_party_software:
    description: Whether the third-party software that comes with NemoClaw is accepted. Without it NemoClaw creates no sandbox.
    type: bool
    default: false
  proof:
    description:
      - Whether the model is asked from inside a sandbox, from O(sandbox) or else the first that is ready. Its image needs C(curl).
    type: bool
    default: true
  require_tools:
    description: Whether it is an error if the model returns no structured tool call there.
    type: bool
    default: true
  network:
    description: The Docker network of the sandboxes, from which the path to this host is probed. By default it is detected.
    type: str
  restart:
    description:
      - With OpenShell 0.1, whether to stop and start a sandbox whose processes still have an older key. OpenShell gives a new key only to
        new processes.
      - Otherwise RV(restart_needed) and a warning say so.
    type: bool
    default: false
  binaries:
    description:
      - With OpenShell 0.1, the programs in the sandbox that may call the server, as absolute paths with C(*) and C(**).
      - By default as O(nemoclaw.local_inference.openshell_attachment#module:binaries).
    type: list
    elements: str
    default: []
  probe_image:
    description: The image to probe it with. By default as O(nemoclaw.local_inference.sandbox_probe#module:image).
    type: str
extends_documentation_fragment:
  - nemoclaw.local_inference.wait
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
    details:
      - Refuses what a real run would refuse. Nothing is proved, and a blocked path is no error, since nothing may listen yet.
  diff_mode:
    support: full
    details:
      - Keys are not shown.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.all]
requirements:
  - OpenShell 0.0.44 to 0.0.116, or 0.1 (experimental), on the target, command line and gateway of the same release, or NemoClaw, or neither
seealso:
  - module: nemoclaw.local_inference.openshell_provider
  - module: nemoclaw.local_inference.openshell_inference
  - module: nemoclaw.local_inference.openshell_sandbox
  - module: nemoclaw.local_inference.sandbox_proof
  - module: nemoclaw.local_inference.nemoclaw_onboard
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Give the sandboxes a server that was validated
  nemoclaw.local_inference.sandbox_route:
    route: "{{ ansible_facts.nemoclaw_route }}"
    credential: "{{ server_key }}"
    sandbox: my-assistant

- name: Have NemoClaw make the sandbox, for a server behind the auth proxy
  nemoclaw.local_inference.sandbox_route:
    route: "{{ ansible_facts.nemoclaw_route }}"
    behind_gate: true
    backend: nemoclaw
    accept_third_party_software: true

- name: Give the gateway the token of the auth proxy after a rotation
  nemoclaw.local_inference.sandbox_route:
    state: rotated
"""

RETURN = r"""
finished:
  description: Whether the work is finished. It may be false only with O(wait=0).
  returned: success
  type: bool
  sample: true
progress:
  description: How far the work is.
  returned: when RV(finished) is false
  type: dict
backend:
  description: What routes the sandboxes, C(openshell), C(nemoclaw) or C(none).
  returned: when finished
  type: str
  sample: openshell
actions:
  description: What was done, or would be, apart from the record, in words and in order.
  returned: when finished
  type: list
  elements: str
  sample: [create the provider ollama-local, route the gateway to qwen3.5:9b by ollama-local with 180 s]
summary:
  description: What the user should read.
  returned: when finished
  type: list
  elements: str
previous:
  description: The previous route of the sandboxes, null for none. With OpenShell 0.1 the provider that the sandbox had, and the sandbox.
  returned: when finished, with O(state=present)
  type: dict
  sample: {provider: vllm-local, model: Qwen/Qwen3-8B, timeout: 180}
route:
  description: The route as it is recorded.
  returned: when finished, with O(state=present)
  type: dict
path:
  description: The route record.
  returned: when finished, with O(state=present)
  type: str
  sample: /home/mia/.nemoclaw/local-inference.json
gateway:
  description: Name of the gateway, null if no sandbox is routed.
  returned: when finished, with O(state=present)
  type: str
sandbox:
  description: The sandbox that the route is for.
  returned: when finished, with O(state=present)
  type: str
sandboxes:
  description: The other sandboxes that use the route.
  returned: when finished, with O(state=present)
  type: list
  elements: str
way:
  description: How this OpenShell release routes sandboxes, V(route) or V(attachment).
  returned: when finished, with O(state=present)
  type: str
  sample: route
environment:
  description: What the agent's own configuration must contain with OpenShell 0.1, without its key; empty with other releases.
  returned: when finished, with O(state=present)
  type: dict
  sample: {}
restart_needed:
  description: Whether processes in a sandbox have an older key (OpenShell 0.1).
  returned: when finished, with O(state=present) or O(state=rotated)
  type: bool
  sample: false
restarted:
  description: Whether their sandboxes were stopped and started, or would be.
  returned: when finished, with O(state=present) or O(state=rotated)
  type: bool
  sample: false
proved:
  description: Whether the model answered from inside a sandbox in this run.
  returned: when finished, with O(state=present) or O(state=rotated)
  type: bool
proof:
  description: Which C(sandbox) was asked, what its C(tool_calling) was, and the C(reason) if nothing was proved.
  returned: when finished, with O(state=present)
  type: dict
out_of_reach:
  description: Why the gateway could not be queried, with O(backend=auto), null if it was queried.
  returned: with O(state=absent)
  type: dict
ansible_facts:
  description: The fact C(nemoclaw_route), which later roles and playbooks use.
  returned: when finished, with O(state=present)
  type: dict
failure:
  description:
    - What stopped it, with C(code) and C(message), and the state of the previous route.
    - The code is C(sandbox_path_blocked), C(route_shared), C(sandbox_name_missing), C(profile_foreign), C(route_record_unwritable) or
      C(token_missing), besides those of
      M(nemoclaw.local_inference.openshell_provider), M(nemoclaw.local_inference.openshell_inference),
      M(nemoclaw.local_inference.openshell_sandbox), M(nemoclaw.local_inference.sandbox_proof),
      M(nemoclaw.local_inference.nemoclaw_onboard) and M(nemoclaw.local_inference.nemoclaw_inference).
  returned: on failure
  type: dict
"""

import contextlib
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base import WAIT_OPTIONS, create_module, fail

# The ladder imports it where it is needed. By then the worker may have outlived the archive from which Ansible runs a module.
from ..module_utils.endpoint import leaks  # noqa: F401  # pylint: disable=unused-import
from ..module_utils.failure import Failure, clean_key
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.jobs.job import Job
from ..module_utils.jobs.progress import Report
from ..module_utils.openshell.probe import DEFAULT_IMAGE
from ..module_utils.openshell.route import Desired
from ..module_utils.proxy.token import PREVIOUS_SUFFIX, read_token, token_path
from ..module_utils.route.record import read_record, record_path
from ..module_utils.route.write import Journal
from ..module_utils.sandbox_route import backends
from ..module_utils.sandbox_route.transaction import PathProbe, Transaction, check_route

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "rotated", "absent"], "default": "present"},
    "route": {"type": "dict"},
    "credential": {"type": "str", "no_log": True},
    "behind_gate": {"type": "bool", "default": False},
    "token_path": {"type": "path", "no_log": False},
    "token_changes": {"type": "bool", "default": False, "no_log": False},
    "path": {"type": "path"},
    "backend": {"type": "str", "choices": list(backends.CHOICES), "default": "auto"},
    "gateway": {"type": "str"},
    "sandbox": {"type": "str"},
    "image": {"type": "str"},
    "ready_timeout": {"type": "int", "default": 180},
    "stall_timeout": {"type": "int", "default": 300},
    "change_shared_route": {"type": "bool", "default": False},
    "replace_provider": {"type": "bool", "default": False},
    "accept_third_party_software": {"type": "bool", "default": False},
    "proof": {"type": "bool", "default": True},
    "require_tools": {"type": "bool", "default": True},
    "network": {"type": "str"},
    "restart": {"type": "bool", "default": False},
    "binaries": {"type": "list", "elements": "str", "default": []},
    "probe_image": {"type": "str"},
    **WAIT_OPTIONS,
}

# OpenShell makes no provider without a credential, also for a server that wants no key.
_NO_KEY = "dummy"
_TO_BE_MADE = "token-still-to-be-made"


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC, required_if=[("state", "present", ["route"])])
    params = module.params
    # People paste links with the key in the query. Such a route is refused, and Ansible shows the arguments of a task that failed.
    urls = [str((params["route"] or {}).get(name)) for name in ("base_url_host", "base_url_sandbox")]
    module.no_log_values |= {url for url in urls if re.search("[@?#]", url)}
    try:
        account = find_account()
        path = params["path"] or record_path(account.home)
        run = {"present": _give, "rotated": _rotate, "absent": _remove}[params["state"]]
        result = run(module, account, path)
    except Failure as failure:
        fail(module, failure)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


def _give(module: AnsibleModule, account: Account, path: str) -> dict[str, Any]:
    params, machine = module.params, Machine()
    route = check_route(params["route"])
    token, unknown = _key(module, account)
    probe_from = PathProbe(machine, account, params["network"], params["probe_image"] or DEFAULT_IMAGE)
    current: list[tuple[Transaction, str, str]] = []

    # Here and not before: a call that only looks how far a worker is asks no gateway. One that is down by then is the worker's to tell
    # of, with what became of the previous route.
    def plan() -> dict[str, Any] | None:
        desired = _desired(params, route, _recorded(path), token or _NO_KEY)
        desired = backends.by_its_provider(params["backend"], machine, account, desired)
        name, backend, why = backends.choose(params["backend"], machine, account, desired)
        if backend is not None and unknown is not None:
            raise unknown
        transaction = Transaction(backend, desired, path, account, probe_from)
        current[:] = [(transaction, name, why)]
        return told(transaction.plan(module.check_mode))

    def told(result: dict[str, Any] | None) -> dict[str, Any] | None:
        _transaction, name, why = current[0]
        if result is not None:
            result.update(backend=name, summary=[why or backends.summary(route, result)])
        return result

    def work(report: Report) -> dict[str, Any]:
        return told(current[0][0].work(report)) or {}

    wanted = {option: params[option] for option in ARGUMENT_SPEC if option not in WAIT_OPTIONS}
    message = f"Giving the sandboxes {route['model']}"
    job = Job("sandbox-route", path, {**wanted, "token": token}, message, (token or "",), params["jobs_path"])
    wait = None if module.check_mode else params["wait"]
    return job.run(plan, work, wait).as_result()


def _rotate(module: AnsibleModule, account: Account, path: str) -> dict[str, Any]:
    recorded = _recorded(path) or {}
    if not backends.is_gated(recorded):
        return {"changed": False, "backend": "none", "actions": [], "proved": False, "summary": [], "finished": True}
    params = module.params
    token, previous = _token(module, account), _previous_token(module, account)
    if module.check_mode and params["token_changes"]:
        token = _TO_BE_MADE
    known = {**params, "gateway": params["gateway"] or recorded.get("gateway"), "require_tools": False}
    known["sandbox"] = params["sandbox"] or recorded.get("sandbox")
    desired = _desired(known, recorded, recorded, token)
    done = backends.rotate(params["backend"], Machine(), account, desired, module.check_mode, previous)
    return {**done, "finished": True}


def _remove(module: AnsibleModule, account: Account, path: str) -> dict[str, Any]:
    params = module.params
    # A play that was broken off leaves its worker behind, which would lead the sandboxes there again and record it.
    job = Job("sandbox-route", path, {}, "Giving the sandboxes a route", (), params["jobs_path"])
    with contextlib.nullcontext() if module.check_mode else job.alone():
        recorded = _recorded(path) or {}
        known = {**params, "gateway": params["gateway"] or recorded.get("gateway")}
        desired = _desired(known, recorded, recorded, _NO_KEY)
        result = backends.remove(params["backend"], Machine(), account, desired, module.check_mode, path)
        # It leaves this behind as well, and no gateway leads where it says any more.
        if result["backend"] == "openshell" and not module.check_mode:
            Journal(path, account).remove()
    return {**result, "finished": True}


def _desired(
    params: dict[str, Any], route: dict[str, Any], recorded: dict[str, Any] | None, credential: str
) -> Desired:
    return Desired(
        route,
        credential,
        recorded or {},
        params["gateway"] or "",
        params["sandbox"] or "",
        params["image"],
        params["ready_timeout"],
        params["stall_timeout"],
        params["change_shared_route"],
        params["replace_provider"],
        params["accept_third_party_software"],
        params["proof"],
        params["require_tools"],
        params["restart"],
        tuple(params["binaries"]),
    )


def _key(module: AnsibleModule, account: Account) -> tuple[str, Failure | None]:
    """Return the server's key, and why it is unknown: where no sandbox is led, nobody needs the token of the auth proxy."""
    if not module.params["behind_gate"]:
        return clean_key(module.params["credential"]), None
    try:
        return _token(module, account), None
    except Failure as failure:
        return "", failure


def _token(module: AnsibleModule, account: Account) -> str:
    """Return the token of the auth proxy, which is shown nowhere from here on."""
    path = module.params["token_path"] or token_path(account.home)
    stored = read_token(path)
    if stored is not None:
        module.no_log_values.add(stored.value)
        return stored.value
    if module.check_mode:
        return _TO_BE_MADE
    raise Failure(
        "token_missing",
        f"The server stands behind the auth proxy, and its token file {path} is not there. Run the role proxy, which makes it, or correct "
        "token_path (sandbox_token_path).",
    )


def _previous_token(module: AnsibleModule, account: Account) -> str:
    """Return the token before that, while the auth proxy takes it; empty where none is kept."""
    path = module.params["token_path"] or token_path(account.home)
    with contextlib.suppress(Failure):
        stored = read_token(path + PREVIOUS_SUFFIX)
        if stored is not None:
            module.no_log_values.add(stored.value)
            return stored.value
    return ""


def _recorded(path: str) -> dict[str, Any] | None:
    """Return the recorded route; one that cannot be read is replaced, so it counts as none."""
    try:
        return read_record(path)
    except Failure:
        return None


if __name__ == "__main__":
    main()
