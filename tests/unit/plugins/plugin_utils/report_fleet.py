# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet to test a report with, and to look at it: hosts with long names, of which some are down, and the runs before.

    PYTHONPATH=ROOT python report_fleet.py FOLDER [HOSTS]

writes its documents and its report into the folder, for a browser. ROOT has the clone as ansible_collections/nemoclaw/local_inference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import document
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import report_files
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.report import fleet_of

NOW = "2026-11-30T14:42:00Z"
VERSION = "0.2.0"
_KINDS = (
    ("dgx-spark", "NVIDIA GB10", 1, 122_572, "install-vllm", "Qwen/Qwen3.6-27B-FP8"),
    ("linux", "NVIDIA H200 NVL", 8, 143_771, "nim", "nvidia/nemotron-3-super-120b-a12b"),
    ("linux", "NVIDIA GeForce RTX 4090", 1, 24_564, "ollama", "qwen2.5-coder:32b-instruct-q4_K_M"),
    ("linux", "NVIDIA RTX PRO 6000 Blackwell Server Edition", 2, 97_887, "vllm", "mistralai/Devstral-Small-2-24B"),
)
_PLACES = ("frankfurt-2", "singapore-1", "reykjavik-3", "santa-clara")
_ERRORS = {
    3: ("connection_refused", "unreachable", "Asked http://127.0.0.1:8000/v1/models, and nobody listens there. Start the server."),
    17: ("tool_call_leaked", "unhealthy", "Asked for a tool call, and the model wrote it into its text as <tool_call>. Set a parser."),
}  # fmt: skip
_SILENT, _REFUSED = (26,), (22,)
_DRIFT = (5, 11, 29)
_FAILED = (3, 33)


def host_name(number: int) -> str:
    """Return a name as inventories of companies have them."""
    kind = _KINDS[number % len(_KINDS)][0]
    return f"{kind}-{number:03d}.inference.rack-{number % 7:02d}.{_PLACES[number % 4]}.gpu.internal.example.com"


def _checks(number: int, url: str, model: str) -> list[dict[str, Any]]:
    code, state, said = _ERRORS.get(number, (None, "healthy", ""))
    took = 0.18 + number % 9 / 7
    rows: list[tuple[str, str, str | None, str, float | None]] = [
        ("route", "healthy", None, "a route is recorded", None)
    ]
    if code == "connection_refused":
        rows.append(("backend", state, code, said, 0.002))
        rows.append(("completion", "not probed", None, "the server did not pass its own check", None))
    else:
        rows.append(("backend", "healthy", None, f"serves {model}", 0.004 + number / 2000))
        rows.append(("completion", state, code, said or "answered a completion", took))
    has_gateway = number % 3 > 0
    seen = f"routes to {model}" if has_gateway else "no program openshell was found"
    rows.append(("gateway", "healthy" if has_gateway else "not probed", None, seen, None))
    names = ("name", "state", "code", "detail", "latency")
    return [{**dict(zip(names, row)), "url": url} for row in rows]


def plan_of(number: int) -> dict[str, Any]:
    """Return what a host's look found."""
    platform, gpu, count, memory, provider, model = _KINDS[number % len(_KINDS)]
    code, _state, said = _ERRORS.get(number, (None, "healthy", ""))
    url = "http://127.0.0.1:11434/v1" if provider == "ollama" else "http://127.0.0.1:8000/v1"
    used = [round(memory * ((number * 13 + index * 7) % 60 + 38) / 100) for index in range(count)]
    gpus = [
        {
            "index": index,
            "name": gpu,
            "driver_version": "580.95.05",
            "memory_total_mib": memory,
            "memory_free_mib": memory - used[index],
            "unified_memory": platform == "dgx-spark",
        }
        for index in range(count)
    ]
    steps = [
        ("model.pull", f"the model {model} is not on this host", "nothing", 19_851_336_256),
        ("service.restart", "the server is open to the network", "the model", 0),
    ]
    refusal = {"code": "disk_full", "message": "The model needs 34.20 GiB, and /var/lib has 12.01 GiB left. Make room."}
    failure = {
        "when": "2026-11-29T22:10:09Z",
        "code": code or "timeout",
        "message": said or "The model did not answer in 180 s.",
    }
    return {
        "host": {
            "platform": platform,
            "architecture": "arm64" if platform == "dgx-spark" else "amd64",
            "kernel": "6.17.0-1021-nvidia",
            "distribution": {"id": "ubuntu", "version": "24.04"},
            "memory": {"total_mib": 128_000, "available_mib": 81_000 - number * 900},
            "gpus": {"problem": None, "devices": gpus},
            "ollama": {"daemon_version": "0.32.9" if provider == "ollama" else None},
            "vllm": {"running": provider == "vllm", "model": model},
            "docker": {"reachable": True, "kind": "native", "version": "28.5.1"},
            "openshell": {"version": "0.0.116"},
            "last_failure": failure if number in _FAILED else None,
        },
        "choice": {"provider": provider, "model": model},
        "steps": [dict(zip(("id", "reason", "interrupts", "download_bytes"), one)) for one in steps]
        if number in _DRIFT
        else [],
        "refusals": [refusal] if number in _REFUSED else [],
        "drift": number in _DRIFT,
        "converged": number not in (*_DRIFT, *_REFUSED),
        "recorded": {
            "provider": provider,
            "label": provider.title(),
            "provider_name": f"nemoclaw-{provider}",
            "credential_env": "OPENAI_API_KEY",
            "base_url_host": url,
            "base_url_sandbox": url.replace("127.0.0.1", "host.openshell.internal"),
            "model": model,
            "api": "openai-completions",
            "timeout": 180,
            "context_window": 131_072,
            "origin": "managed",
        },
        "asked": _checks(number, url, model),
    }


def documents(hosts: int = 40) -> list[dict[str, Any]]:
    """Return the documents of the fleet."""
    found = []
    for number in range(1, hosts + 1):
        if number in _SILENT:
            said = "ssh: connect to host 10.3.4.26 port 22: Connection timed out"
            before = {"last_success": "2026-11-30T09:12:00Z", "provider": "ollama", "model": "qwen2.5-coder:32b"}
            found.append(document.remember(document.unreachable(host_name(number), NOW, VERSION, said), before))
        else:
            found.append(document.build(host_name(number), NOW, VERSION, plan_of(number)))
    return found


def runs(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a day in which trouble comes and goes."""
    found = []
    for index in range(24):
        states = {
            one["host"]: one["state"] if index > 19 or number % 11 == index % 13 else "healthy"
            for number, one in enumerate(made)
        }
        if index in (7, 8, 9):
            states.update((one["host"], ("down", "degraded", "degraded")[index - 7]) for one in made[::3])
        counts = {state: [*states.values()].count(state) for state in ("down", "unreachable", "degraded", "healthy")}
        when = f"2026-11-{29 + (index + 15) // 24}T{(index + 15) % 24:02d}:42:00Z"
        found.append({"schema": 1, "when": when, "exit_code": 2, "counts": counts, "hosts": states})
    return found


def main() -> None:
    """Write the report."""
    made = documents(int(sys.argv[2]) if len(sys.argv) > 2 else 40)
    folder = Path(sys.argv[1])
    report_files.keep(folder, made, NOW)
    report_files.write_report(folder, fleet_of(made, runs(made)), check_mode=False)


if __name__ == "__main__":
    main()
