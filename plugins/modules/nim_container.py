#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_container
version_added: "0.1.0"
short_description: Run an NVIDIA NIM as a container
description:
  - Chooses the largest NIM that really fits the host's GPUs, or uses the one that is named; pulls its image, starts it, and waits until it
    answers.
  - Everything that can be known in advance is checked before anything is pulled. That is the NGC key (tried at the registry), the image and
    whether it is built for this CPU, the port, the NVIDIA runtime, the memory of the GPUs and what else holds it, and the disk space for
    image and model.
  - The key is passed to the container only in its environment, as C(NGC_API_KEY) and C(NIM_NGC_API_KEY). It is in no argument list, result,
    diff or file. A container with another key is recognized by a keyed hash in a label.
  - A replacement stops the previous container only when all of this holds, and restores it if the new one fails.
  - The container is published on C(127.0.0.1) and on the gateway of the sandboxes' bridge. It runs as the user of the task, keeps its
    downloads in O(cache_dir), and is restarted after a crash and at boot.
  - It downloads its model itself, so it gets the web proxies of the host from the environment of the task (E(HTTPS_PROXY), E(HTTP_PROXY),
    E(NO_PROXY)), unless O(environment) names others. They are treated as secrets.
  - With V(auto) for O(gpus) it gets the GPUs of one model only, since a NIM cannot span several. On a DGX Station these are the GPUs named
    GB300, elsewhere those of the model with the most memory in total. A O(model) that needs more than these have gets all GPUs, with a
    warning.
  - A foreign container of the same name is refused. There is no fallback to a cloud if a NIM fails.
options:
  name:
    description: The container.
    type: str
    default: nemoclaw-nim-nemoclaw
  model:
    description:
      - A name of the catalogue, such as V(meta/llama-3.1-8b-instruct), in upper or lower case. It must fit the GPUs.
      - Without it the largest that fits is used. GPUs of several models are summed up and shown, but since a NIM spreads a model over GPUs
        of one kind, the kind with the most memory decides.
    type: str
  image:
    description:
      - An image other than the catalogue's.
      - With a O(model) that is not in the catalogue, its requirements are unknown, and memory is not checked.
      - An image that is already on the host is used as it is, if it is built for the host's CPU.
    type: str
  registry:
    description:
      - The registry that holds the catalogue's images and accepts O(ngc_api_key).
      - At V(nvcr.io) a key that is set takes precedence over the user's login. At a mirror the user's login takes precedence, and the key
        is tried if there is none.
    type: str
    default: nvcr.io
  models:
    description:
      - Changes and additions to the catalogue, keyed by model name. The fields are C(image), C(memory_mib) (what a host must have),
        C(weights_bytes) and C(served_name).
    type: dict
    default: {}
  served_model:
    description: The ID that the server must list. By default whatever it serves is accepted, with a warning if it is not the catalogue's.
    type: str
  cache_dir:
    description: Folder on the host for its downloads. The default is C(~/.cache/nim) of the user that the task runs as.
    type: str
  ngc_api_key:
    description: The NGC key. Keep it in a vault.
    type: str
  keyless:
    description: Start it without a key. For an image or a O(cache_dir) that already holds the model.
    type: bool
    default: false
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
  - nemoclaw.local_inference.managed_container
  - nemoclaw.local_inference.wait
attributes:
  check_mode:
    support: full
    details:
      - It queries the registry, checks everything, and pulls and changes nothing.
  diff_mode:
    support: full
    details:
      - For the key, only whether it changes is shown.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.containers, nemoclaw.local_inference.all]
requirements:
  - the Python libraries C(docker) 5.0.3 or newer and C(requests) on the host; the role preflight installs the distribution's packages
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Run the largest NIM that fits
  nemoclaw.local_inference.nim_container:
    ngc_api_key: "{{ ngc_api_key }}"

- name: Run one on the second GPU
  nemoclaw.local_inference.nim_container:
    model: meta/llama-3.1-8b-instruct
    gpus: "1"
    ngc_api_key: "{{ ngc_api_key }}"

- name: Say what would be pulled, and pull nothing
  nemoclaw.local_inference.nim_container:
    ngc_api_key: "{{ ngc_api_key }}"
  check_mode: true
  register: plan

- name: Free the GPU
  nemoclaw.local_inference.nim_container:
    state: stopped
"""

RETURN = r"""
finished:
  description:
    - Whether the work is finished. It may be false only with O(wait=0), and then there are only RV(finished), RV(progress) and C(changed).
  returned: success
  type: bool
container:
  description: The container, null if there is none. Its environment is not included.
  returned: when RV(finished) is true
  type: dict
  contains:
    name:
      description: Its name.
      returned: always
      type: str
    status:
      description: The engine's status, such as V(running) or V(exited).
      returned: always
      type: str
    image:
      description: Its image.
      returned: for O(state=started)
      type: str
    published:
      description: Where it is published.
      returned: for O(state=started)
      type: list
      elements: str
      sample: ["127.0.0.1:8000", "172.17.0.1:8000"]
    gpus:
      description: V(all), V(none), or its GPUs.
      returned: for O(state=started)
      type: str
    restart_policy:
      description: What the engine does when it exits.
      returned: for O(state=started)
      type: str
previous:
  description: The container that was replaced, if it still exists. It is stopped.
  returned: success
  type: str
  sample: nemoclaw-nim-previous
provisional:
  description:
    - Whether there is something to undo if the server fails validation. This run created or started it or found it unproved, or another one
      made room for it. O(state=restored) undoes that.
  returned: for O(state=started)
  type: bool
outcome:
  description: What serves now, as a sentence.
  returned: for O(state=restored)
  type: str
  sample: nemoclaw-vllm serves again as before once its model is loaded.
model:
  description: The model's ID as the server lists it; before it is ready, as the catalogue has it. Null for the other states.
  returned: when RV(finished) is true
  type: str
  sample: meta/llama-3.1-8b-instruct
base_url:
  description: Where the host reaches it.
  returned: when RV(finished) is true
  type: str
  sample: http://127.0.0.1:8000/v1
served_models:
  description: All IDs that the server lists.
  returned: for O(state=started)
  type: list
  elements: str
context_window:
  description: Context window in tokens, null if the server does not report it.
  returned: for O(state=started)
  type: int
phase:
  description: V(ready), V(planned) in check mode, or the current phase; for the other states the engine's status, or V(absent).
  returned: success
  type: str
  sample: ready
image_bytes:
  description: The compressed size of an image to be pulled, null if it is already here or the registry does not report it.
  returned: for O(state=started)
  type: int
choice_reason:
  description: Why this model, as part of a sentence.
  returned: for O(state=started)
  type: str
  sample: "it is the largest that fits (NVIDIA GeForce RTX 4090, 24564 MiB)"
fitting_models:
  description: All models of the catalogue that fit the sum of the GPUs.
  returned: for O(state=started)
  type: list
  elements: str
gpu_summary:
  description: Each GPU model with its memory, and the total.
  returned: for O(state=started)
  type: str
  sample: "NVIDIA GeForce RTX 4090, 24564 MiB"
last_logs:
  description: Empty for a server that is ready; RV(failure) has the last lines of one that failed.
  returned: when RV(finished) is true
  type: list
  elements: str
actions:
  description: What was done, or would be done in check mode.
  returned: when RV(finished) is true
  type: list
  elements: str
  sample: ["pull nvcr.io/nim/meta/llama-3.1-8b-instruct:latest", "create nemoclaw-nim-nemoclaw"]
progress:
  description: The progress of the work, null when it is finished.
  returned: success
  type: dict
  sample:
    phase: pull
    message: Pulling nvcr.io/nim/meta/llama-3.1-8b-instruct:latest
    percent: 41.2
    completed: 5400000000
    total: 13100000000
    unit: bytes
    rate: 52000000
    seconds_left: 148
    elapsed: 104
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: registry_unauthorized
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    last_state:
      description: The engine's status of the container.
      type: str
      returned: when a container failed
    last_logs:
      description: The last lines of its log.
      type: list
      elements: str
      returned: when a container failed
    restored:
      description: The container that serves again, null if there was none before.
      type: str
      returned: when a container failed
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base import CONTAINER_OPTIONS, WAIT_OPTIONS, create_module, fail
from ..module_utils.containers.work import alone, desired_options, run
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.jobs.progress import Report
from ..module_utils.nim.catalogue import REGISTRY
from ..module_utils.nim.context import DEFAULT_NAME, Desired
from ..module_utils.nim.lifecycle import converge, secrets_of

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **CONTAINER_OPTIONS,
    **WAIT_OPTIONS,
    "name": {"type": "str", "default": DEFAULT_NAME},
    "model": {"type": "str"},
    "models": {"type": "dict", "default": {}},
    "registry": {"type": "str", "default": REGISTRY},
    "served_model": {"type": "str"},
    "cache_dir": {"type": "str"},
    "ngc_api_key": {"type": "str", "no_log": True},
    "keyless": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    try:
        result = _bring(Desired(**desired_options(module.params)), module)
    except Failure as failure:
        fail(module, failure)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


def _bring(desired: Desired, module: AnsibleModule) -> dict[str, Any]:
    machine, account = Machine(), find_account()
    if module.check_mode:
        return {"finished": True, **converge(machine, account, desired, check_mode=True)}
    if desired.state != "started":
        with alone("nim", desired.name, module.params):
            return {"finished": True, **converge(machine, account, desired, check_mode=False)}

    def plan() -> dict[str, Any] | None:
        result = converge(machine, account, desired, check_mode=True)
        # One that is there and does not answer yet is waited for, which changes nothing.
        return result if result["phase"] == "ready" and not result["changed"] else None

    def work(report: Report) -> dict[str, Any]:
        return converge(machine, account, desired, False, report)

    return run("nim", desired, secrets_of(machine, desired), module.params, plan, work)


if __name__ == "__main__":
    main()
