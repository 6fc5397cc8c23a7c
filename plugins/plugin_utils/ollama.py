# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which Ollama a host gets, with what other modules say where the facts do not tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils.failure import Failure
from ..module_utils.plan.choice import BLIND_CODES, choose, is_desktop, runs_on_windows
from ..module_utils.plan.ollama_decision import decide
from ..module_utils.plan.refusals import foresee_host
from ..module_utils.plan.settings import Settings

# Runs a module in check mode, and returns its result.
Ask = Callable[[str, "dict[str, Any]"], "dict[str, Any]"]


def refuse(refusals: Sequence[Failure]) -> None:
    """Raise everything that stands against a host as one failure, with the code of the first."""
    if refusals:
        messages = dict.fromkeys(one.message for one in refusals)
        raise Failure(refusals[0].code, " ".join([*messages, "Nothing was changed."]))


def decide_ollama(host: Mapping[str, Any], settings: Settings, check_mode: bool, ask: Ask) -> dict[str, Any]:
    """Return what the tasks of the role ollama read.

    Raises:
        Failure: What stands against it.

    """
    choice = choose(host, settings)
    refuse(foresee_host(host, settings, choice))
    seen = look_at_windows(host, settings, ask)
    if seen is not None:
        choice = choose(host, settings, seen=seen)
        refuse(foresee_host(host, settings, choice, seen=seen))
    decision = decide(host, settings, choice, seen, check_mode=check_mode)
    if not decision["asks_for_model"]:
        return decision
    planned = ask("ollama_model", _model_options(settings, decision))
    _raise(planned)
    return decide(host, settings, choice, seen, planned, check_mode)


def look_at_windows(host: Mapping[str, Any], settings: Settings, ask: Ask) -> dict[str, Any] | None:
    """Return what Windows says of its Ollama, None where nobody has to ask it.

    Raises:
        Failure: What Windows said. One that cannot be asked matters only where nothing else decides: the result has C(failure).

    """
    if not _has_to_look(host):
        return None
    options = {"port": settings["preflight_ollama_port"], "timeout": settings["ollama_windows_timeout"]}
    seen = ask("ollama_windows", {"state": "detected", **options})
    if (seen.get("failure") or {}).get("code") not in BLIND_CODES:
        _raise(seen)
    return seen


def _has_to_look(host: Mapping[str, Any]) -> bool:
    """Tell whether only Windows itself can say if it has an Ollama, which costs a call of PowerShell.

    This Linux does not reach a daemon on the loopback of Windows, which is its default, and the containers of Docker Desktop do.
    """
    return (
        host["wsl"] is not None
        and is_desktop(host)
        and bool(host["wsl"]["interop"])
        and not runs_on_windows(host, None)
    )


def _model_options(settings: Settings, decision: Mapping[str, Any]) -> dict[str, Any]:
    names = ("allow_download", "require_tools", "insecure_registry")
    store = {"models_path": decision["models_path"]} if decision["models_path"] else {}
    return {
        "name": decision["model"],
        "host": f"127.0.0.1:{settings['preflight_ollama_port']}",
        **{name: settings[f"ollama_{name}"] for name in names},
        **store,
    }


def _raise(result: Mapping[str, Any]) -> None:
    if result.get("failed") or "failure" in result:
        failure = result.get("failure") or {"code": "plan_incomplete", "message": str(result.get("msg"))}
        raise Failure(failure["code"], failure["message"])
