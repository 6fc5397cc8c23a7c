# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan before a set-up, after it, and where something stands against it; site ends after the plan where nothing is to be done."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from conftest import Llama
from test_playbooks import KEY, Controller, forms_of, new_controller


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, llama: Llama) -> Controller:
    """Return a controller whose host has a good server at hand, and no route yet."""
    return new_controller(tmp_path_factory.mktemp("plan"), forms_of(KEY), llama)


def results(controller: Controller) -> int:
    """Return how many tasks of the one host had a result."""
    recap = controller.output.rsplit("PLAY RECAP", 1)[1]
    return sum(int(count) for count in re.findall(r"(?:ok|skipped|failed|rescued|ignored)=(\d+)", recap))


def calls(controller: Controller) -> int:
    return controller.output.count("Using module file")


def test_from_the_first_plan_to_a_run_that_has_nothing_to_do(host: Controller) -> None:
    """The URL alone says which provider is meant. As far as the record with Ansible's own default of no pipelining."""
    host.environment |= {"NEMOCLAW_PROVIDER": "", "ANSIBLE_PIPELINING": "false"}
    assert host.play("plan", "-e", "plan_fail_on_change=true") == 2
    assert "custom, because NEMOCLAW_ENDPOINT_URL is set and nemoclaw_provider is not" in host.output
    assert "route.record" in host.output
    assert "1 to change" in host.output
    assert not host.record.exists(), "a plan changes nothing"

    assert host.play("site", "--check", "--diff") == 0
    assert (host.changed, host.record.exists()) == (1, False)
    assert "Check mode set nothing up" in host.output

    assert host.play("site", "--diff") == 0
    assert host.changed == 1
    assert "Completion: healthy" in host.output, "it ends with the status"
    route = json.loads(host.record.read_text(encoding="utf-8"))
    assert (route["provider"], route["model"], route["api"]) == ("custom", "scripted", "openai-completions")
    assert route["context_window"] == 32768
    assert route["base_url_sandbox"] == route["base_url_host"].replace("127.0.0.1", "host.openshell.internal")
    assert stat.S_IMODE(host.record.stat().st_mode) == 0o600
    assert stat.S_IMODE(host.record.parent.stat().st_mode) == 0o700
    before = host.record.stat().st_mtime_ns
    del host.environment["ANSIBLE_PIPELINING"]

    assert host.play("plan", "-e", "plan_fail_on_change=true") == 0
    assert "1 converged" in host.output
    assert host.play("site") == 0
    assert (host.changed, calls(host), results(host)) == (0, 1, 2)
    assert "Completion: healthy" in host.output, "it ends with the status"
    assert "tool_call" in host.output, "and with the whole proof"
    # One question is a proof where the record has the rest.
    assert host.play("site", "--check", "--diff", "-e", "plan_proof=completion") == 0
    assert (host.changed, calls(host), results(host)) == (0, 1, 2)
    assert '"streaming"' not in host.output
    assert host.record.stat().st_mtime_ns == before


def test_a_collector_asks_a_host_once_and_its_report_needs_none(host: Controller) -> None:
    """The key stands in none of the files, which Controller looks at."""
    folder = host.folder / "nemoclaw-report"
    assert host.play("collect") == 0
    assert (host.changed, calls(host)) == (1, 1)
    document = json.loads((folder / "documents" / "localhost.json").read_text(encoding="utf-8"))
    assert (document["state"], document["exit_code"], document["reason"]) == ("healthy", 0, "")
    assert (document["model"], document["drift"]["converged"]) == ("scripted", True)
    checks = {one["name"]: one for one in document["checks"]}
    assert checks["completion"]["state"] == "healthy"
    assert checks["backend"]["latency"] > 0
    assert host.play("report") == 0
    assert (host.changed, calls(host)) == (0, 0)

    assert host.play("collect", COMPATIBLE_API_KEY="another") == 2
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))["hosts"][0]
    assert (document["state"], document["checks"][1]["code"]) == ("down", "auth_failed")
    assert document["last_success"] < document["collected"]


def test_drift_is_named_and_a_recorded_server_kept_where_nothing_names_one(host: Controller) -> None:
    good = host.record.read_text(encoding="utf-8")
    host.record.chmod(0o644)
    assert host.play("plan", "-e", "plan_fail_on_change=true") == 2
    assert "route.close" in host.output
    host.record.write_text(good.replace("32768", "4096"), encoding="utf-8")
    assert host.play("plan", "-e", "plan_fail_on_change=true", NEMOCLAW_LOCAL_INFERENCE_TIMEOUT="99") == 2
    assert "timeout is 180, not 99" in host.output
    assert "context_window is 4096, not 32768" in host.output
    assert host.play("site", NEMOCLAW_ENDPOINT_URL="", NEMOCLAW_MODEL="") == 0
    assert "custom, as the recorded route has it" in host.output
    assert host.changed == 1
    assert host.record.read_text(encoding="utf-8") == good
    assert host.record.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        # What the controller sees, what the look at the host finds, and what the server answers.
        ({"NEMOCLAW_ENDPOINT_URL": f"http://user:{KEY}@127.0.0.1:9/v1"}, [], "url_credentials"),
        ({"NEMOCLAW_PROVIDER": "nim", "NEMOCLAW_EXPERIMENTAL": "1"}, ["--check"], "gpu_missing"),
        ({"COMPATIBLE_API_KEY": "another"}, [], "auth_failed"),
        ({}, ["--tags", "serve"], "tags_unsupported"),
    ],
)
def test_what_stands_against_it_comes_before_anything_else_in_check_mode_too(
    host: Controller, settings: dict[str, str], options: list[str], said: str
) -> None:
    before = host.record.read_bytes()
    assert host.play("site", *options, **settings) == 2
    assert said in host.output
    assert (host.changed, results(host)) == (0, 3), "the plan, the table, and the error"
    assert host.record.read_bytes() == before


def test_a_plan_shows_what_stands_against_it(host: Controller) -> None:
    assert host.play("plan", "-e", "nemoclaw_providr=custom") == 0
    assert "Did you mean nemoclaw_provider?" in host.output


def test_a_url_without_a_provider_means_a_server_of_ones_own(host: Controller) -> None:
    """This playbook takes Ollama where nothing names another; site by itself takes what runs."""
    assert host.play("native_linux", NEMOCLAW_PROVIDER="") == 0
    assert "custom, because NEMOCLAW_ENDPOINT_URL is set and nemoclaw_provider is not" in host.output
    assert (host.changed, results(host)) == (0, 2)


def test_a_python_that_does_not_start_is_told_with_the_remedy(host: Controller, tmp_path: Path) -> None:
    shim = tmp_path / "python3"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n", encoding="utf-8")
    shim.chmod(0o755)
    assert host.play("plan", "-e", f"ansible_python_interpreter={shim}") == 2
    assert "and got: pyenv: python3.12: command not found. Set ansible_python_interpreter" in host.output
    assert "deserialization" not in host.output


def test_a_host_that_does_not_answer_has_its_line(host: Controller) -> None:
    options = [
        "-i",
        "localhost,nowhere",
        "-e",
        '{"ansible_connection": "ssh"}',
        "--limit",
        "nowhere",
        "--ssh-common-args=-oConnectTimeout=2",
    ]
    assert host.play("plan", *options) == 4
    assert "1 no plan" in host.output
