# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Everything there is to know about a host before inference is set up on it, in one read-only trip."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .endpoint.models import context_window
from .failure import Failure
from .host.docker_engine import find_engine, unreachable_engine
from .host.gpus import Memory, describe_gpus, find_gpus, parse_meminfo
from .host.machine import Account, Machine
from .host.platform import (
    KERNEL_RELEASE,
    normalise_architecture,
    parse_os_release,
    read_platform,
    read_wsl,
    refine_by_gpu_names,
    vllm_profile,
)
from .host.sockets import find_listeners
from .host.tools import find_package_manager, find_python_libraries, find_tool
from .ollama.client import Side, find_ollama, find_windows_ollama, tell_sides_apart
from .proxy.configuration import find_gate
from .route.record import last_path, read_last, read_record, record_path
from .transport.client import NotAnswering, get_json
from .untrusted import list_of, object_of

# Upstream gives the question 5 s; a vLLM under load answers its models list at once.
_VLLM_LIMIT_S = 5.0
# vLLM writes this into every entry (entrypoints/openai/protocol.py, ModelCard), llama.cpp "llamacpp", Ollama "library".
_VLLM_OWNER = "vllm"


def run_together(probes: Mapping[str, Callable[[], Any]], limit_s: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Run every probe in a thread of its own and return their answers and the reasons of those without one.

    Args:
        probes: What to call, by name.
        limit_s: Seconds for all of them together; a probe that is not back by then is left behind (the threads are
            daemons, so it cannot keep the process alive).

    Returns:
        C({name: answer}) with None for a probe that failed, and C({name: sentence}) for those.

    """
    answers: dict[str, Any] = dict.fromkeys(probes)
    problems: dict[str, str] = {}

    def call(name: str, probe: Callable[[], Any]) -> None:
        try:
            answer = probe()
        except Exception as error:  # a probe met something nobody foresaw: the other facts are still wanted
            problems[name] = f"The {name} probe failed: {type(error).__name__}: {error}."
        else:
            answers[name] = answer

    threads = {
        name: threading.Thread(target=call, args=(name, probe), name=f"probe-{name}", daemon=True)
        for name, probe in probes.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + limit_s
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0))
        if thread.is_alive():
            problems[name] = f"The {name} probe did not answer within {limit_s:g} s."
    # Copies: a probe left behind may still write to its own.
    return dict(answers), dict(problems)


# Above the slowest probe's own limit (nvidia-smi, 10 s), so that each can state its own reason.
_LIMIT_S = 15.0


def gather(
    machine: Machine,
    account: Account,
    ports: Sequence[int],
    ollama_port: int,
    route_path: str | None = None,
    vllm_port: int = 8000,
) -> dict[str, Any]:
    """Return C(nemoclaw_host); its keys are documented in the RETURN block of the inference_facts module.

    Args:
        machine: The host to look at.
        account: Who owns the set-up: whose tools and whose route are looked up.
        ports: TCP ports whose listeners are wanted.
        ollama_port: Where an Ollama daemon would listen on 127.0.0.1.
        route_path: The route record, if it is not where the account's own lies.
        vllm_port: Where a vLLM would listen on 127.0.0.1.

    Raises:
        Failure: C(platform_unsupported) on anything but Linux. Nothing else: a probe without an answer leaves None and
            a sentence.

    """
    if machine.system != "Linux":
        raise Failure(
            "platform_unsupported",
            f"Looked at the platform of this host: it is {machine.system}, and local inference can be set up on Linux "
            "hosts only (WSL included). Remove the host from the play, or use NemoClaw's own wizard on it.",
            platform=machine.system,
        )
    platform = read_platform(machine)
    memory = parse_meminfo(machine.read("/proc/meminfo"))
    probes: dict[str, Callable[[], Any]] = {
        "gpus": partial(find_gpus, machine, platform.name, memory),
        "docker": partial(find_engine, machine, account),
        "listeners": partial(find_listeners, machine, ports),
        "ollama": partial(find_ollama, machine, account, ollama_port),
        "vllm": partial(find_vllm, vllm_port),
        "openshell": partial(find_tool, machine, account, "openshell"),
        "nemoclaw": partial(find_tool, machine, account, "nemoclaw"),
        "proxy": partial(find_gate, machine),
        "libraries": find_python_libraries,
        "route": partial(_read_route, account, route_path),
    }
    if platform.name == "wsl":
        probes["wsl"] = partial(_look_at_windows, machine, ollama_port)
    found, problems = run_together(probes, _LIMIT_S)
    for name, problem in problems.items():
        found[name] = _without_answer(name, problem)
    wsl, windows = found.get("wsl") or (None, None)
    found["ollama"].update(windows=None, both_running=False)
    if wsl is not None and windows is not None:
        tell_sides_apart(machine, found["ollama"], windows, ollama_port, wsl["networking_mode"])
    gpus = found["gpus"]
    platform = refine_by_gpu_names(
        platform, [device["name"] for device in gpus["devices"] if device["trusted"] and device["unified_memory"]]
    )
    route, route_problem, last_failure = found["route"]
    return {
        "platform": platform.name,
        "platform_evidence": platform.evidence,
        "profile": vllm_profile(platform.name, gpus["count"] > 0),
        "kernel": (machine.read(KERNEL_RELEASE) or "").strip() or None,
        "architecture": normalise_architecture(machine.architecture),
        "distribution": parse_os_release(machine.read("/etc/os-release") or machine.read("/usr/lib/os-release")),
        "user": {"name": account.name, "uid": account.uid, "gid": account.gid, "home": account.home},
        "gpus": gpus,
        "memory": memory._asdict(),
        "package_manager": find_package_manager(machine),
        "systemd": machine.exists("/run/systemd/system"),
        "wsl": wsl,
        "docker": found["docker"],
        "listeners": found["listeners"],
        "ollama": found["ollama"],
        "vllm": found["vllm"],
        "openshell": found["openshell"],
        "nemoclaw": found["nemoclaw"],
        "proxy": found["proxy"],
        "python": {
            "version": ".".join(str(part) for part in sys.version_info[:3]),
            "executable": sys.executable,
            "libraries": found["libraries"],
        },
        "route": route,
        "route_problem": route_problem,
        "last_failure": last_failure,
        "problems": problems,
    }


def _without_answer(name: str, problem: str) -> Any:
    """Return a fact in its usual shape for a probe that failed or hung, so that playbooks can rely on the keys."""
    if name == "gpus":
        return describe_gpus([], "linux", True, Memory(None, None), problem)
    if name == "docker":
        return unreachable_engine("timeout", "none", problem)
    if name == "ollama":
        sides = dict.fromkeys(("path", "client_version", "daemon_version"))
        recorded = dict.fromkeys(("recorded_version", "kept_version", "damage", "checksum"))
        return {**sides, "problem": problem, **recorded}
    if name == "vllm":
        return {"running": False, "port": None, "models": [], "model": None, "context_window": None, "problem": problem}
    if name == "wsl":
        # It is WSL all the same: whoever asks whether it is must not be told no.
        silent = dict.fromkeys(("version", "distro", "networking_mode", "interop"))
        return silent, Side(problem=problem)
    if name in ("openshell", "nemoclaw"):
        return {"version": None, "path": None, "problem": problem}
    if name == "route":
        return None, problem, None
    # No empty list for listeners: that would say that nobody listens.
    return None


def _look_at_windows(machine: Machine, ollama_port: int) -> tuple[dict[str, Any], Side]:
    """Return the facts about WSL, and the Ollama of Windows: which addresses reach it depends on the networking mode."""
    wsl = read_wsl(machine)
    return wsl, find_windows_ollama(machine, ollama_port, wsl["networking_mode"])


def _read_route(account: Account, path: str | None) -> tuple[dict[str, Any] | None, str | None, dict[str, str] | None]:
    """Return the stored route, why it cannot be read, and the last failure; None for what there is not."""
    try:
        record = path or record_path(account.home)
    except Failure as failure:
        return None, failure.message, None
    try:
        return read_record(record), None, read_last(last_path(record))
    except Failure as failure:
        return None, failure.message, read_last(last_path(record))


def find_vllm(port: int, limit_s: float = _VLLM_LIMIT_S) -> dict[str, Any]:
    """Return C(nemoclaw_host.vllm) as the page detects it (upstream-facts N26): C({running, port, models, model, context_window, problem}).

    C(models) are the served ids and C(model) the first of them, as the page takes it. A refused connection is an absent
    server, without a problem; a server that is not vLLM is one with a problem. vLLM with a key keeps its models list to itself
    and tells its version to everybody: it runs, and C(models) is empty.
    """
    url = f"http://127.0.0.1:{port}/v1/models"
    try:
        answer = _get(port, "/v1/models", limit_s)
    except ConnectionRefusedError:
        return _vllm_facts(False, port)
    except NotAnswering as error:
        if error.status == http.client.UNAUTHORIZED and _has_version(port, limit_s):
            return _vllm_facts(True, port)
        return _vllm_facts(
            False, port, problem=f"Asked {url} for vLLM's models, but {error}: another server may hold the port."
        )
    except OSError as error:
        return _vllm_facts(False, port, problem=f"Asked {url} for vLLM's models within {limit_s:g} s, but: {error}.")
    entries = [entry for entry in map(object_of, list_of(answer.get("data"))) if entry.get("id")]
    owners = sorted({str(entry.get("owned_by")) for entry in entries})
    if _VLLM_OWNER not in owners:
        whose = ", ".join(owners) or "nobody"
        problem = f"Asked {url} for vLLM's models, and the server there is not vLLM (its models are owned by {whose})."
        return _vllm_facts(False, port, problem=problem)
    return _vllm_facts(True, port, entries)


def _get(port: int, path: str, limit_s: float) -> dict[str, Any]:
    return get_json(http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s), path, limit_s)


def _has_version(port: int, limit_s: float) -> bool:
    """Tell whether it answers vLLM's own question, which other servers with a key do not (llama.cpp: 401, Ollama: /api/version)."""
    try:
        return isinstance(_get(port, "/version", limit_s).get("version"), str)
    except (OSError, NotAnswering):
        return False


def _vllm_facts(
    running: bool, port: int, entries: list[dict[str, Any]] | None = None, problem: str | None = None
) -> dict[str, Any]:
    entries = entries or []
    return {
        "running": running,
        "port": port,
        "models": [str(entry["id"]) for entry in entries],
        "model": str(entries[0]["id"]) if entries else None,
        "context_window": context_window(entries[0]) if entries else None,
        "problem": problem,
    }
