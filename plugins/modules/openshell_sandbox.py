#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openshell_sandbox
version_added: "0.1.0"
short_description: Manage a sandbox of an OpenShell gateway
description:
  - Creates a sandbox and waits until OpenShell reports it as ready, or deletes one and waits until it is gone.
  - The phase in the gateway's list decides. The exit status of the creating command does not, because before OpenShell 0.0.111 it continues
    by opening a session, which may fail although the sandbox is ready.
  - An existing sandbox is waited for and never changed. A gateway does not show what a sandbox was created from.
  - Provider and route come first. A sandbox is not created while the route's provider is missing, since it would never get inference.
  - Sandboxes of OpenShell 0.1 are created the same way (experimental, see M(nemoclaw.local_inference.openshell_attachment)).
  - If it does not become ready in time, or has an error, the module fails with the phase and OpenShell's log of it. The sandbox stays, so
    that it can be inspected.
options:
  name:
    description:
      - The sandbox's name. Lower-case letters, digits and single hyphens, 19 characters at most.
    type: str
    required: true
  state:
    description:
      - Whether the sandbox must exist.
      - V(restarted) stops it and starts it again, which repairs a sandbox that was started while the provider of the gateway's route was
        missing; such a sandbox never gets inference by itself. It needs OpenShell 0.0.106 or later and reports a change each time.
    type: str
    choices: [present, absent, restarted]
    default: present
  image:
    description:
      - The image to create it from. A single word means an OpenShell community image.
      - By default the gateway's own.
    type: str
  providers:
    description:
      - Providers to attach, whose credentials its programs use directly.
      - C(inference.local) needs none.
    type: list
    elements: str
    default: []
  policy:
    description: File on the target with the sandbox's policy.
    type: path
  timeout:
    description: Time limit in seconds until it is ready, or gone. Pulling a large image counts.
    type: int
    default: 180
extends_documentation_fragment:
  - nemoclaw.local_inference.openshell
  - nemoclaw.local_inference.wait
  - nemoclaw.local_inference.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: V(restarted) restarts each time.
  action_group:
    support: full
    membership: [nemoclaw.local_inference.openshell, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.openshell_inference
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Create a sandbox
  nemoclaw.local_inference.openshell_sandbox:
    name: my-assistant
    image: registry.example.com/lab/agent:1
    timeout: 600

- name: Stop and start one that gets no inference
  nemoclaw.local_inference.openshell_sandbox:
    name: my-assistant
    state: restarted

- name: Delete it
  nemoclaw.local_inference.openshell_sandbox:
    name: my-assistant
    state: absent
"""

RETURN = r"""
finished:
  description: Whether the work is finished. It may be false only with O(wait=0).
  returned: success
  type: bool
progress:
  description: The progress, with C(message), C(phase) and C(elapsed) seconds.
  returned: when not finished
  type: dict
  sample: {"phase": "sandbox", "message": "Waiting for the sandbox my-assistant, Provisioning", "elapsed": 12}
phase:
  description: V(Ready), or in check mode the phase of an existing one; null without one.
  returned: when finished
  type: str
  sample: Ready
sandbox:
  description: The sandbox as the gateway lists it, null without one.
  returned: when finished
  type: dict
  contains:
    id:
      description: The id that the gateway gave it.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
      sample: my-assistant
    phase:
      description: Its phase.
      type: str
      returned: always
      sample: Ready
actions:
  description: What was done, or would be done in check mode.
  returned: when finished
  type: list
  elements: str
  sample: ["create my-assistant"]
elapsed:
  description: Seconds that it took.
  returned: when finished
  type: float
  sample: 14.2
release:
  description: The release of OpenShell.
  returned: when finished
  type: str
  sample: 0.0.83
failure:
  description: What stopped it, with C(code) and C(message).
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: sandbox_timeout
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    last_state:
      description: The phase that it was last seen in.
      type: str
      returned: when it did not come up, or was not deleted
      sample: Provisioning
    elapsed:
      description: Seconds that were waited.
      type: float
      returned: when it did not come up, or was not deleted
    last_logs:
      description: The end of OpenShell's log of it.
      type: list
      elements: str
      returned: when it did not come up
"""

from typing import Any

from ..module_utils.base import OPENSHELL_OPTIONS, WAIT_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.jobs.job import Job
from ..module_utils.openshell.cli import ATTACHMENT, ROUTE, OpenShell
from ..module_utils.openshell.lifecycle import Making, SandboxOutcome, remove_sandbox, restart_sandbox
from ..module_utils.openshell.look import DesiredSandbox, open_cli

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "restarted"], "default": "present"},
    "image": {"type": "str"},
    "providers": {"type": "list", "elements": "str", "default": []},
    "policy": {"type": "path"},
    "timeout": {"type": "int", "default": 180},
    **WAIT_OPTIONS,
    **OPENSHELL_OPTIONS,
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    desired = DesiredSandbox(
        params["name"], params["image"], tuple(params["providers"]), params["policy"], params["timeout"]
    )
    try:
        cli = open_cli(params, ways=(ROUTE, ATTACHMENT))
        result = _bring(cli, desired, params, module.check_mode)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(**result)


def _bring(cli: OpenShell, desired: DesiredSandbox, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    sides = (f"{desired.name}: absent\n", f"{desired.name}: present\n")
    if params["state"] == "absent":
        # Deleting one takes seconds, and its end is a list that is looked at again and again: nothing to show.
        return {"finished": True, **_result(cli, remove_sandbox(cli, desired, check_mode), sides[::-1])}
    if params["state"] == "restarted":
        outcome = restart_sandbox(cli, desired, check_mode)
        return {
            "finished": True,
            **_result(cli, outcome, (f"{desired.name}: running\n", f"{desired.name}: restarted\n")),
        }
    making = Making(cli, desired)

    def plan() -> dict[str, Any] | None:
        outcome = making.plan(check_mode)
        return _result(cli, outcome, sides) if outcome else None

    wanted = {name: params[name] for name in ARGUMENT_SPEC if name not in WAIT_OPTIONS}
    subject = f"{desired.name} {params['user']} {params['gateway']} {params['gateway_endpoint']}"
    job = Job("openshell-sandbox", subject, wanted, f"Making the sandbox {desired.name}", folder=params["jobs_path"])
    wait = None if check_mode else params["wait"]
    return job.run(plan, lambda report: _result(cli, making.work(report), sides), wait).as_result()


def _result(cli: OpenShell, outcome: SandboxOutcome, sides: tuple[str, ...]) -> dict[str, Any]:
    diff = dict(zip(("before", "after"), sides if outcome.changed else ("", "")))
    return {**outcome.as_result(), "release": str(cli.release), "diff": diff}


if __name__ == "__main__":
    main()
