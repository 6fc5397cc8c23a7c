#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_plan
short_description: Tell what a run of site would do on a host, and whether anything stands against it
version_added: 0.2.0
description:
  - Looks at the host once, chooses provider, role and model, compares what is there with what the settings want, and returns the
    steps between, in order. The roles' modules decide by the same functions.
  - Everything that can be foreseen to stop a run is a refusal - consent, an experimental provider, an unknown model, a missing token or
    key, a port that somebody else holds, room on the disk, a GPU, the container engine, settings that contradict each other, and a
    variable C(nemoclaw_*) that nothing reads.
  - Where nothing is to be done, the server is proved and the status of the route is returned.
  - Reads only. Nothing is installed, written or started, and no model is loaded.
  - The settings are read on the controller, by an action plugin of the same name - the variables of the inventory, those of the roles
    (C(ollama_model) and the like) and the environment, as the defaults of the roles do.
options:
  settings:
    description:
      - Settings that win over those of the inventory, by the name of the variable, for example C(nemoclaw_provider).
    type: dict
    default: {}
  default_provider:
    description:
      - The provider where nobody names one, nor the URL of a server of one's own. The action plugin alone reads it.
    type: str
    choices: [auto, ollama]
    default: auto
  keep_route:
    description:
      - Whether C(auto), and what nobody names, mean the recorded route. Then a host without one is refused.
    type: bool
    default: false
  proof:
    description:
      - How the server is proved. V(ladder) asks everything that an agent does. V(completion) asks one question where the record was made
        with the same server and model, and takes the rest from the record.
      - Defaults to the variable C(plan_proof), then to V(ladder).
    type: str
    choices: [ladder, completion]
    default: ladder
  fail_on_refusal:
    description:
      - Whether a host with refusals fails, with the first of them as its message.
    type: bool
    default: false
  show:
    description:
      - Whether the lines of the plan are printed by the task itself.
    type: bool
    default: false
  playbook:
    description:
      - The playbook that plans. Then a host that does not answer is no failure of this task, RV(outcome) and RV(proceed) say how to go on,
        and the host keeps a refusal as its last failure, or forgets that where nothing is to be done.
    type: str
  collect:
    description:
      - Whether the host is looked at for a report. Then RV(document) is returned in place of the plan, and the task does not fail for what
        is in it.
      - Beside the plan, the route is asked as M(nemoclaw.local_inference.inference_status) asks it, where the plan has not.
    type: bool
    default: false
  user:
    description:
      - Whose inference it is, in whose home the route is recorded. The action plugin gives C(nemoclaw_user).
      - By default the user that the play connects as, also under become.
    type: str
  secrets:
    description:
      - Keys of servers, which the action plugin gives.
    type: dict
    default: {}
  origins:
    description:
      - By which variable each setting was set, which the action plugin gives.
    type: dict
    default: {}
  apart:
    description:
      - Variables by which a role would act for another user, which the action plugin gives.
    type: list
    elements: str
    default: []
  watch:
    description:
      - The checksum of the watch's program and the name of the host, which the action plugin gives where C(watch_enabled) is true.
    type: dict
    default: {}
  by_sudo:
    description:
      - Whether this process was become root from the login user, which the action plugin says. Then E(SUDO_USER) or E(DOAS_USER) names
        the owner.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
attributes:
  action:
    description: Has an action plugin of the same name, which runs on the controller.
    support: full
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
notes:
  - Give the task C(become=true). The action plugin uses it where only root can compare, that is for Ollama and the auth proxy; for other
    providers it runs as the user that the play connects as, or as C(nemoclaw_user).
  - Where a container is to be made, or Ollama to be installed, the action plugin asks C(vllm_container), C(nim_container) or
    C(ollama_install) in their check mode as well, and on WSL C(ollama_windows) where only Windows can say whether it has an Ollama. A host
    where nothing is to be done takes one call, with a managed container two.
seealso:
  - module: nemoclaw.local_inference.inference_facts
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Plan
  nemoclaw.local_inference.inference_plan:
  become: true
  register: plan

- name: Show what site would do
  ansible.builtin.debug:
    msg: "{{ plan.lines }}"

- name: Stop where something stands against it
  ansible.builtin.assert:
    that: plan.refusals | length == 0
    fail_msg: "{{ plan.refusals | map(attribute='message') | join(' ') }}"
"""

RETURN = r"""
converged:
  description: Whether a run of site would change nothing, and would prove the same.
  returned: success
  type: bool
  sample: false
drift:
  description: Whether something on the host differs. A model that is only not in memory is no drift, nor is what could not be looked at.
  returned: success
  type: bool
  sample: true
steady:
  description: Whether nothing differs and nothing stands against a run, which is what a drift check asks.
  returned: success
  type: bool
  sample: false
steps:
  description: What a run would do, in order.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Stable name, made of component and action, with a number where there are several.
      returned: success
      type: str
      sample: model.pull
    component:
      description: What it is about.
      returned: success
      type: str
      choices: [packages, ollama, service, windows, model, container, proxy, token, server, sandbox, route, previous, watch]
    action:
      description:
        - A verb. V(verify) is what site looks at and this look could not, V(load) takes a model into memory.
      returned: success
      type: str
      sample: pull
    reason:
      description: Why, in words.
      returned: success
      type: str
      sample: the model is not on this host
    before:
      description: What is there, null where nothing is.
      returned: success
      type: str
    after:
      description: What will be there.
      returned: success
      type: str
    download_bytes:
      description: What has to be fetched, null where nobody knows, 0 for nothing.
      returned: success
      type: int
    interrupts:
      description: What is unavailable meanwhile, V(nothing), V(new streams) or V(the model).
      returned: success
      type: str
refusals:
  description: What stands against it. Nothing is changed on a host that has one.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: As in docs/failure-codes.md.
      returned: success
      type: str
    message:
      description: What was looked at, what was found, and what to do.
      returned: success
      type: str
choice:
  description: What the host gets, and why. Null where settings are wrong, since nothing was looked at then.
  returned: success
  type: dict
  contains:
    provider:
      description: Of the wizard.
      returned: success
      type: str
    reason:
      description: Why, as a part of a sentence.
      returned: success
      type: str
    role:
      description: The role that sets it up.
      returned: success
      type: str
    previous_role:
      description: That of the recorded route, null without one.
      returned: success
      type: str
    side:
      description: On a WSL, V(wsl) or V(windows), or why neither, V(undecided) or V(unknown). Null elsewhere.
      returned: success
      type: str
    side_reason:
      description: Why that side.
      returned: success
      type: str
    model:
      description: The model that is wanted, null where the server says it.
      returned: success
      type: str
    model_reason:
      description: Why that one.
      returned: success
      type: str
host:
  description: The facts, as C(ansible_facts.nemoclaw_host) of M(nemoclaw.local_inference.inference_facts).
  returned: success
  type: dict
route:
  description: The route that a run would record, null where the server is still to come.
  returned: success
  type: dict
recorded:
  description: The route that is recorded, null without one.
  returned: success
  type: dict
kept:
  description: The settings of the role endpoint that come from the record, since nobody named a server. Empty elsewhere.
  returned: success
  type: dict
download_bytes:
  description: What the steps have to fetch, as far as it is known.
  returned: success
  type: int
download_unknown:
  description: Whether a step fetches something whose size nobody knows.
  returned: success
  type: bool
proof:
  description: What was proved, as M(nemoclaw.local_inference.endpoint_validate) returns it. Null where something is to be done.
  returned: success
  type: dict
status:
  description: The lines of the status. Empty where something is to be done.
  returned: success
  type: list
  elements: str
checks:
  description:
    - The status as data, as M(nemoclaw.local_inference.inference_status) returns it. Empty where something is to be done.
  returned: success
  type: list
  elements: dict
document:
  description:
    - What was found, for a report, in at most 64 KiB and without secrets, as C(docs/host-document.schema.json) has it.
    - The action plugin makes it, with O(collect=true).
  returned: with O(collect=true)
  type: dict
asked:
  description:
    - The checks of the route, as M(nemoclaw.local_inference.inference_status) returns them. The action plugin puts them into RV(document).
  returned: with O(collect=true), by the module itself
  type: list
  elements: dict
consult:
  description: Modules that have more to say. Empty once the action plugin has asked them.
  returned: success
  type: list
  elements: str
lines:
  description: The plan for people, which the action plugin adds.
  returned: success
  type: list
  elements: str
outcome:
  description: What the plan alone means, as M(nemoclaw.local_inference.inference_outcome) returns it.
  returned: with O(playbook)
  type: dict
proceed:
  description: Whether something is to be done and nothing stands against it.
  returned: with O(playbook)
  type: bool
fingerprint:
  description: A mark of the settings without secrets, which the action plugin adds. The same settings have the same one.
  returned: success
  type: str
  sample: 1f0c9a7be2d34c55
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Account, Machine, find_account
from ..module_utils.plan.make import make_plan
from ..module_utils.plan.prove import ask_route
from ..module_utils.plan.settings import read

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "settings": {"type": "dict", "default": {}},
    "default_provider": {"type": "str", "choices": ["auto", "ollama"], "default": "auto"},
    "keep_route": {"type": "bool", "default": False},
    "proof": {"type": "str", "choices": ["ladder", "completion"], "default": "ladder"},
    "fail_on_refusal": {"type": "bool", "default": False},
    "show": {"type": "bool", "default": False},
    "playbook": {"type": "str"},
    "collect": {"type": "bool", "default": False},
    "user": {"type": "str"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "origins": {"type": "dict", "default": {}},
    "apart": {"type": "list", "elements": "str", "default": []},
    "watch": {"type": "dict", "default": {}},
    "by_sudo": {"type": "bool", "default": False},
}


def owner(params: dict[str, Any], environ: dict[str, str]) -> Account:
    """Return whose inference it is: the user that is named, else whoever the play connects as, also under become."""
    login = environ.get("SUDO_USER") or environ.get("DOAS_USER") if params["by_sudo"] else None
    return find_account(params["user"] or login)


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    machine = Machine()
    try:
        account = owner(params, machine.environ)
        settings = read({**params["settings"], **params["secrets"]}, params["origins"])
        plan = make_plan(
            machine,
            account,
            settings,
            keep_route=params["keep_route"],
            proof=params["proof"],
            apart=params["apart"],
            watch=params["watch"],
        )
        if params["collect"]:
            plan["asked"] = ask_route(machine, account, settings, plan)
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, **plan)


if __name__ == "__main__":
    main()
