# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What follows from the results of the role ollama's tasks: what is refused, what stays, which route is recorded. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..endpoint.models import CONTEXT_FLOOR
from ..failure import format_bytes
from ..ollama.names import is_older
from ..route.record import TO_FREE
from ..route.route import build_route
from .choice import BLIND_CODES, WINDOWS_PROVIDERS, Host, ollama_route
from .ollama_decision import context_remedy, route_fields, short_context

# How long a model stays in memory where nobody says it: NVIDIA's page.
_KEEP_ALIVE = "15m"

Result = Mapping[str, Any]


def previous(host: Host, port: int) -> dict[str, Any]:
    """Return what the recorded route uses of Ollama, or an earlier one that a broken-off switch had still to leave.

    Its model, None without such a route, and where that Ollama is; and whether the record itself is a route to it.
    """
    recorded, windows = ollama_route(host), host["ollama"]["windows"] or {}
    left = (one for one in (host["route"] or {}).get(TO_FREE, ()) if not one.get("container"))
    route = recorded or next(left, {})
    was_windows = route.get("provider") in WINDOWS_PROVIDERS
    address = f"127.0.0.1:{port}"
    # Behind NAT, Windows has another address after each start, and the facts of now know it.
    if was_windows and windows.get("host"):
        address = windows["host"]
    elif route.get("base_url_host"):
        address = urlsplit(route["base_url_host"]).netloc
    return {"model": route.get("model"), "is_windows": was_windows, "address": address, "is_recorded": bool(recorded)}


class Outcome:
    """What the tasks have brought so far.

    Attributes:
        decision: What C(decide) returned.
        host: C(nemoclaw_host), looked at again where Windows was changed.
        results: What each task returned, by name; one that did not run is empty.

    """

    def __init__(self, decision: Mapping[str, Any], host: Host, results: Mapping[str, Result]) -> None:
        self.decision, self.host = decision, host
        self.results = {name: {} if one.get("skipped") else one for name, one in results.items()}
        self.settings = decision["settings"]
        self.is_windows: bool = decision["is_windows"]
        # A task that another run of the role left behind says nothing where this one does not come to it.
        self.windows = self.results.get("windows", {}) if self.is_windows else {}
        self.loaded = self.results.get("loaded", {})
        self.model = str(self.loaded.get("model") or "")
        self.windows_facts = host["ollama"]["windows"] or {}

    def as_result(self) -> dict[str, Any]:
        """Return it as the tasks read it."""
        return {
            "address": self.address,
            "base_url": f"http://{self.address}/v1",
            "container_url": self.container_url,
            "keep_alive": self.keep_alive,
            "windows_failed": self.windows_failed,
            "problems": self.problems,
            "can_answer": self.can_answer,
            "refusal": self.refusal,
            "is_tried_only": self.is_tried_only,
            "is_downloaded": self.is_downloaded,
            "what_stays": self.what_stays,
            "unloads": self.unloads,
            "restores_windows": previous(self.host, self.port)["is_windows"] and not self.is_windows,
            "lines": self.lines,
            "route": self.route if self.model else None,
        }

    @property
    def port(self) -> int:
        """The port of Ollama."""
        return int(self.settings["preflight_ollama_port"])

    @property
    def address(self) -> str:
        """Where this Linux reaches Ollama."""
        if not self.is_windows:
            return f"127.0.0.1:{self.port}"
        return self.windows_facts.get("host") or f"host.docker.internal:{self.port}"

    @property
    def container_url(self) -> str:
        """Where a container of Docker Desktop reaches it."""
        return f"http://{self.decision['container_host']}:{self.port}"

    @property
    def keep_alive(self) -> str:
        """How long the model stays loaded: the owner's to say, where he has said so for the daemon."""
        served = self.results.get("served", {}) if not self.is_windows else {}
        return self.settings["ollama_keep_alive"] or served.get("keep_alive") or _KEEP_ALIVE

    @property
    def windows_failed(self) -> bool:
        """Whether Windows refused: one that answers is used as it is where it cannot be asked, unless something was begun there."""
        failure = self.windows.get("failure")
        if not failure:
            return bool(self.windows.get("failed"))
        is_used = self.windows_facts.get("daemon_version") and failure["code"] in BLIND_CODES
        return not is_used or "actions" in failure

    @property
    def problems(self) -> list[str]:
        """What stands against the Ollama that runs now, before a model is pulled into it; the release first."""
        return [one for one in (self._release(), self._path()) if one]

    def _release(self) -> str:
        version, least = self.windows_facts.get("daemon_version"), self.decision["minimum_version"]
        # What check mode would upgrade is still the previous one.
        is_of_before = self.decision["check_mode"] and self.windows.get("changed")
        if not self.is_windows or not version or is_of_before or not is_older(version, least):
            return ""
        return (
            f"The Ollama that answers at {self.windows_facts['host']} is {version}, and ollama_minimum_version is {least}: older ones "
            f"return tool calls as text. Upgrade it on Windows (irm https://ollama.com/install.ps1 | iex in PowerShell, or the app's own "
            f"update) and restart it. No route was saved."
        )

    def _path(self) -> str:
        path = self.results.get("path", {})
        if not path:
            return ""
        if path.get("outcome") == "blocked":
            remedy = (
                ""
                if self.is_windows
                else " Ollama in this WSL was requested: have Windows forward its loopback (localhostForwarding in .wslconfig), choose the "
                "Windows one with ollama_side: windows, or run Docker natively inside WSL, where the auth proxy serves it."
            )
            return (
                f"{path['hint']}{remedy} No route was saved, and the previous one is unchanged.{self._changed_there()}"
            )
        if not self.is_windows or self.windows_facts.get("host"):
            return ""
        who = (
            "Containers reach Ollama on Windows, but this Linux, from which models are pulled and proved, does not"
            if path.get("outcome") == "reachable"
            else "This Linux does not reach Ollama on Windows"
        )
        return (
            f"{who}: {self.windows_facts.get('problem') or 'nothing answers.'} Check the Windows firewall (Get-NetFirewallRule "
            f"-DisplayName '*ollama*' in PowerShell) and the WSL networking mode (wslinfo --networking-mode). As administrator, this opens "
            f"the port for WSL: New-NetFirewallRule -DisplayName 'Ollama for WSL' -Direction Inbound -Action Allow -Protocol TCP "
            f"-LocalPort {self.port} -RemoteAddress 172.16.0.0/12. No route was saved.{self._changed_there()}"
        )

    def _changed_there(self) -> str:
        """For a refusal that comes after Windows was changed: only asking from a container shows that the path is closed."""
        if self.decision["check_mode"] or not self.windows.get("changed"):
            return ""
        done = "; ".join(self.windows.get("actions") or [])
        return f" Windows was changed before that: {done}. The playbook uninstall restores OLLAMA_HOST there."

    @property
    def would_change(self) -> bool:
        """Whether check mode says that Ollama would be another one afterwards, or started in another way."""
        return any(
            one.get("changed")
            for one in (self.results.get("installed", {}), self.results.get("served", {}), self.windows)
        )

    @property
    def can_answer(self) -> bool:
        """Whether what runs now is what will run, so that it can be asked.

        In check mode what is not there yet cannot be: a daemon that does not run, or a model that is not on the disk. One that would be
        another after the run says nothing about that one, and a question to a model that is not in memory would load it.
        """
        if not self.decision["check_mode"]:
            return True
        return not self.decision["is_stopped"] and not self.would_change and bool(self.loaded.get("loaded"))

    @property
    def context(self) -> int | None:
        """The context of the model, known only of what is in memory."""
        return (self.loaded.get("loaded") or {}).get("context_length") or None

    @property
    def refusal(self) -> str:
        """Why the model does not do, empty where it does."""
        return self._other_server() or self._refused_proof() or self._short_context()

    def _other_server(self) -> str:
        """That a container reaches the port says that some Ollama is there. Which one, the model tells that was just loaded."""
        asked = self.results.get("identity", {})
        if not asked or asked.get("outcome") == "unavailable" or asked.get("status") == 200:
            return ""
        said = f"HTTP {asked['status']}" if asked.get("status") else "no answer"
        whose = "this WSL, which Windows forwards (wslrelay)" if self.is_windows else "Windows, on its loopback"
        return (
            f"{self.model} was loaded at {self.address}, but what a container reaches at {self.container_url} does not have it "
            f"({said}): another server holds that port for containers, most likely the Ollama of {whose}. Stop that one, or choose it with "
            f"ollama_side: {'wsl' if self.is_windows else 'windows'}. No route was saved."
        )

    def _refused_proof(self) -> str:
        proof = self.results.get("proof", {})
        return str(proof.get("msg")) if "failure" in proof else ""

    def _short_context(self) -> str:
        least = self.settings["ollama_min_context_window"]
        if not self.results.get("proof") or (self.context or least) >= least:
            return ""
        return short_context(self.model, int(self.context or 0), least, self.is_windows)

    @property
    def is_tried_only(self) -> bool:
        """Whether this run alone loaded the model: neither somebody else before it, nor a run for the route that still holds."""
        changed = self.loaded.get("changed") and not self.decision["check_mode"]
        return bool(changed) and ollama_route(self.host).get("model") not in self._names

    @property
    def is_downloaded(self) -> bool:
        """Whether this run downloaded something of the model."""
        return bool(self.loaded.get("progress"))

    @property
    def what_stays(self) -> str:
        """What becomes of a model that was refused."""
        model = self.model
        if _has_worked(self.results.get("deleted")):
            return f"The downloaded part of {model} is deleted again."
        out = " was taken out of memory and" if _has_worked(self.results.get("unloaded")) else ""
        size = format_bytes(self.loaded.get("size") or 0)
        more = (
            ", and with ollama_remove_refused: true a run deletes what it downloaded in vain."
            if self.is_downloaded
            else "."
        )
        return f"{model}{out} stays on the disk ({size}). 'ollama rm {model}' on the host deletes it{more}"

    @property
    def _names(self) -> tuple[str | None, ...]:
        """The names of the model that is in memory: two models with the same weights share one runner."""
        return self.model, (self.loaded.get("loaded") or {}).get("name")

    @property
    def unloads(self) -> str:
        """The model of the previous route, where it leaves the memory."""
        before = previous(self.host, self.port)
        stays = before["address"] == self.address and before["model"] in self._names
        return "" if stays else before["model"] or ""

    @property
    def lines(self) -> list[str]:
        """What is said once the model is in memory, or in check mode is not."""
        found = [*self._windows_in_words(), *self._path_in_words()]
        served = self.results.get("served", {}) if not self.is_windows else {}
        found += [str(served["context"])] if served.get("context") else []
        if self.loaded.get("choice_reason"):
            found.append(f"{self.model}, because {self.loaded['choice_reason']}.")
        # Upstream raises what is below it (upstream-facts N15); a shorter context cuts an agent's system prompt without a word.
        if self.can_answer and self.context and self.context < CONTEXT_FLOOR:
            found.append(
                f"{self.model} runs with a context of {self.context} tokens, but an agent's prompts need about {CONTEXT_FLOOR}: Ollama "
                f"silently truncates longer ones. {context_remedy(self.is_windows)}, for example to 32768."
            )
        if not self.can_answer:
            found.append(self._unseen())
        return found

    def _windows_in_words(self) -> list[str]:
        found = []
        if self.decision["uses_windows_as_it_is"] or "failure" in self.windows:
            said = self.windows.get("msg") or "this WSL starts no Windows programs (interop is off)."
            found.append(
                f"The Ollama that answers at {self.windows_facts.get('host')} is used as is; its listen address and OLLAMA_HOST on Windows "
                f"were not checked: {said}"
            )
        if self.windows.get("actions"):
            first = "In check mode, this would be done" if self.decision["check_mode"] else "Done"
            found.append(f"{first} on Windows: {'; '.join(self.windows['actions'])}.")
        return found

    def _path_in_words(self) -> list[str]:
        path = self.results.get("path", {})
        if not path:
            return []
        if path.get("outcome") != "reachable":
            return [str(path.get("hint"))]
        return [f"A container on the network {path.get('network')} reaches Ollama at {self.container_url}."]

    def _unseen(self) -> str:
        """What check mode could not look at."""
        decision = self.decision
        if decision["is_stopped"]:
            first = "Ollama does not run, so the model and the route were not checked."
        elif self.would_change:
            first = "Ollama would be replaced, or started differently, so nothing was proved."
        elif not self.loaded.get("digest"):
            first = "The model is not on this host, so nothing was proved."
        else:
            first = "The model is not in memory, where a question would load it, so nothing was proved."
        more = ""
        if self.is_windows:
            more = f" Once it runs on Windows, a container must reach it at {self.container_url}."
        elif not decision["starts_service"]:
            more = f" Once it is installed, Ollama is started on 127.0.0.1:{self.port} by our drop-in."
        return f"{first}{more} Without check mode, the route is recorded only once all of it holds."

    @property
    def route(self) -> dict[str, Any]:
        """What is recorded in the end, and where the sandboxes are routed before that."""
        return build_route(
            model=self.model,
            api="openai-completions",
            timeout=int(self.settings["ollama_timeout"]),
            **route_fields(self.decision, self.host, self._recorded_context(), self._is_installed_now),
        )

    @property
    def _is_installed_now(self) -> bool:
        installed = self.results.get("installed", {}).get("changed")
        there = any(one.startswith(("install ", "upgrade ")) for one in self.windows.get("actions") or [])
        return bool(installed) or there

    def _recorded_context(self) -> int | None:
        """Check mode loads nothing, and tells what was recorded for the model."""
        before = ollama_route(self.host)
        if self.context or not self.decision["check_mode"] or before.get("model") != self.model:
            return self.context
        return max(self.settings["ollama_context_length"], 0) or before.get("context_window")


def restored_in_words(result: Result) -> str:
    """Return what came of the attempt to put the Ollama back that an upgrade replaced."""
    if "failure" in result:
        return f"The previous Ollama could not be restored: {result.get('msg')}"
    answers = "and answers again" if result.get("daemon_version") else "and does not answer"
    return f"Ollama {result.get('version')} is restored {answers}."


def _has_worked(result: Result | None) -> bool:
    return bool(result) and "failure" not in (result or {})
