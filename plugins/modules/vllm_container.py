#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_container
version_added: "0.1.0"
short_description: Run vLLM in a container
description:
  - Pulls the image, downloads the weights, runs vLLM and waits until it answers with the requested model. The page's profiles and models
    are built in; O(models) adds others.
  - Before anything is pulled or stopped it checks that the container name belongs to the collection, the token of a gated model is set, the
    port and the GPUs are free, the model fits the GPUs' memory and compute capability, the registry offers the image to this user and for
    this CPU, and the disks have room.
  - The weights are downloaded by a separate container, the only one that has O(hf_token), into the Hugging Face cache of the user that the
    task runs as. The server has no token, does not reach the Hugging Face hub (C(HF_HUB_OFFLINE)), and sees the weights read-only.
  - When something differs, the new container is created next to the old one, which serves until image and weights are there. Then the old
    one stops, since a GPU rarely holds two models, and is restored if the new one fails.
  - A container of the same name that this module did not create is never touched.
options:
  name:
    description: Name of the container.
    type: str
    default: nemoclaw-vllm
  model:
    description:
      - A slug such as V(qwen3.6-27b) or a full Hugging Face ID, in upper or lower case.
      - The default is the one of the host's profile. For O(state=absent) with O(remove_weights) it is the one that the container served.
    type: str
  nemoclaw_profile:
    description:
      - Which default to use if O(model) is not set. It makes a difference only on a DGX Spark.
      - V(page) is C(Qwen/Qwen3.6-27B-FP8), as on NVIDIA's page. V(later) is C(nvidia/Qwen3.6-35B-A3B-NVFP4), as in NemoClaw's newest known
        release.
    type: str
    choices: [page, later]
    default: page
    version_added: "0.2.0"
  models:
    description:
      - Models in addition to the built-in ones, or changed fields of those, keyed by slug. A new one needs C(model) (the Hugging Face id)
        and C(max_model_len).
      - Further fields are C(reasoning_parser), C(tool_call_parser), C(flags) (a list), C(gpu_memory_utilization), C(tensor_parallel_size),
        C(trust_remote_code), C(download_bytes), C(compute_capability), C(memory_mib), C(gated), C(revision), C(served_name) and
        C(environment).
    type: dict
    default: {}
  extra_args:
    description:
      - Additional arguments for C(vllm serve). They come last, so they take precedence.
      - C(--api-key) is refused, as is C(VLLM_API_KEY) in O(environment). vLLM's own key leaves some paths open.
    type: list
    elements: str
    default: []
  cache_dir:
    description:
      - The Hugging Face cache (C(HF_HOME)) that holds the weights.
      - The default is C(~/.cache/huggingface) of the user that the task runs as.
    type: str
  hf_token:
    description:
      - Token for Hugging Face. Gated models need it.
      - It is passed only to the container that downloads, in its environment.
    type: str
  hf_endpoint:
    description: A hub other than C(https://huggingface.co), for example a mirror in the lab.
    type: str
  ngc_api_key:
    description:
      - NGC key for an image at C(nvcr.io), which hosts the built-in ones. Without it the login of the user that the task runs as is used,
        and without a login the registry is queried anonymously.
      - It is sent to the registry before anything is pulled, and nowhere else.
    type: str
  remove_weights:
    description: For O(state=absent), also remove the weights of the model.
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
      - It makes all the checks, requests the image's manifest from the registry, and downloads nothing.
  diff_mode:
    support: full
    details:
      - For secrets it shows only that they exist and whether they changed.
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.containers, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Serve the model of this host's profile
  nemoclaw.local_inference.vllm_container:

- name: Serve a gated model
  nemoclaw.local_inference.vllm_container:
    model: deepseek-r1-distill-70b
    hf_token: "{{ hf_token }}"

- name: Say what would be downloaded and restarted
  nemoclaw.local_inference.vllm_container:
    model: qwen3.6-27b
  check_mode: true
  diff: true

- name: Free the GPU
  nemoclaw.local_inference.vllm_container:
    state: stopped
"""

RETURN = r"""
finished:
  description:
    - Whether the work is finished. It may be false only with O(wait=0), and then there are only RV(finished), RV(progress), RV(phase) and
      C(changed).
  returned: success
  type: bool
container:
  description: The container, null if there is none. Its environment is not included.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      returned: always
      type: str
      sample: nemoclaw-vllm
    status:
      description: The engine's name for its state.
      returned: always
      type: str
      sample: running
    image:
      description: The image.
      returned: for O(state=started)
      type: str
    published:
      description: Where it listens on the host.
      returned: for O(state=started)
      type: list
      elements: str
      sample: ["127.0.0.1:8000", "172.18.0.1:8000"]
    gpus:
      description: The GPUs that it gets.
      returned: for O(state=started)
      type: str
      sample: all
    restart_policy:
      description: What the engine does when it exits.
      returned: for O(state=started)
      type: str
      sample: unless-stopped
previous:
  description: The container that was replaced, if it still exists. It is stopped.
  returned: success
  type: str
  sample: nemoclaw-vllm-previous
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
  description: The model's id as the server lists it.
  returned: success
  type: str
  sample: Qwen/Qwen3.6-27B-FP8
base_url:
  description: Where this host reaches it.
  returned: success
  type: str
  sample: http://127.0.0.1:8000/v1
context_window:
  description: Context window in tokens, as the server reports it; in check mode, as it would be set.
  returned: success
  type: int
  sample: 262144
weights:
  description: The weights, null for O(state=stopped) and O(state=absent).
  returned: success
  type: dict
  contains:
    path:
      description: The folder.
      returned: always
      type: str
      sample: /home/alice/.cache/huggingface/hub/models--Qwen--Qwen3.6-27B-FP8
    bytes:
      description: What is there.
      returned: always
      type: int
    complete:
      description: Whether all of it is there.
      returned: always
      type: bool
phase:
  description: >-
    V(ready), V(planned) in check mode, V(exited) or V(absent); while RV(finished) is false V(start), V(pull), V(download), V(load),
    V(compile) or V(serve).
  returned: success
  type: str
  sample: ready
progress:
  description: The progress of the work, null when it is finished.
  returned: success
  type: dict
  contains:
    phase:
      description: As RV(phase).
      returned: always
      type: str
      sample: load
    message:
      description: What is done.
      returned: always
      type: str
    unit:
      description: What is counted, V(bytes) or V(percent).
      returned: always
      type: str
    percent:
      description: Share of this phase, null if unknown.
      returned: always
      type: float
    completed:
      description: Amount done, null if unknown.
      returned: always
      type: int
    total:
      description: Total amount, null if unknown.
      returned: always
      type: int
    rate:
      description: Units per second over the last 15 seconds, null if unknown.
      returned: always
      type: int
    seconds_left:
      description: Seconds that this phase will take at this rate, null if unknown.
      returned: always
      type: int
    elapsed:
      description: Seconds since the work was started, by any run.
      returned: always
      type: int
last_logs:
  description: Empty for a server that is ready; RV(failure) has the last lines of one that failed.
  returned: success
  type: list
  elements: str
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["download Qwen/Qwen3.6-27B-FP8", "create nemoclaw-vllm"]
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: gated_without_token
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    last_logs:
      description: The last lines of the container that failed.
      type: list
      elements: str
      returned: when a container failed
    last_state:
      description: The engine's name for the state that it was in.
      type: str
      returned: when a container failed
    exit_code:
      description: How it ended.
      type: int
      returned: when a container ended
    restored:
      description: Name of the container that serves again, null if none served before.
      type: str
      returned: when a container was started and failed
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base import CONTAINER_OPTIONS, LINK_OPTION, WAIT_OPTIONS, create_module, fail
from ..module_utils.containers.engine import connect
from ..module_utils.containers.work import alone, desired_options, run
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.jobs.progress import Report
from ..module_utils.profiles import BY_NAME, PAGE
from ..module_utils.vllm import lifecycle
from ..module_utils.vllm.context import DEFAULT_NAME, Desired, Vllm, check_desired

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **CONTAINER_OPTIONS,
    **WAIT_OPTIONS,
    "name": {"type": "str", "default": DEFAULT_NAME},
    "model": {"type": "str"},
    "nemoclaw_profile": {"type": "str", "choices": [*BY_NAME], "default": PAGE.name},
    "models": {"type": "dict", "default": {}},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "cache_dir": {"type": "str"},
    "hf_token": {"type": "str", "no_log": True},
    "hf_endpoint": LINK_OPTION,
    "ngc_api_key": {"type": "str", "no_log": True},
    "remove_weights": {"type": "bool", "default": False},
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
    check_desired(desired)

    def vllm() -> Vllm:
        return Vllm(connect(machine, account, desired.docker_host), machine, account, desired)

    def work(report: Report) -> dict[str, Any]:
        # A connection of its own: the worker is another process.
        return lifecycle.start(vllm(), report)

    if desired.state == "started" and not module.check_mode:
        secrets = lifecycle.secrets_of(machine, desired)
        # While a worker is at it, neither the engine nor the GPUs are asked: under its load they may not answer in time.
        return run("vllm", desired, secrets, module.params, lambda: lifecycle.settled(vllm()), work)
    if desired.state == "started":
        return {"finished": True, **lifecycle.predicted(vllm())}
    with contextlib.nullcontext() if module.check_mode else alone("vllm", desired.name, module.params):
        engine = connect(machine, account, desired.docker_host)
        return {"finished": True, **lifecycle.take_down(engine, machine, account, desired, module.check_mode)}


if __name__ == "__main__":
    main()
