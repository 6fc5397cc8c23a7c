# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ollama does on a host: tables of the functions that its tasks and the plan read."""

from __future__ import annotations

import re
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.choice import choose
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.ollama_decision import decide
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.ollama_outcome import (
    Outcome,
    previous,
    restored_in_words,
)
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.ollama import decide_ollama

Make = Callable[..., Any]
Decide = Callable[..., "tuple[dict[str, Any], dict[str, Any]]"]

RUNS = {
    "path": "/usr/local/bin/ollama",
    "client_version": "0.32.9",
    "daemon_version": "0.32.9",
    "checksum": "sha256:00",
}
NOTHING = {"path": None, "client_version": None, "daemon_version": None, "checksum": None}
ROUTE = {
    "provider": "ollama",
    "provider_name": "ollama-local",
    "model": "old:1b",
    "base_url_host": "http://127.0.0.1:11434/v1",
    "context_window": 8192,
}
WSL = {
    "wsl": {"version": 2, "distro": "Debian", "networking_mode": "nat", "interop": True},
    "docker": {"kind": "desktop"},
}
ON_WINDOWS = {"host": "172.20.0.1:11434", "daemon_version": "0.32.9", "problem": None}
SILENT = {"host": None, "daemon_version": None, "problem": "It does not resolve."}
LOADED = {
    "changed": True,
    "model": "m:1b",
    "loaded": {"name": "m:1b", "context_length": 16384},
    "digest": "d",
    "progress": None,
}


@pytest.fixture
def made(make_host: Make, make_settings: Make) -> Decide:
    """Return a function that gives the facts of a host and what is decided there."""

    def make(
        ollama: dict[str, Any] | None = None,
        check_mode: bool = False,
        planned: Any = None,
        seen: Any = None,
        facts: dict[str, Any] | None = None,
        **variables: Any,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host = make_host(**{**(facts or {}), "ollama": {**RUNS, **(ollama or {})}})
        settings = make_settings(**{"nemoclaw_provider": "ollama", **variables})
        return host, decide(host, settings, choose(host, settings, seen=seen), seen, planned, check_mode)

    return make


@pytest.fixture
def on_windows(made: Decide) -> Callable[..., Any]:
    """Return a function that gives the outcome of a run with the Ollama of Windows."""

    def make(
        there: dict[str, Any] | None = None, check_mode: bool = False, interop: bool = True, **results: Any
    ) -> Outcome:
        facts = {**WSL, "wsl": {**WSL["wsl"], "interop": interop}}
        variables = {"nemoclaw_provider": "start-windows-ollama"}
        host, decision = made({**NOTHING, "windows": ON_WINDOWS}, check_mode, facts=facts, **variables)
        host["ollama"]["windows"] = ON_WINDOWS if there is None else there
        return Outcome(decision, host, results)

    return make


@pytest.mark.parametrize(
    ("ollama", "variables", "wanted"),
    [
        ({}, {}, False),
        (NOTHING, {}, True),
        ({**NOTHING, "problem": "It did not answer in time."}, {}, True),  # the installer finds out which one it is
        ({"daemon_version": "0.31.1"}, {}, True),
        ({"client_version": "0.33.0", "daemon_version": "0.33.0"}, {}, False),
        ({"kept_version": "0.31.1"}, {}, True),  # nobody has proved what replaced it
        ({"damage": "/usr/local/lib/ollama/libggml-base.so is missing"}, {}, True),
        ({}, {"ollama_reinstall": True}, True),
        ({}, {"ollama_install_checksum": "sha256:00"}, False),
        ({}, {"ollama_install_checksum": "sha256:11"}, True),
        ({"checksum": None}, {"ollama_install_checksum": "sha256:11"}, False),
        ({"client_version": "0.33.0"}, {"ollama_install_checksum": "sha256:11"}, False),
    ],
)
def test_what_has_ollama_installed(
    ollama: dict[str, Any], variables: dict[str, Any], wanted: bool, made: Decide
) -> None:
    assert made(ollama, **variables)[1]["installs"] is wanted


def test_the_role_installs_nothing_here_for_windows(made: Decide) -> None:
    decision = made({**NOTHING, "windows": SILENT}, facts=WSL, ollama_side="windows", seen={"installed": False})[1]
    assert (decision["installs"], decision["is_bare"], decision["starts_service"]) == (False, True, False)


@pytest.mark.parametrize(
    ("recorded", "changed", "before", "origin"),
    [
        (None, True, None, "managed"),
        ("0.32.9", False, None, "managed"),  # the first installation was broken off before the route was recorded
        (None, False, None, "external"),
        (None, False, "managed", "managed"),
        ("0.32.9", False, "external", "managed"),
    ],
)
def test_whose_installation_is_recorded(
    recorded: str | None, changed: bool, before: str | None, origin: str, made: Decide
) -> None:
    route = {**ROUTE, "origin": before} if before else None
    host, decision = made({"recorded_version": recorded}, facts={"route": route})
    results = {"installed": {"changed": changed}, "windows": {}, "loaded": {"model": "m", "loaded": None}}
    assert Outcome(decision, host, results).route["origin"] == origin


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, (16384, {})),
        ({"ollama_context_length": 8192}, (0, {"OLLAMA_CONTEXT_LENGTH": 8192})),
        ({"ollama_context_length": -1}, (0, {})),
        ({"ollama_environment": {"A": "b"}}, (16384, {"A": "b"})),
    ],
)
def test_what_the_service_is_asked_for_about_the_context(variables: dict[str, Any], wanted: Any, made: Decide) -> None:
    decision = made(**variables)[1]
    assert (decision["least_context"], decision["environment"]) == wanted


@pytest.mark.parametrize(
    ("variables", "served", "wanted"),
    [
        ({}, None, "15m"),
        ({}, "-1", "-1"),  # the owner's OLLAMA_KEEP_ALIVE
        ({"ollama_keep_alive": "5m"}, "-1", "5m"),
    ],
)
def test_how_long_the_model_stays(variables: dict[str, Any], served: str | None, wanted: str, made: Decide) -> None:
    host, decision = made(**variables)
    assert Outcome(decision, host, {"served": {"keep_alive": served}}).keep_alive == wanted


def test_what_was_served_for_another_host_says_nothing_of_windows(on_windows: Make) -> None:
    found = on_windows(served={"keep_alive": "-1", "context": "of another run"}, loaded=LOADED)
    assert (found.keep_alive, found.lines) == ("15m", [])


@pytest.mark.parametrize(
    ("planned", "model", "wanted"),
    [
        ({"model": "qwen2.5:7b", "size": 4_683_073_184}, "auto", ("qwen2.5:7b", 4_683_073_184)),
        (None, "a:1b", ("a:1b", 0)),
        ({"model": "a:1b", "size": None}, "a:1b", ("a:1b", 0)),
        (None, "auto", ("", 0)),
    ],
)
def test_the_model_that_memory_is_estimated_for(planned: Any, model: str, wanted: Any, made: Decide) -> None:
    decision = made(planned=planned, nemoclaw_model=model)[1]
    assert (decision["expected_model"], decision["expected_bytes"]) == wanted


@pytest.mark.parametrize(
    ("ollama", "facts", "variables", "wanted"),
    [
        ({}, {"route": ROUTE}, {}, False),
        ({}, {"route": ROUTE}, {"nemoclaw_model": "other:1b"}, True),
        ({}, {"route": ROUTE}, {"ollama_reinstall": True}, True),
        ({}, {}, {}, True),
        (NOTHING, {}, {}, True),
        # An old one that does not run cannot be asked.
        ({"client_version": "0.31.1", "daemon_version": None}, {}, {}, False),
        # Windows has been asked for its models already, where it had to be.
        ({**NOTHING, "windows": ON_WINDOWS}, WSL, {}, False),
    ],
)
def test_when_a_daemon_is_asked_what_is_missing_of_the_model(
    ollama: dict[str, Any], facts: dict[str, Any], variables: dict[str, Any], wanted: bool, made: Decide
) -> None:
    assert made(ollama, facts=facts, **variables)[1]["asks_for_model"] is wanted


def test_a_model_that_nobody_consents_to_ends_the_role_before_anything_is_changed(
    make_host: Make, make_settings: Make
) -> None:
    asked = []

    def ask(name: str, options: dict[str, Any]) -> dict[str, Any]:
        asked.append((name, options))
        return {"failed": True, "failure": {"code": "download_not_allowed", "message": "No consent."}}

    settings = make_settings(
        nemoclaw_provider="ollama", nemoclaw_model="a:1b", ollama_environment={"OLLAMA_MODELS": "/m"}
    )
    with pytest.raises(Failure) as refused:
        decide_ollama(make_host(), settings, False, ask)
    assert refused.value.code == "download_not_allowed"
    wanted = {"allow_download": False, "require_tools": True, "insecure_registry": False, "models_path": "/m"}
    assert asked == [("ollama_model", {"name": "a:1b", "host": "127.0.0.1:11434", **wanted})]


@pytest.mark.parametrize(
    ("ollama", "planned", "said"),
    [
        (NOTHING, {"actions": ["pull a:1b"], "choice_reason": "it fits"}, "0.32.9 will be installed, then: pull a:1b, because it fits."),
        ({"daemon_version": "0.31.0"}, {"actions": ["pull a:1b"]}, "Ollama 0.32.9 will be installed, then: pull a:1b."),
        ({}, {"actions": ["pull a:1b", "load a:1b"]}, "To do: pull a:1b, load a:1b."),
        ({}, {"actions": []}, ""),
    ],
)  # fmt: skip
def test_what_will_be_downloaded(ollama: dict[str, Any], planned: Any, said: str, made: Decide) -> None:
    found = " ".join(made(ollama, planned=planned)[1]["lines"])
    assert found.endswith(said) and bool(found) == bool(said)


@pytest.mark.parametrize(
    ("loaded", "unloads"),
    [
        ({"model": "new:1b", "loaded": {"name": "new:1b"}}, "old:1b"),
        ({"model": "old:1b", "loaded": {"name": "old:1b"}}, ""),
        # They share a runner: unloading the one ends the other.
        ({"model": "new:1b", "loaded": {"name": "old:1b"}}, ""),
        ({"model": "new:1b", "loaded": None}, "old:1b"),
    ],
)
def test_whether_the_model_before_is_unloaded(loaded: dict[str, Any], unloads: str, made: Decide) -> None:
    host, decision = made(facts={"route": ROUTE})
    assert Outcome(decision, host, {"loaded": loaded}).unloads == unloads


def test_a_first_run_unloads_nothing_and_a_move_from_windows_restores_it(made: Decide) -> None:
    host, decision = made()
    assert Outcome(decision, host, {"loaded": LOADED}).as_result()["unloads"] == ""
    moved = {
        **ROUTE,
        "provider": "start-windows-ollama",
        "model": "m:1b",
        "base_url_host": "http://host.docker.internal:11434/v1",
    }
    host, decision = made({"windows": SILENT}, facts={**WSL, "route": moved}, ollama_side="wsl")
    found = Outcome(decision, host, {"loaded": LOADED}).as_result()
    assert (found["unloads"], found["restores_windows"]) == ("m:1b", True)


@pytest.mark.parametrize(
    ("route", "windows", "wanted"),
    [
        (None, None, (None, False, "127.0.0.1:11500")),
        ({**ROUTE, "provider_name": "vllm-local"}, None, (None, False, "127.0.0.1:11500")),
        (ROUTE, None, ("old:1b", False, "127.0.0.1:11434")),
        # Behind NAT, Windows has another address after each start.
        ({**ROUTE, "provider": "install-windows-ollama"}, ON_WINDOWS, ("old:1b", True, "172.20.0.1:11434")),
        ({**ROUTE, "provider": "start-windows-ollama"}, SILENT, ("old:1b", True, "127.0.0.1:11434")),
        # A switch to another provider was broken off before it left Ollama.
        ({**ROUTE, "provider_name": "vllm-local", "to_free": [ROUTE]}, None, ("old:1b", False, "127.0.0.1:11434")),
        ({**ROUTE, "provider_name": "c", "to_free": [{"container": "v"}]}, None, (None, False, "127.0.0.1:11500")),
    ],
)
def test_what_the_route_uses(route: Any, windows: Any, wanted: Any, make_host: Make) -> None:
    found = previous(make_host(route=route, ollama={"windows": windows}), 11500)
    assert (found["model"], found["is_windows"], found["address"]) == wanted
    assert found["is_recorded"] == ((route or {}).get("provider_name") == "ollama-local")


@pytest.mark.parametrize(
    ("changed", "before", "check", "tried"),
    [
        (True, None, False, True),
        (True, "other:1b", False, True),
        (True, "bad:1b", False, False),  # the route that still holds uses it
        (False, None, False, False),  # it was in memory before
        (True, None, True, False),
    ],
)
def test_which_refused_model_is_taken_out_of_memory(
    changed: bool, before: str | None, check: bool, tried: bool, made: Decide
) -> None:
    loaded = {"changed": changed, "model": "bad:1b", "loaded": {"name": "bad:1b"}, "progress": None}
    host, decision = made(check_mode=check, facts={"route": {**ROUTE, "model": before} if before else None})
    assert Outcome(decision, host, {"loaded": loaded}).is_tried_only is tried


@pytest.mark.parametrize(
    ("progress", "unloaded", "deleted", "said"),
    [
        (None, {"changed": True}, {"skipped": True}, "bad:1b was taken out of memory and stays on the disk (4.36 GiB). 'ollama rm bad:1b'"),
        ({"phase": "done"}, {"changed": True}, {"skipped": True}, "with ollama_remove_refused: true a run deletes what it downloaded"),
        ({"phase": "done"}, {"changed": True}, {"changed": True}, "The downloaded part of bad:1b is deleted again."),
        ({"phase": "done"}, {"changed": True}, {"failure": {"code": "model_not_deleted"}}, "stays on the disk"),
        (None, {"skipped": True}, {"skipped": True}, "bad:1b stays on the disk"),
        (None, {"failure": {"code": "unload_failed"}}, {"skipped": True}, "bad:1b stays on the disk"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_refused_model(progress: Any, unloaded: Any, deleted: Any, said: str, made: Decide) -> None:
    loaded = {"changed": True, "model": "bad:1b", "size": 4_683_087_332, "progress": progress}
    host, decision = made()
    assert said in Outcome(decision, host, {"loaded": loaded, "unloaded": unloaded, "deleted": deleted}).what_stays


@pytest.mark.parametrize(
    ("context", "proof", "refused"),
    [
        (65536, {"changed": False}, ""),
        (16384, {"changed": False}, "m:1b runs with a context of 16384 tokens, but ollama_min_context_window requires 65536"),
        (None, {"changed": False}, ""),  # nobody knows it
        (16384, {"skipped": True}, ""),  # nothing is judged that could not be asked
        (65536, {"failed": True, "msg": "It leaks.", "failure": {"code": "leaked_tool_call"}}, "It leaks."),
    ],
)  # fmt: skip
def test_why_a_model_is_refused(context: Any, proof: dict[str, Any], refused: str, made: Decide) -> None:
    host, decision = made(ollama_min_context_window=65536)
    loaded = {**LOADED, "loaded": {"name": "m:1b", "context_length": context}}
    found = Outcome(decision, host, {"loaded": loaded, "proof": proof})
    assert found.refusal.startswith(refused) and bool(found.refusal) == bool(refused)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"outcome": "unavailable", "status": None}, ""),
        ({"outcome": "reachable", "status": 200}, ""),
        ({"skipped": True}, ""),
        ({"outcome": "reachable", "status": 404}, "HTTP 404.*most likely the Ollama of this WSL.*ollama_side: wsl"),
        ({"outcome": "blocked", "status": None}, "no answer.*No route was saved"),
    ],
)
def test_whether_containers_reach_the_one_that_has_the_model(asked: Any, refused: str, on_windows: Make) -> None:
    found = on_windows(loaded=LOADED, identity=asked).refusal
    assert re.search(refused, found) and bool(found) == bool(refused)


def test_the_ollama_of_wsl_may_be_hidden_by_that_of_windows(made: Decide) -> None:
    host, decision = made({"windows": SILENT}, facts=WSL, ollama_side="wsl")
    found = Outcome(decision, host, {"loaded": LOADED, "identity": {"outcome": "reachable", "status": 404}})
    assert (
        "most likely the Ollama of Windows, on its loopback. Stop that one, or choose it with ollama_side: windows"
        in found.refusal
    )


BLOCKED = {"outcome": "blocked", "hint": "The firewall is in the way.", "network": "bridge"}
REACHED = {"outcome": "reachable", "hint": "", "network": "bridge"}
CHANGED = {"changed": True, "actions": ["set OLLAMA_HOST", "restart"]}


@pytest.mark.parametrize(
    ("facts", "path", "windows", "said"),
    [
        (ON_WINDOWS, REACHED, {}, ""),
        (ON_WINDOWS, {"skipped": True}, {}, ""),
        (ON_WINDOWS, BLOCKED, {}, r"The firewall is in the way\. No route was saved, and the previous one is unchanged\.$"),
        (ON_WINDOWS, BLOCKED, CHANGED, "Windows was changed before that: set OLLAMA_HOST; restart. The playbook uninstall"),
        (SILENT, REACHED, {}, "Containers reach Ollama on Windows, but this Linux, from which models are pulled and proved, does not.*It "
            "does not resolve.*New-NetFirewallRule"),
        (SILENT, {"outcome": "unavailable", "hint": "No engine."}, {}, "^This Linux does not reach Ollama on Windows"),
        ({**ON_WINDOWS, "daemon_version": "0.9.3"}, REACHED, {}, "is 0.9.3, and ollama_minimum_version is 0.32.9"),
    ],
)  # fmt: skip
def test_what_stands_against_the_path_to_windows(
    facts: Any, path: Any, windows: Any, said: str, on_windows: Make
) -> None:
    found = on_windows(facts, path=path, windows=windows).problems
    assert len(found) == bool(said)
    assert re.search(said, " ".join(found))


def test_what_check_mode_would_upgrade_is_still_the_one_of_before(on_windows: Make) -> None:
    old = {**ON_WINDOWS, "daemon_version": "0.9.3"}
    assert on_windows(old, check_mode=True, windows=CHANGED).problems == []
    assert len(on_windows(old, check_mode=True, windows={"changed": False}).problems) == 1


def test_the_ollama_of_wsl_that_containers_do_not_reach(made: Decide) -> None:
    host, decision = made({"windows": SILENT}, facts=WSL, ollama_side="wsl")
    # Left behind by a run for Windows.
    (found,) = Outcome(decision, host, {"path": BLOCKED, "windows": CHANGED}).problems
    assert "localhostForwarding" in found
    assert "Windows was changed" not in found


@pytest.mark.parametrize(
    ("facts", "result", "failed"),
    [
        (ON_WINDOWS, {"changed": True}, False),
        (ON_WINDOWS, {"failed": True, "failure": {"code": "powershell_policy"}}, False),  # it is used as it is
        (ON_WINDOWS, {"failed": True, "failure": {"code": "powershell_policy", "actions": ["stop"]}}, True),
        (ON_WINDOWS, {"failed": True, "failure": {"code": "windows_ollama_bind"}}, True),
        (SILENT, {"failed": True, "failure": {"code": "powershell_policy"}}, True),
        (ON_WINDOWS, {"failed": True, "msg": "MODULE FAILURE"}, True),
    ],
)
def test_when_windows_has_failed(facts: Any, result: dict[str, Any], failed: bool, on_windows: Make) -> None:
    assert on_windows(facts, windows=result).windows_failed is failed


@pytest.mark.parametrize(
    ("interop", "windows", "said"),
    [
        (False, {}, "is used as is.*starts no Windows programs"),
        (
            True,
            {"failed": True, "msg": "A policy.", "failure": {"code": "powershell_policy"}},
            "is used as is.*A policy",
        ),
        (True, CHANGED, "^Done on Windows: set OLLAMA_HOST; restart.$"),
    ],
)
def test_what_is_said_of_windows(interop: bool, windows: Any, said: str, on_windows: Make) -> None:
    assert re.search(said, on_windows(interop=interop, windows=windows, loaded=LOADED).lines[0])


@pytest.mark.parametrize(
    ("ollama", "results", "can_answer", "said"),
    [
        ({}, {"loaded": LOADED}, True, ""),
        ({"daemon_version": None}, {}, False, "Ollama does not run, so the model and the route were not checked."),
        ({}, {"loaded": LOADED, "served": {"changed": True}}, False, "started differently, so nothing was proved."),
        ({}, {"loaded": LOADED, "installed": {"changed": True}}, False, "Ollama would be replaced"),
        ({}, {"loaded": {"model": "m:1b", "loaded": None, "digest": None}}, False, "The model is not on this host, so nothing was proved."),
        ({}, {"loaded": {"model": "m:1b", "loaded": None, "digest": "d"}}, False, "The model is not in memory, where a question would"),
        (NOTHING, {"loaded": {"model": "m:1b", "loaded": None}}, False, "Once it is installed, Ollama is started on 127.0.0.1:11434"),
    ],
)  # fmt: skip
def test_what_check_mode_could_not_look_at(
    ollama: dict[str, Any], results: dict[str, Any], can_answer: bool, said: str, made: Decide
) -> None:
    host, decision = made(ollama, check_mode=True)
    found = Outcome(decision, host, results)
    assert found.can_answer is can_answer
    assert said in " ".join(found.lines) and bool(found.lines) == bool(said)
    # Without check mode all of it can be asked, and nothing is left to say.
    host, decision = made(ollama)
    assert Outcome(decision, host, {"loaded": LOADED}).can_answer


def test_a_check_of_windows_says_what_has_to_hold_there(on_windows: Make) -> None:
    (line,) = on_windows(check_mode=True, windows={"changed": True}).lines
    assert "Once it runs on Windows, a container must reach it at http://host.docker.internal:11434." in line


def test_what_is_said_of_model_context_and_path(made: Decide, on_windows: Make) -> None:
    host, decision = made()
    short = {**LOADED, "choice_reason": "it fits", "loaded": {"name": "m:1b", "context_length": 4096}}
    found = Outcome(decision, host, {"served": {"context": "Models get a context of 4096."}, "loaded": short}).lines
    assert found[:2] == ["Models get a context of 4096.", "m:1b, because it fits."]
    assert "context of 4096 tokens, but an agent's prompts need about 16384" in found[2]
    assert "Set ollama_context_length, for example to 32768." in found[2]
    assert on_windows(path=REACHED, loaded=LOADED).lines == [
        "A container on the network bridge reaches Ollama at http://host.docker.internal:11434."
    ]
    assert on_windows(path={"outcome": "unavailable", "hint": "No engine."}, loaded=LOADED).lines == ["No engine."]


@pytest.mark.parametrize(
    ("check", "loaded", "variables", "window"),
    [
        (False, LOADED, {}, 16384),
        (False, {"model": "old:1b", "loaded": None}, {}, None),
        # Check mode loads nothing, and tells what was recorded for the model.
        (True, {"model": "old:1b", "loaded": None}, {}, 8192),
        (True, {"model": "old:1b", "loaded": None}, {"ollama_context_length": 4096}, 4096),
        (True, {"model": "old:1b", "loaded": None}, {"ollama_context_length": -1}, 8192),
        (True, {"model": "m:1b", "loaded": None}, {}, None),
    ],
)
def test_the_context_that_is_recorded(
    check: bool, loaded: Any, variables: dict[str, Any], window: Any, made: Decide
) -> None:
    host, decision = made(check_mode=check, facts={"route": ROUTE}, **variables)
    assert Outcome(decision, host, {"loaded": loaded}).route["context_window"] == window


def test_the_routes(made: Decide, on_windows: Make) -> None:
    host, decision = made(nemoclaw_local_inference_timeout=90)
    found = Outcome(decision, host, {"loaded": LOADED}).route
    assert (found["provider"], found["timeout"], found["model"]) == ("ollama", 90, "m:1b")
    assert found["base_url_host"] == "http://127.0.0.1:11434/v1"
    assert found["base_url_sandbox"] == "http://host.openshell.internal:11435/v1"
    # Windows is recorded by its name, and not by an address that it gives out anew at each start.
    found = on_windows(loaded=LOADED, windows={"changed": True, "actions": ["upgrade Ollama"]}).route
    assert (found["provider"], found["origin"]) == ("start-windows-ollama", "managed")
    assert found["base_url_host"] == found["base_url_sandbox"] == "http://host.docker.internal:11434/v1"
    mirrored = {**ON_WINDOWS, "host": "127.0.0.1:11434"}
    assert on_windows(mirrored, loaded=LOADED).route["base_url_host"] == "http://127.0.0.1:11434/v1"
    host, decision = made({"windows": SILENT}, facts=WSL, ollama_side="wsl")
    found = Outcome(decision, host, {"loaded": LOADED}).route
    assert found["base_url_sandbox"] == "http://host.docker.internal:11434/v1"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"version": "0.9.3", "daemon_version": "0.9.3"}, "Ollama 0.9.3 is restored and answers again."),
        ({"version": "0.9.3", "daemon_version": None}, "Ollama 0.9.3 is restored and does not answer."),
        ({"msg": "It is gone.", "failure": {"code": "x"}}, "The previous Ollama could not be restored: It is gone."),
    ],
)
def test_what_came_of_putting_the_previous_one_back(result: dict[str, Any], said: str) -> None:
    assert restored_in_words(result) == said
