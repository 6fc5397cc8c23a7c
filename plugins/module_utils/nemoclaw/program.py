# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""NemoClaw's program: found, and asked for its release and for what its commands take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..failure import Failure
from ..host.machine import SYSTEM_DIRECTORIES, Account, Machine

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(text: str) -> str:
    """Return a text without its colours."""
    return _ANSI.sub("", text)


# What a user of NemoClaw may decide beside the route, and hands over by the task's own environment (upstream-facts N34, N40; NemoClaw
# docs/reference/commands.mdx). All its other settings are ours to give, or belong to other work. A release that does not know one
# passes over it.
PASSED_ON = (
    "NEMOCLAW_COMPATIBLE_AUTH_MODE",
    *(
        f"NEMOCLAW_{name}"
        for name in (
            *("AGENT_HEARTBEAT_EVERY", "AGENT_TIMEOUT", "CORPORATE_CA_BUNDLE", "DASHBOARD_BIND", "DASHBOARD_PORT"),
            *("DOCKER_GPU_PATCH", "FROM_DOCKERFILE", "GATEWAY_BIND_ADDRESS", "GATEWAY_PORT"),
            *("GATEWAY_RECOVERY_WAIT_SECONDS", "INFERENCE_INPUTS", "MAX_TOKENS", "OLLAMA_PORT", "OLLAMA_PROXY_PORT"),
            *("OPENSHELL_BIN", "POLICY_MODE", "POLICY_PRESETS", "POLICY_TIER", "PROXY_HOST", "PROXY_PORT", "REASONING"),
            *("REASONING_EFFORT", "SANDBOX_BASE_IMAGE_REF", "SANDBOX_GPU", "TOOL_DISCLOSURE", "TRUSTED_PRIVATE_HOSTS"),
            *("TRUSTED_PRIVATE_INFERENCE_HOSTS", "VLLM_PORT", "WEB_SEARCH_PROVIDER"),
        )
    ),
)
# Keys of other providers: NemoClaw took a host's OPENAI_API_KEY for local routes once (NemoClaw #2519). Newer releases call NVIDIA's
# NVIDIA_INFERENCE_API_KEY.
_FOREIGN_KEYS = re.compile(r"NEMOCLAW_.*|COMPATIBLE_.*|[A-Z][A-Z_]*_API_KEY")
_ASK_S = 60.0  # for its release and its help; Node may start slowly


@dataclass(frozen=True)
class NemoClaw:
    """The program, and who runs it: its state lies in that user's home."""

    machine: Machine
    account: Account
    path: str

    def environ(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a run: what this process has, less all that could send NemoClaw elsewhere, and ours."""
        kept = {
            name: value
            for name, value in self.machine.environ.items()
            if name in PASSED_ON or not _FOREIGN_KEYS.fullmatch(name)
        }
        # It starts openshell, docker and curl by name, and an installer puts them where Ansible's shell does not look.
        folders = [*kept.get("PATH", "").split(os.pathsep), *SYSTEM_DIRECTORIES, f"{self.account.home}/.local/bin"]
        kept["PATH"] = os.pathsep.join(dict.fromkeys(filter(None, [str(Path(self.path).parent), *folders])))
        return {**kept, "HOME": self.account.home, "USER": self.account.name, "LOGNAME": self.account.name, **own}

    def release(self) -> tuple[int, ...] | None:
        """Return its release, None where it does not tell."""
        found = re.search(r"(\d+)\.(\d+)\.(\d+)", self._ask("--version"))
        return tuple(int(part) for part in found.groups()) if found else None

    def flags(self, *command: str) -> frozenset[str]:
        """Return the flags that a command has, as its help lists them."""
        return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", self._ask(*command, "--help")))

    def _ask(self, *words: str) -> str:
        """Return what a command prints.

        Raises:
            Failure: C(nemoclaw_missing) where it cannot be started.

        """
        machine = replace(self.machine, environ=self.environ({}))
        answer = machine.run([self.path, *words], _ASK_S)
        if "could not be started" in (answer.problem or ""):
            raise Failure(
                "nemoclaw_missing",
                f"{answer.problem}. Install NemoClaw for the user {self.account.name} again.",
            )
        return plain(answer.output)


def find_nemoclaw(machine: Machine, account: Account, executable: str | None = None) -> NemoClaw:
    """Return the program, on PATH or where NemoClaw's installer puts it.

    Raises:
        Failure: C(nemoclaw_missing).

    """
    path = executable or machine.find_command("nemoclaw", [f"{account.home}/.local/bin"])
    if path is None or not path.startswith("/") or not machine.exists(path):
        raise Failure(
            "nemoclaw_missing",
            f"Looked for the program nemoclaw {executable or 'on PATH and in ~/.local/bin'} and found none. Install NemoClaw for "
            f"the user {account.name}, name the program by executable, or choose another backend (sandbox_backend: openshell).",
        )
    return NemoClaw(machine, account, path)
