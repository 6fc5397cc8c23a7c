# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller adds to a plan, and the plan for people."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import make, steps
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.settings import Settings, read
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.sources import collect
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import plan, plan_lines, tags

GPU = {
    "index": 0,
    "uuid": "GPU-1",
    "name": "NVIDIA H200",
    "memory_total_mib": 143_000,
    "compute_capability": "9.0",
    "trusted": True,
}
HOST: dict[str, Any] = {
    "wsl": None,
    "route": None,
    "profile": "linux-nvidia",
    "architecture": "amd64",
    "user": {"name": "lab"},
    "gpus": {"devices": [{**GPU, "unified_memory": False}], "problem": None},
    "docker": {"kind": "native", "reachable": True, "code": None, "reason": None, "runtimes": []},
    "ollama": {"windows": None, "both_running": False, "daemon_version": None, "client_version": None, "path": None},
    "vllm": {"running": False, "models": [], "model": None},
    "listeners": [],
    "python": {"libraries": {"docker": "7.1.0"}},
}
ROUTE = {"model": "nvidia/m", "base_url_host": "http://127.0.0.1:8000/v1", "provider": "install-vllm"}


def settings_of(**variables: Any) -> Settings:
    return read(*collect(variables, {}, lambda _name, value: value))


def plan_of(**more: Any) -> dict[str, Any]:
    made = {
        "host": {**HOST, **more.pop("host", {})},
        "choice": {
            "provider": "ollama",
            "reason": "as asked",
            "role": "ollama",
            "model": "m",
            "model_reason": "as asked",
            "side": None,
            "side_reason": None,
        },
        "steps": [],
        "refusals": [],
        "route": ROUTE,
        "recorded": ROUTE,
        "kept": {},
        "proof": {"model": "m", "models": []},
        "status": ["Inference: healthy"],
        "consult": [],
        **more,
    }
    return make.finish(made)


def answering(**results: dict[str, Any]) -> tuple[plan.Ask, list[tuple[str, dict[str, Any], bool]]]:
    asked: list[tuple[str, dict[str, Any], bool]] = []

    def ask(name: str, options: dict[str, Any], as_root: bool) -> dict[str, Any]:
        asked.append((name, options, as_root))
        return results[name]

    return ask, asked


READY = {
    "actions": [],
    "phase": "ready",
    "container": {"name": "nemoclaw-vllm"},
    "previous": None,
    "model": "nvidia/m",
    "base_url": ROUTE["base_url_host"],
}
MANAGED = {"nemoclaw_provider": "install-vllm", "nemoclaw_experimental": True}


@pytest.mark.parametrize(
    ("result", "converged", "ids", "codes"),
    [
        (READY, True, [], []),
        ({**READY, "model": "another"}, False, ["server.verify"], []),
        ({**READY, "previous": "nemoclaw-vllm-previous"}, False, ["server.verify"], []),
        ({**READY, "actions": ["replace nemoclaw-vllm (image)"], "phase": "planned"}, False, ["container.replace"], []),
        ({"failed": True, "failure": {"code": "port_taken", "message": "It is."}}, False, [], ["port_taken"]),
        ({"failed": True, "msg": "MODULE FAILURE"}, False, [], ["plan_incomplete"]),
    ],
)
def test_the_module_of_a_container_has_the_last_word(
    result: dict[str, Any], converged: bool, ids: list[str], codes: list[str]
) -> None:
    ask, asked = answering(vllm_container=result)
    made = plan_of(consult=["vllm_container"])
    assert not made["converged"]
    found = plan.complete(made, settings_of(**MANAGED, hf_token="t", vllm_gate_port=11440), False, ask)
    assert found["converged"] == converged
    assert bool(found["proof"]) == bool(found["status"]) == converged
    assert [one["id"] for one in found["steps"]] == ids
    assert [one["code"] for one in found["refusals"]] == codes
    ((name, options, as_root),) = asked
    assert (name, as_root) == ("vllm_container", False)
    assert (options["hf_token"], options["publish"], options["keep_previous"]) == ("t", ["127.0.0.1"], True)


OLLAMA = {
    "provider": "ollama",
    "provider_name": "ollama-local",
    "model": "o",
    "base_url_host": "http://127.0.0.1:11434/v1",
}
VLLM = {**ROUTE, "provider_name": "vllm-local", "container": "nemoclaw-vllm"}
LEFT = {**OLLAMA, "to_free": [VLLM]}


@pytest.mark.parametrize(
    ("recorded", "route", "wanted", "ids", "before"),
    [
        (None, OLLAMA, "ollama", [], []),
        (OLLAMA, OLLAMA, "ollama", [], []),
        (VLLM, OLLAMA, "ollama", ["previous.stop"], ["nemoclaw-vllm"]),
        # Nobody knows yet where it will be.
        (VLLM, None, "nim", ["previous.stop"], ["nemoclaw-vllm"]),
        (VLLM, None, "install-vllm", [], []),
        (OLLAMA, None, "custom", ["previous.unload"], ["o"]),
        (OLLAMA, {**OLLAMA, "model": "n"}, "ollama", ["previous.unload"], ["o"]),
        # The same server, taken as one of the user's own.
        (OLLAMA, {**ROUTE, "base_url_host": "http://localhost:11434/v1"}, "custom", [], []),
        # A switch was broken off after the record: nothing else is to be done.
        (LEFT, OLLAMA, "ollama", ["previous.stop"], ["nemoclaw-vllm"]),
        (LEFT, None, "ollama", ["previous.stop"], ["nemoclaw-vllm"]),
        # Switched back before it was stopped, or on to a third one.
        (LEFT, VLLM, "install-vllm", ["previous.unload"], ["o"]),
        (
            LEFT,
            {**ROUTE, "base_url_host": "http://gpu/v1"},
            "custom",
            ["previous.unload", "previous.stop"],
            ["o", "nemoclaw-vllm"],
        ),
    ],
)
def test_what_a_switch_leaves_is_a_step(
    recorded: Any, route: Any, wanted: str, ids: list[str], before: list[str]
) -> None:
    variables = {"nemoclaw_provider": wanted, "nemoclaw_endpoint_url": "http://gpu/v1", "nemoclaw_experimental": True}
    made = plan_of(host={"route": recorded}, recorded=recorded, route=route)
    settings = settings_of(**variables, ngc_api_key="k", vllm_gpus="none", nim_gpus="none")
    found = plan.complete(made, settings, False, answering()[0])
    assert [one["id"] for one in found["steps"]] == ids, found["refusals"]
    assert [one["before"] for one in found["steps"]] == before
    assert found["converged"] == (not ids and route is not None)


@pytest.mark.parametrize(
    ("result", "ids"),
    [
        # It was never stopped, since the switch away from it was broken off.
        (READY, ["route.record", "previous.unload"]),
        (
            {**READY, "actions": ["start nemoclaw-vllm"], "phase": "planned"},
            ["container.start", "route.record", "previous.unload"],
        ),
    ],
)
def test_a_server_of_ours_that_the_record_does_not_lead_to(result: dict[str, Any], ids: list[str]) -> None:
    made = plan_of(host={"route": LEFT}, recorded=LEFT, route=None, consult=["vllm_container"])
    made["choice"] = {**made["choice"], "provider": "install-vllm", "role": "vllm"}
    found = plan.complete(made, settings_of(**MANAGED), False, answering(vllm_container=result)[0])
    assert [one["id"] for one in found["steps"]][: len(ids)] == ids
    assert "previous.unload" in "\n".join(plan_lines.lines_of(found))


def test_what_stands_against_it_is_said_without_asking_anybody() -> None:
    ask, asked = answering()
    found = plan.complete(
        plan_of(consult=["vllm_container"]), settings_of(nemoclaw_provider="install-vllm"), False, ask
    )
    assert [one["code"] for one in found["refusals"]] == ["experimental_not_allowed"]
    assert asked == []


def test_an_installation_is_asked_what_it_fetches() -> None:
    ask, asked = answering(
        ollama_install={"changed": True, "actions": ["install o.tgz as Ollama 1"], "size": 9, "version": "1"}
    )
    settings = settings_of(nemoclaw_provider="ollama", ollama_version="0.9.3", ollama_install_url="/o.tgz")
    found = plan.complete(plan_of(consult=["ollama_install"]), settings, False, ask)
    assert [(one["id"], one["download_bytes"]) for one in found["steps"]] == [("ollama.install", 9)]
    assert found["download_bytes"] == 9
    ((_name, options, as_root),) = asked
    assert as_root
    assert (options["version"], options["minimum_version"], options["url"]) == ("0.9.3", "0.9.3", "/o.tgz")


WSL = {
    "wsl": {"version": 2, "distro": "Debian", "networking_mode": "nat", "interop": True},
    "docker": {"kind": "desktop", "reachable": True, "code": None, "reason": None, "runtimes": []},
    "ollama": {**HOST["ollama"], "windows": {"host": None, "daemon_version": None, "problem": "It does not resolve."}},
}
NO_POLICY = {
    "failed": True,
    "msg": "A policy forbids it.",
    "failure": {"code": "powershell_policy", "message": "A policy."},
}


@pytest.mark.parametrize(
    ("seen", "variables", "side", "codes"),
    [
        ({"running": True, "models": ["a:1b"]}, {"nemoclaw_model": "a:1b"}, "windows", []),
        ({"running": True, "models": []}, {"nemoclaw_model": "a:1b"}, "windows", ["download_not_allowed"]),
        ({"running": True, "models": []}, {"nemoclaw_model": "a:1b", "nemoclaw_yes": True}, "windows", []),
        ({"running": True}, {"ollama_side": "wsl"}, "wsl", ["windows_in_the_way"]),
        (NO_POLICY, {}, "windows", ["powershell_policy"]),
        ({"failed": True, "msg": "MODULE FAILURE"}, {}, None, ["plan_incomplete"]),
    ],
)
def test_windows_is_asked_which_ollama_it_is(
    seen: dict[str, Any], variables: dict[str, Any], side: str | None, codes: list[str]
) -> None:
    ask, asked = answering(ollama_windows=seen)
    settings = settings_of(nemoclaw_provider="ollama", **variables)
    found = plan.complete(plan_of(host=WSL, consult=["ollama_windows"]), settings, False, ask)
    assert (found["choice"]["side"], [one["code"] for one in found["refusals"]]) == (side, codes)
    assert [one["id"] for one in found["steps"]] == ([] if side is None else ["windows.verify"])
    assert asked == [("ollama_windows", {"state": "detected", "port": 11434, "timeout": 60}, False)]


def test_the_container_of_the_record_makes_way() -> None:
    ask, asked = answering(nim_container={"failed": True, "msg": "x"})
    settings = settings_of(nemoclaw_provider="nim", nemoclaw_experimental=True, ngc_api_key="k")
    recorded = {**ROUTE, "container": "nemoclaw-vllm"}
    plan.complete(plan_of(consult=["nim_container"], recorded=recorded), settings, False, ask)
    assert asked[0][1]["instead_of"] == "nemoclaw-vllm"


@pytest.mark.parametrize("profile", ["page", "later"])
def test_the_module_of_the_container_is_asked_for_the_same_default(profile: str) -> None:
    ask, asked = answering(vllm_container={"changed": False, "actions": []})
    settings = settings_of(nemoclaw_provider="install-vllm", nemoclaw_experimental=True, nemoclaw_profile=profile)
    plan.complete(plan_of(consult=["vllm_container"]), settings, False, ask)
    assert asked[0][1]["nemoclaw_profile"] == profile
    assert "model" not in asked[0][1]


@pytest.mark.parametrize(
    ("stderr", "stdout", "reason"),
    [
        (
            "pyenv: python3.12: command not found\n\nThe `python3.12' command exists in these Python versions:\n  3.12.4\n",
            "",
            "pyenv: python3.12: command not found",
        ),
        (
            "Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'zlib'\n",
            "",
            "No module named 'zlib'",
        ),
        (
            "Shared connection to a closed.\r\n",
            "/bin/sh: 1: /opt/python: not found\r\n",
            "/bin/sh: 1: /opt/python: not found",
        ),
        ("", "", "nothing, and the exit status 127"),
    ],
)
def test_a_python_that_does_not_start_is_a_sentence(stderr: str, stdout: str, reason: str) -> None:
    silent = {
        "msg": "No start of json char found",
        "module_stderr": stderr,
        "module_stdout": stdout,
        "rc": 127,
        "exception": "x",
    }
    found = plan.explain_silence(silent)
    assert f"{reason}. Set ansible_python_interpreter" in found["msg"]
    assert found["failure"]["code"] == "python_unusable"
    assert "exception" not in found


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("sudo: unknown user: nobody-here", "Correct nemoclaw_user"),
        ("sudo: a password is required", "--ask-become-pass"),
        ("sudo: sorry, you must have a tty to run sudo", "-e ansible_pipelining=false"),
    ],
)
def test_a_user_that_cannot_be_become_is_no_matter_of_python(said: str, remedy: str) -> None:
    found = plan.explain_silence({"module_stderr": f"{said}\n", "rc": 1})
    assert found["failure"]["code"] == "become_failed"
    assert f"got: {said}. " in found["msg"]
    assert remedy in found["msg"]


def test_the_lines() -> None:
    pull = steps.step("model", "pull", "the model is not on this host", download_bytes=5 * 1024**3)
    restart = steps.step("service", "restart", "Ollama is open to the network", interrupts=steps.MODEL)
    nginx = steps.step("packages", "install", "the auth proxy is nginx", download_bytes=None)
    lines = plan_lines.lines_of(plan_of(steps=[one.as_result() for one in (pull, restart, nginx)]))
    assert lines[0] == "Provider:  ollama, as asked"
    assert lines[2] == "Steps:     3 steps, 5.00 GiB and more to download, interrupts the model"
    assert [line.split()[1] for line in lines[3:]] == ["packages.install", "service.restart", "model.pull"]
    assert plan_lines.lines_of(plan_of())[-1] == "Inference: healthy"
    refused = plan_lines.lines_of(plan_of(refusals=[{"code": "a_code", "message": "It is so."}]))
    assert refused[-2:] == [
        "Refused:   It is so. (a_code)",
        "Nothing is changed on this host until that is fixed.",
    ]


def test_the_table_has_a_line_for_each_host_and_sums_them_up() -> None:
    step = steps.step("model", "pull", "r", download_bytes=None).as_result()
    plans = {
        "one": plan_of(),
        "two": plan_of(steps=[step]),
        "three": plan_of(refusals=[{"code": "a_code", "message": "It is so. Set it."}]),
        "four": {
            "msg": "gone",
            "outcome": {"code": "host_unreachable", "message": f"Tried to connect: {'no route ' * 20}. Start it."},
        },
    }
    head, *rows, last = plan_lines.table(plans, [*plans, "five"])
    assert [row.split()[0] for row in (head, *rows)] == ["host", "one", "two", "three", "four", "five"]
    assert rows[0].split()[1:3] == ["ollama", "converged"]
    assert rows[1].split()[2:5] == ["1", "step", "some"]
    assert rows[2].endswith("a_code: It is so")
    assert "host_unreachable: Tried to connect: no route" in rows[3]
    assert rows[3].endswith("no route ...")
    assert rows[4].endswith("the look failed")
    assert last == "1 converged, 1 to change, 1 refused, 2 no plan"


def test_a_plan_stays_below_its_limit() -> None:
    long = [f"model-{number}" for number in range(9000)]
    made = plan_of(
        proof={"models": long},
        host={"vllm": {"models": long, "model": long[0]}, "docker": {"runtimes": []}, "problems": {}},
    )
    found = make.within_limit(made)
    assert len(json.dumps(found)) <= make.LIMIT
    with pytest.raises(make.Failure, match="64 KiB"):
        make.within_limit(plan_of(status=long))


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("2.14.18", True),
        ("2.18.19", True),
        ("2.19.0", False),
        ("2.19.14", False),
        ("2.21.5", False),
        ("2.22.0rc1", False),
        ("3.0.0", False),
    ],
)
def test_an_ansible_core_that_is_too_old_is_refused(version: str, refused: bool) -> None:
    found = plan.refuse_core(version)
    assert bool(found) == refused
    assert all(version in one.message and "pipx install ansible-core" in one.message for one in found)


@pytest.mark.parametrize(
    ("run", "skipped", "refused"),
    [
        (["all"], [], ""),
        (["plan"], [], ""),
        (["all"], ["slow"], ""),
        (["serve"], [], "--tags serve"),
        (["plan", "serve", "always"], [], "--tags serve,always"),
        (["all"], ["untagged"], "--skip-tags untagged"),
    ],
)
def test_tags_that_leave_everything_out_are_refused(run: list[str], skipped: list[str], refused: str) -> None:
    """0.1.0 did nothing then, and ended well."""
    assert [refused in one.message for one in tags.refuse_tags(run, skipped)] == ([True] if refused else [])


def test_a_playbook_without_a_plan_knows_no_tag() -> None:
    assert ["--tags plan" in one.message for one in tags.refuse_tags(["plan"], [], has_plan=False)] == [True]
