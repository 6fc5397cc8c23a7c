#!/usr/bin/python
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_facts
short_description: Tell what a host has for local inference, in one trip
version_added: 0.1.0
description:
  - Looks at everything that decides how local inference is set up on a host - the kind of machine, NVIDIA GPUs and their memory,
    main memory, package manager, container engine, who listens on the ports in question, Ollama, OpenShell and NemoClaw, the Python
    libraries that other modules need, and the route that an earlier run stored.
  - The answer is the fact C(ansible_facts.nemoclaw_host). Every probe is bounded in time. One without an answer leaves
    V(null) and a sentence that says why, so the module fails only for an unknown user or a platform that is not Linux.
  - Reads only. Nothing is installed, started or written, and no model is loaded.
options:
  user:
    description:
      - Who owns the inference set-up of the host. Tools in this user's C(~/.local/bin) are found as well, and the stored route
        is read from this user's C(~/.nemoclaw). The home directory comes from the passwd database.
      - The default is the user that the module runs as, which under C(become) is the user that was become.
      - When the module runs as root for another user, the tools are run as that user.
    type: str
  route_path:
    description:
      - The route record to read.
      - By default C(~/.nemoclaw/local-inference.json) of O(user).
    type: path
  ports:
    description:
      - TCP ports whose listeners are reported.
    type: list
    elements: int
    default: [11434, 11435, 8000, 8080]
  ollama_port:
    description:
      - Port on 127.0.0.1 where an Ollama daemon is asked for its version.
    type: int
    default: 11434
  vllm_port:
    description: Port on which a vLLM server would listen on 127.0.0.1.
    type: int
    default: 8000
extends_documentation_fragment:
  - nemoclaw.local_inference.attributes.read_only
attributes:
  facts:
    description: Returns C(ansible_facts) that are set for the host.
    support: full
  action_group:
    description: Use C(group/nemoclaw.local_inference.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - nemoclaw.local_inference.all
notes:
  - The owner of a listener that belongs to another user can be named only when the module runs as root.
  - Docker Desktop lists the C(nvidia) runtime on machines without an NVIDIA GPU too, so
    RV(ansible_facts.nemoclaw_host.docker.nvidia_runtime) alone is no proof that containers can use a GPU.
seealso:
  - module: nemoclaw.local_inference.endpoint_validate
  - module: nemoclaw.local_inference.inference_status
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

EXAMPLES = r"""
- name: Look at the host
  nemoclaw.local_inference.inference_facts:

- name: Look at the host of another user, and at ports of our own choice
  nemoclaw.local_inference.inference_facts:
    user: alice
    ports: [11434, 8000, 9000]
  become: true

- name: Stop early on hosts without a usable container engine
  ansible.builtin.assert:
    that: ansible_facts.nemoclaw_host.docker.reachable
    fail_msg: "{{ ansible_facts.nemoclaw_host.docker.reason }}"

- name: Show what the GPUs are
  ansible.builtin.debug:
    msg: "{{ ansible_facts.nemoclaw_host.gpus.summary }}"

- name: Name everybody who listens for other machines on Ollama's port
  ansible.builtin.debug:
    msg: "{{ item.process | default('somebody', true) }} listens on {{ item.address }}:{{ item.port }}"
  loop: "{{ ansible_facts.nemoclaw_host.listeners | selectattr('port', 'eq', 11434) | rejectattr('scope', 'eq', 'loopback') }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts of the host.
  returned: success
  type: dict
  contains:
    nemoclaw_host:
      description: What the host has for local inference. Every key is always there.
      returned: success
      type: dict
      contains:
        platform:
          description: Kind of machine. V(wsl) is said of every Linux inside Windows, whatever its hardware is.
          returned: success
          type: str
          choices: [dgx-spark, dgx-station, jetson, wsl, linux]
          sample: dgx-spark
        platform_evidence:
          description: What RV(ansible_facts.nemoclaw_host.platform) was concluded from, as part of a sentence.
          returned: success
          type: str
          sample: the DMI product name is 'NVIDIA_DGX_Spark'
        profile:
          description: Profile that chooses the defaults of a managed vLLM. V(none) means that there is no default for this host.
          returned: success
          type: str
          choices: [dgx-spark, dgx-station, linux-nvidia, none]
          sample: dgx-spark
        kernel:
          description: Kernel release, V(null) when it cannot be read.
          returned: success
          type: str
          sample: 6.11.0-1016-nvidia
        architecture:
          description: CPU architecture, V(amd64), V(arm64), or what C(uname -m) says for any other.
          returned: success
          type: str
          sample: arm64
        distribution:
          description: The Linux distribution by its C(os-release) file.
          returned: success
          type: dict
          contains:
            id:
              description: Short name, V(null) when not given.
              returned: success
              type: str
              sample: ubuntu
            version:
              description: Version number, V(null) when not given (rolling distributions).
              returned: success
              type: str
              sample: "24.04"
            pretty_name:
              description: Name for people, V(null) when not given.
              returned: success
              type: str
              sample: Ubuntu 24.04.3 LTS
        user:
          description: Who owns the set-up, as the passwd database has it.
          returned: success
          type: dict
          contains:
            name:
              description: Login name.
              returned: success
              type: str
              sample: alice
            uid:
              description: User id.
              returned: success
              type: int
              sample: 1000
            gid:
              description: Id of the primary group.
              returned: success
              type: int
              sample: 1000
            home:
              description: Home directory.
              returned: success
              type: str
              sample: /home/alice
        gpus:
          description:
            - NVIDIA GPUs as C(nvidia-smi) lists them, or the integrated one of a Jetson.
            - Counts, groups and sums are over the trusted devices only.
          returned: success
          type: dict
          contains:
            vendor:
              description: V(nvidia), or V(null) without a trusted GPU.
              returned: success
              type: str
              sample: nvidia
            count:
              description: Number of trusted GPUs.
              returned: success
              type: int
              sample: 1
            devices:
              description: One entry for each GPU with a known memory size.
              returned: success
              type: list
              elements: dict
              contains:
                index:
                  description: Number of the GPU.
                  returned: success
                  type: int
                  sample: 0
                uuid:
                  description: Name that stays the same across reboots, V(null) when the driver does not say.
                  returned: success
                  type: str
                  sample: GPU-2dee1e25-b3b5-007e-2b55-79f2d0f2ebe5
                name:
                  description: Model, control characters replaced.
                  returned: success
                  type: str
                  sample: NVIDIA GB10
                trusted:
                  description:
                    - Whether firmware, or name and driver together, confirm NVIDIA hardware. Tools exist that make GPUs up, among them
                      C(JMJWOA-Generic-GPU) in Windows on ARM.
                  returned: success
                  type: bool
                  sample: true
                memory_total_mib:
                  description: Memory in MiB; with unified memory an equal share of the host's. V(null) when neither is known.
                  returned: success
                  type: int
                  sample: 122572
                memory_free_mib:
                  description: Free memory in MiB, with unified memory an equal share of what the host has available. V(null) when unknown.
                  returned: success
                  type: int
                  sample: 114033
                compute_capability:
                  description: CUDA compute capability, V(null) when the driver is too old to say.
                  returned: success
                  type: str
                  sample: "12.1"
                driver_version:
                  description: Version of the driver, V(null) when not given.
                  returned: success
                  type: str
                  sample: 580.95.05
                unified_memory:
                  description: Whether GPU and CPU share one memory.
                  returned: success
                  type: bool
                  sample: true
            groups:
              description: One entry for each model, in the order of first appearance.
              returned: success
              type: list
              elements: dict
              contains:
                name:
                  description: Model.
                  returned: success
                  type: str
                  sample: NVIDIA GB10
                count:
                  description: How many there are.
                  returned: success
                  type: int
                  sample: 1
                memory_total_mib:
                  description: Their memory together, in MiB.
                  returned: success
                  type: int
                  sample: 122572
            memory_total_mib:
              description: Memory of all GPUs in MiB, V(0) without one.
              returned: success
              type: int
              sample: 122572
            memory_available_mib:
              description: Free memory in MiB summed over the GPUs that tell it, V(null) when none does.
              returned: success
              type: int
              sample: 114033
            unified_memory:
              description: Whether at least one GPU shares the host's memory, which then is counted once.
              returned: success
              type: bool
              sample: true
            summary:
              description: Every model and the total, in one line.
              returned: success
              type: str
              sample: NVIDIA GB10, 122572 MiB, shared with the host
            problem:
              description: What is wrong with the GPUs or their driver, V(null) when nothing is.
              returned: success
              type: str
              sample: "The PCI bus has an NVIDIA GPU at 0000:01:00.0, but nvidia-smi is not installed: install the NVIDIA driver."
        memory:
          description: Main memory.
          returned: success
          type: dict
          contains:
            total_mib:
              description: All of it in MiB, V(null) when unknown.
              returned: success
              type: int
              sample: 122572
            available_mib:
              description: What a new process can get without swapping, in MiB, V(null) when unknown.
              returned: success
              type: int
              sample: 114033
        package_manager:
          description: Package manager by the command that is there, V(null) when none is known.
          returned: success
          type: str
          sample: apt
        systemd:
          description: Whether systemd runs the host.
          returned: success
          type: bool
          sample: true
        wsl:
          description: About WSL, V(null) elsewhere.
          returned: success
          type: dict
          contains:
            version:
              description: V(1) or V(2).
              returned: success
              type: int
              sample: 2
            distro:
              description: Name of the distribution in Windows. V(null) over SSH, where WSL sets no variable.
              returned: success
              type: str
              sample: Ubuntu-24.04
            networking_mode:
              description: What C(wslinfo --networking-mode) says, for example V(nat) or V(mirrored). V(null) when it says nothing.
              returned: success
              type: str
              sample: nat
            interop:
              description: Whether this Linux can run Windows programs, such as C(powershell.exe).
              returned: success
              type: bool
              sample: true
        docker:
          description: The container engine that a Docker client of the user would find.
          returned: success
          type: dict
          contains:
            kind:
              description: Which engine it is. An unreachable engine is named by its socket or program.
              returned: success
              type: str
              choices: [none, native, desktop, podman, colima]
              sample: native
            reachable:
              description: Whether the user that the module runs as can use it.
              returned: success
              type: bool
              sample: true
            code:
              description:
                - Why it cannot be used, V(null) when it can.
                - One of V(absent), V(daemon_stopped), V(permission_denied), V(timeout), V(unsupported_endpoint), V(unexpected_answer).
              returned: success
              type: str
              sample: permission_denied
            reason:
              description: The same as a sentence with the next step, V(null) when it can be used.
              returned: success
              type: str
              sample: "Opened unix:///var/run/docker.sock, but no daemon answers there: start it (systemctl start docker)."
            endpoint:
              description: Address of the engine, V(null) when there is none.
              returned: success
              type: str
              sample: unix:///var/run/docker.sock
            user_has_access:
              description:
                - Whether O(user) itself may open the engine's socket, by its owner, group and mode. V(null) without a socket.
                - A membership in the docker group counts as soon as the group database has it, before the user logs in again.
              returned: success
              type: bool
              sample: true
            version:
              description: Version of the engine, V(null) when it cannot be asked.
              returned: success
              type: str
              sample: 28.2.2
            api_version:
              description: Version of its API, V(null) when it cannot be asked.
              returned: success
              type: str
              sample: "1.50"
            cgroup_version:
              description: Version of the control groups that it uses, V(null) when it cannot be asked.
              returned: success
              type: str
              sample: "2"
            runtimes:
              description: Names of its runtimes, sorted.
              returned: success
              type: list
              elements: str
              sample: [io.containerd.runc.v2, nvidia, runc]
            nvidia_runtime:
              description: Whether C(nvidia) is one of them.
              returned: success
              type: bool
              sample: true
            rootless:
              description: Whether it runs without root, V(null) when it cannot be asked.
              returned: success
              type: bool
              sample: false
        proxy:
          description:
            - What is there of the authenticated reverse proxy.
            - V(null) only when it could not be looked up in time.
          returned: success
          type: dict
          contains:
            nginx:
              description: Path of nginx, V(null) where it is not installed.
              returned: success
              type: str
              sample: /usr/sbin/nginx
            account:
              description: Whether the system account of the proxy is there.
              returned: success
              type: bool
              sample: true
            unit:
              description: Whether the unit of the proxy is there.
              returned: success
              type: bool
              sample: true
            gates:
              description: The gates of its configuration, as O(nemoclaw.local_inference.proxy_gate#module:gates) takes them.
              returned: success
              type: list
              elements: dict
              sample: [{name: ollama, port: 11435, probe_path: /v1/models}]
        listeners:
          description:
            - Listening sockets on O(ports), IPv4 and IPv6, sorted by port.
            - V(null) only when the kernel's tables could not be read in time.
          returned: success
          type: list
          elements: dict
          contains:
            port:
              description: TCP port.
              returned: success
              type: int
              sample: 11434
            address:
              description: Address that it is bound to.
              returned: success
              type: str
              sample: 127.0.0.1
            family:
              description: Family of the socket. V(v4-mapped) is an IPv6 socket bound to an IPv4 address.
              returned: success
              type: str
              choices: [ipv4, ipv6, v4-mapped]
              sample: ipv4
            scope:
              description:
                - Who can reach it, which is this host alone, everybody, or those who reach the one address.
                - An IPv6 socket with V(any) takes IPv4 as well, as a rule.
              returned: success
              type: str
              choices: [loopback, any, address]
              sample: loopback
            uid:
              description: User id that owns the socket.
              returned: success
              type: int
              sample: 998
            user:
              description: Its name, V(null) when the passwd database has none.
              returned: success
              type: str
              sample: ollama
            pid:
              description: Process that holds it, V(null) when this may not be seen.
              returned: success
              type: int
              sample: 812
            process:
              description: Name of that process, V(null) when this may not be seen.
              returned: success
              type: str
              sample: ollama
        ollama:
          description: Ollama's program and its daemon, and on WSL the daemon of Windows.
          returned: success
          type: dict
          contains:
            path:
              description: The command, V(null) when it is not installed.
              returned: success
              type: str
              sample: /usr/local/bin/ollama
            client_version:
              description: Version of the command, V(null) when it is not installed or does not say.
              returned: success
              type: str
              sample: 0.9.3
            daemon_version:
              description: Version of the daemon on 127.0.0.1, V(null) when none answers.
              returned: success
              type: str
              sample: 0.9.3
            problem:
              description: Why a version is missing although something is there, V(null) otherwise.
              returned: success
              type: str
              sample: "Asked http://127.0.0.1:11434/api/version for Ollama's version, but it does not speak HTTP (BadStatusLine)."
            recorded_version:
              description: Version that M(nemoclaw.local_inference.ollama_install) installed, V(null) where somebody else installed it.
              returned: success
              type: str
              sample: 0.32.9
            kept_version:
              description: Version that an upgrade replaced and nobody has committed yet, after an interrupted run. V(null) without one.
              returned: success
              type: str
              sample: 0.31.1
            damage:
              description:
                - How the installation differs from what M(nemoclaw.local_inference.ollama_install) recorded of it, or what an
                  interrupted run left beside it. V(null) where there is nothing of that, and where another program installed it.
              returned: success
              type: str
              sample: /usr/local/lib/ollama/libggml-base.so is missing
            checksum:
              description: SHA-256 of the archive that it was installed from, V(null) where nobody recorded it.
              returned: success
              type: str
              sample: sha256:5d747a43369f61e38f20b5a39fcc5c90647e562cdc61e2e56034f1c5b113d540
            windows:
              description:
                - On WSL, the Ollama of Windows as far as this Linux reaches it. V(null) elsewhere.
                - Whether containers reach it is another question, which M(nemoclaw.local_inference.sandbox_probe) answers.
              returned: success
              type: dict
              contains:
                host:
                  description: Where it is reached, as C(HOST:PORT). V(null) when none answers.
                  returned: success
                  type: str
                  sample: host.docker.internal:11434
                daemon_version:
                  description: Its version, V(null) when none answers.
                  returned: success
                  type: str
                  sample: 0.9.3
                problem:
                  description: What every path to it said, V(null) when one answers.
                  returned: success
                  type: str
                  sample: host.docker.internal does not resolve in this Linux.
            both_running:
              description:
                - Whether the daemons of WSL and of Windows both run. Only one of them should (page, WSL with Windows-Host Ollama).
              returned: success
              type: bool
              sample: false
        vllm:
          description: The vLLM server on 127.0.0.1, whoever runs it.
          returned: success
          type: dict
          contains:
            running:
              description: Whether what answers on the port is vLLM.
              returned: success
              type: bool
            port:
              description: Where it was looked for.
              returned: success
              type: int
              sample: 8000
            models:
              description: The ids that it serves; empty where it wants a key for the list.
              returned: success
              type: list
              elements: str
              sample: [Qwen/Qwen3.6-27B-FP8]
            model:
              description: The first of them, V(null) where there is none.
              returned: success
              type: str
              sample: Qwen/Qwen3.6-27B-FP8
            context_window:
              description: Tokens of context that it says it has, V(null) where it does not.
              returned: success
              type: int
              sample: 262144
            problem:
              description: What is wrong with what listens there, V(null) otherwise.
              returned: success
              type: str
        openshell:
          description: The OpenShell command line.
          returned: success
          type: dict
          contains: &tool
            version:
              description: Its version, V(null) when absent or unknown.
              returned: success
              type: str
              sample: 0.0.83
            path:
              description: The command, V(null) when it is not installed.
              returned: success
              type: str
              sample: /home/alice/.local/bin/openshell
            problem:
              description: Why the version is missing although the command is there, V(null) otherwise.
              returned: success
              type: str
              sample: "Asked for the version of openshell: /home/alice/.local/bin/openshell did not end within 3 s and was stopped."
        nemoclaw:
          description: The NemoClaw command line.
          returned: success
          type: dict
          contains: *tool
        python:
          description: The interpreter that runs the modules on the host.
          returned: success
          type: dict
          contains:
            version:
              description: Its version.
              returned: success
              type: str
              sample: 3.12.3
            executable:
              description: Where it is.
              returned: success
              type: str
              sample: /usr/bin/python3.12
            libraries:
              description: Versions of C(requests), C(docker) and C(jmespath), each V(null) when it cannot be imported.
              returned: success
              type: dict
              sample:
                requests: 2.31.0
                docker: 5.0.3
                jmespath: null
        route:
          description: The stored route, V(null) when none is stored. Never contains a secret.
          returned: success
          type: dict
          sample:
            provider: ollama
            model: qwen2.5:7b
        route_problem:
          description: Why the stored route cannot be read, V(null) otherwise.
          returned: success
          type: str
          sample: The route record /home/alice/.nemoclaw/local-inference.json is not JSON.
        last_failure:
          description:
            - The last failure of a playbook on this host, as RV(nemoclaw.local_inference.inference_outcome#module:last).
            - V(null) without one.
          returned: success
          type: dict
        problems:
          description: Probes that failed or did not answer in time, by name, with the reason as a sentence. Empty on a healthy host.
          returned: success
          type: dict
          sample: {}
failure:
  description: Why the module failed.
  returned: failure
  type: dict
  contains:
    code:
      description: V(user_unknown), V(platform_unsupported) or V(port_invalid).
      returned: failure
      type: str
      sample: user_unknown
    message:
      description: The same sentence as in RV(ignore:msg).
      returned: failure
      type: str
      sample: Looked up the user 'alice' in the passwd database of this host and found none.
"""

from typing import Any

from ..module_utils.base import create_module, fail
from ..module_utils.facts import gather
from ..module_utils.failure import Failure
from ..module_utils.host.machine import Machine, find_account
from ..module_utils.host.sockets import check_ports

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "user": {"type": "str"},
    "route_path": {"type": "path"},
    "ports": {"type": "list", "elements": "int", "default": [11434, 11435, 8000, 8080]},
    "ollama_port": {"type": "int", "default": 11434},
    "vllm_port": {"type": "int", "default": 8000},
}


def main() -> None:
    """Gather the facts, or say in one sentence why that cannot be done."""
    module = create_module(ARGUMENT_SPEC)
    params = module.params
    try:
        check_ports([*params["ports"], params["ollama_port"], params["vllm_port"]])
        account = find_account(params["user"])
        facts = gather(
            Machine(), account, params["ports"], params["ollama_port"], params["route_path"], params["vllm_port"]
        )
    except Failure as failure:
        fail(module, failure)
    module.exit_json(changed=False, ansible_facts={"nemoclaw_host": facts})


if __name__ == "__main__":
    main()
