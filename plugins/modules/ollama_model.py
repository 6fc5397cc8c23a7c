#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_model
version_added: "0.1.0"
short_description: Download, load, unload or delete a model of an Ollama daemon
description:
  - Brings a model into the requested state, through Ollama's native HTTP API. The C(ollama) program is not needed.
  - A download needs consent (O(allow_download)). Without it the module stops before the first byte, with the size in its message.
  - A download has no limit on its total time, only on the time without progress (O(stall_timeout)). The daemon keeps the downloaded part,
    so the next run resumes from there.
  - It prints the progress of a long download or load.
  - A model that declares its capabilities and has no C(tools) among them is refused, since no agent can work with it. If the same run
    downloaded it, it is deleted again, since its capabilities are known only after the download.
    M(nemoclaw.local_inference.endpoint_validate) shows afterwards whether its tool calls come back structured.
options:
  name:
    description:
      - The model, for example V(qwen2.5:7b). Without a tag, C(:latest) is used.
      - V(auto) chooses one for O(state=present) and O(state=loaded). Of the installed models that fit the GPU's memory (the host's, where
        there is no GPU), generate text and can use tools, it chooses C(nemotron-3-nano:30b), else the first. If there is none, it chooses
        the largest starter model that fits.
      - V(all) means every model in memory, for O(state=unloaded).
    type: str
    required: true
  nemoclaw_profile:
    description:
      - Which starter models O(name=auto) offers. The smallest, which is for every host, is C(qwen2.5:7b) with V(page), as on NVIDIA's page,
        and C(qwen3.5:9b) with V(later), as in NemoClaw's newest known release.
    type: str
    choices: [page, later]
    default: page
    version_added: "0.2.0"
  state:
    description:
      - V(present) downloads the model if it is missing.
      - V(loaded) also loads it into memory.
      - V(unloaded) unloads it from memory. Files stay, and it is no error if the daemon does not run.
      - V(absent) deletes its files.
    type: str
    choices: [present, loaded, unloaded, absent]
    default: present
  host:
    description: Where the daemon is, as C(HOST:PORT). The port may be omitted.
    type: str
    default: 127.0.0.1:11434
  allow_download:
    description: Consent to download. It waives no check.
    type: bool
    default: false
  require_tools:
    description: Refuse a model that declares that it cannot use tools.
    type: bool
    default: true
  insecure_registry:
    description: Use plain HTTP with the registry in the name. Only for a registry of your own.
    type: bool
    default: false
  timeout:
    description:
      - Time limit in seconds for loading and for unloading. Large models have taken seven minutes on a DGX.
      - It does not limit downloads.
    type: int
    default: 600
  stall_timeout:
    description: Seconds without progress after which a download is given up.
    type: int
    default: 120
  keep_alive:
    description:
      - How long the model stays in memory without a request, in Ollama's notation, for example V(15m) or V(1h).
      - V(-1) keeps it until it is unloaded. A model that is already loaded keeps its time.
    type: str
    default: 15m
  models_path:
    description:
      - Where the daemon keeps its models, for the check whether there is room for a download (C(disk_too_small)). A part that an earlier
        try left is taken into account.
      - By default it is derived from the daemon's process or its service. For a daemon on another host nothing is checked.
    type: path
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes
  - nemoclaw.local_inference.wait
attributes:
  check_mode:
    support: full
    details:
      - It requests the size from the registry and downloads nothing. The capabilities of a missing model are not known.
      - On a host without Ollama it reports what would be downloaded and loaded once Ollama is installed.
  diff_mode:
    support: full
  idempotent:
    support: full
  action_group:
    support: full
    membership: [nemoclaw.local_inference.ollama, nemoclaw.local_inference.all]
seealso:
  - module: nemoclaw.local_inference.ollama_info
  - module: nemoclaw.local_inference.endpoint_validate
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Load the model that fits this host
  nemoclaw.local_inference.ollama_model:
    name: auto
    state: loaded
    allow_download: true

- name: Say how large a model is, and download nothing
  nemoclaw.local_inference.ollama_model:
    name: qwen2.5:14b
    allow_download: true
  check_mode: true
  register: plan

# Lines of progress are printed meanwhile, with every stdout callback.
- name: Download and load the model
  nemoclaw.local_inference.ollama_model:
    name: qwen2.5:14b
    state: loaded
    allow_download: true

- name: Free the GPU
  nemoclaw.local_inference.ollama_model:
    name: all
    state: unloaded
"""

RETURN = r"""
finished:
  description:
    - Whether the work is finished. It may be false only with O(wait=0), and then there are only RV(finished), RV(progress) and C(changed).
  returned: success
  type: bool
model:
  description: Name of the model as Ollama lists it, null for O(name=all).
  returned: success
  type: str
  sample: qwen2.5:7b
digest:
  description: SHA-256 of its manifest, null if the model is missing.
  returned: success
  type: str
size:
  description: Size in bytes, null if unknown.
  returned: success
  type: int
  sample: 4683087332
size_source:
  description: V(disk), V(registry) (its manifest), V(estimate) (known for the starter models) or V(unknown).
  returned: success
  type: str
  sample: registry
capabilities:
  description: Capabilities of the model, null if the daemon does not report them or the model is missing.
  returned: success
  type: list
  elements: str
  sample: [completion, tools]
choice_reason:
  description: Why O(name=auto) chose this model, as part of a sentence.
  returned: success
  type: str
  sample: "it is the largest starter model that fits this host (49140 MiB of GPU memory, 48520 MiB of it for a model)"
loaded:
  description: The model in memory, for O(state=loaded).
  returned: success
  type: dict
  contains:
    name:
      description: Name with its tag. It differs from RV(model) if a model that shares its weights was loaded before.
      returned: always
      type: str
      sample: qwen2.5:7b
    digest:
      description: SHA-256 of its manifest, null if the daemon does not report it.
      returned: always
      type: str
    size:
      description: Bytes in memory.
      returned: always
      type: int
    size_vram:
      description: Bytes of them on GPUs.
      returned: always
      type: int
    context_length:
      description: Context length in tokens, null if the daemon is too old to report it.
      returned: always
      type: int
      sample: 32768
    expires_at:
      description: When it will be unloaded.
      returned: always
      type: str
progress:
  description:
    - How the download ended, null without a download. In RV(failure) it tells where the download stopped.
    - While RV(finished) is false, the progress of the work.
  returned: success
  type: dict
  contains:
    phase:
      description: V(manifest), V(download), V(verify), V(write) or V(done); while it is not finished also V(start) and V(load).
      returned: always
      type: str
      sample: done
    percent:
      description: Share that is on the host, null before the size is known.
      returned: always
      type: float
      sample: 100.0
    completed:
      description: Bytes on the host, including those of earlier tries.
      returned: always
      type: int
    total:
      description: Bytes in total, null before it is known.
      returned: always
      type: int
    rate:
      description: Bytes per second over this run, null without a download. While it is not finished, over the last 15 seconds.
      returned: always
      type: int
    seconds_left:
      description: Seconds that the download will take at this rate, null if unknown.
      returned: while RV(finished) is false
      type: int
    elapsed:
      description: Seconds since the work was started, by any run.
      returned: while RV(finished) is false
      type: int
    message:
      description: What is done.
      returned: while RV(finished) is false
      type: str
      sample: Pulling qwen2.5:7b
    unit:
      description: What is counted, V(bytes).
      returned: while RV(finished) is false
      type: str
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["pull qwen2.5:7b, 4.36 GiB", "load qwen2.5:7b"]
failure:
  description: What stopped it.
  returned: on failure
  type: dict
  contains:
    code:
      description: Stable name, listed in C(docs/failure-codes.md).
      type: str
      returned: always
      sample: download_not_allowed
    message:
      description: The sentence, the same as C(msg).
      type: str
      returned: always
    progress:
      description: As RV(progress).
      type: dict
      returned: when a download stopped
    size:
      description: Bytes that would have to be downloaded, null if unknown.
      type: int
      returned: for RV(failure.code=download_not_allowed)
    free:
      description: Bytes that are free.
      type: int
      returned: for RV(failure.code=disk_too_small)
    needed:
      description: Bytes that are needed.
      type: int
      returned: for RV(failure.code=disk_too_small)
    server_message:
      description: The response of the daemon.
      type: str
      returned: when the daemon refused
"""

from dataclasses import asdict
from typing import Any

from ..module_utils.base import WAIT_OPTIONS, create_module, fail
from ..module_utils.failure import Failure
from ..module_utils.host.gpus import find_gpus, parse_meminfo
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.host.platform import read_platform
from ..module_utils.host.sockets import find_listeners
from ..module_utils.jobs.job import Job, Outcome
from ..module_utils.jobs.progress import Report, silent
from ..module_utils.ollama import model_work
from ..module_utils.ollama.catalogue import Size
from ..module_utils.ollama.client import find_ollama_client
from ..module_utils.ollama.daemon import Address, Daemon
from ..module_utils.ollama.info import parse_address
from ..module_utils.ollama.model import Desired
from ..module_utils.ollama.names import ModelName
from ..module_utils.profiles import BY_NAME, PAGE

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "nemoclaw_profile": {"type": "str", "choices": [*BY_NAME], "default": PAGE.name},
    "state": {"type": "str", "choices": ["present", "loaded", "unloaded", "absent"], "default": "present"},
    "host": {"type": "str", "default": "127.0.0.1:11434"},
    "allow_download": {"type": "bool", "default": False},
    "require_tools": {"type": "bool", "default": True},
    "insecure_registry": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 600},
    "stall_timeout": {"type": "int", "default": 120},
    "keep_alive": {"type": "str", "default": "15m"},
    "models_path": {"type": "path"},
    **WAIT_OPTIONS,
}
# The states that take long, and what is done meanwhile.
_VERBS = {"present": "Pulling", "loaded": "Loading"}


def main() -> None:
    """Run the module."""
    module = create_module(ARGUMENT_SPEC)
    params = dict(module.params)
    wait, folder, store = params.pop("wait"), params.pop("jobs_path"), params.pop("models_path")
    try:
        daemon = Daemon(parse_address(params.pop("host")))
        outcome = _bring(daemon, Desired(**params), module.check_mode, wait, folder, store)
    except Failure as failure:
        fail(module, failure)
    result = outcome.as_result()
    if not outcome.finished:
        module.exit_json(**result)
    for warning in result.pop("warnings"):
        module.warn(warning)
    before, after = result.pop("before"), result.pop("after")
    diff = {"before": f"{result['model']}: {before}\n", "after": f"{result['model']}: {after}\n"}
    module.exit_json(**result, diff=diff if result["changed"] else {"before": "", "after": ""})


def _bring(
    daemon: Daemon, desired: Desired, check_mode: bool, wait: int | None, folder: str | None, store: str | None
) -> Outcome:
    machine = Machine()
    planning = check_mode and _is_not_installed(machine, daemon.address)

    def act(check_mode: bool, report: Report = silent) -> dict[str, Any]:
        return model_work.converge(
            daemon, desired, lambda: _find_gpus(machine, daemon.address), check_mode, report, planning, check_room
        )

    def check_room(name: ModelName, size: Size) -> None:
        place = store or model_work.find_store(machine, daemon.address, find_account())
        if place:
            model_work.check_room(name, size, place, machine)

    def plan() -> dict[str, Any] | None:
        result = act(True)
        return None if result["changed"] else result

    if check_mode or wait is None or desired.state not in _VERBS:
        return Outcome(True, None, act(check_mode))
    job = Job(
        "ollama-model",
        f"{daemon} {desired.name}",
        asdict(desired),
        f"{_VERBS[desired.state]} {desired.name}",
        folder=folder,
    )
    return job.run(plan, lambda report: act(False, report), wait)


def _is_not_installed(machine: Machine, address: Address) -> bool:
    """Tell whether this host has neither the program nor a daemon, so that a plan is all there can be."""
    if not address.is_loopback or find_listeners(machine, [address.port]):
        return False
    return find_ollama_client(machine, find_account())["path"] is None


def _find_gpus(machine: Machine, address: Address) -> dict[str, Any]:
    memory = parse_meminfo(machine.read("/proc/meminfo"))
    gpus = find_gpus(machine, read_platform(machine).name, memory)
    # The memory of a WSL says nothing about that of its Windows.
    return {**gpus, "host_available_mib": memory.available_mib if address.is_loopback else None}


if __name__ == "__main__":
    main()
