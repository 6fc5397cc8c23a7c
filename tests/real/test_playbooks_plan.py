# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan before a set-up, after it, and where something stands against it; site ends after the plan where nothing is to be done."""

from __future__ import annotations

import json
import re
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
    assert host.play("plan") == 0
    assert "route.record" in host.output
    assert "1 to change" in host.output
    assert not host.record.exists(), "a plan changes nothing"
    assert host.play("plan", "-e", "plan_fail_on_change=true") == 2

    assert host.play("site") == 0
    assert host.changed == 1
    before = host.record.stat().st_mtime_ns

    assert host.play("plan", "-e", "plan_fail_on_change=true") == 0
    assert "1 converged" in host.output
    assert host.play("site") == 0
    assert (host.changed, calls(host), results(host)) == (0, 1, 1)
    assert "Completion: healthy" in host.output, "it ends with the status"
    assert "tool_call" in host.output, "and with the whole proof"
    assert host.play("site", "--check", "--diff") == 0
    assert (host.changed, calls(host), results(host)) == (0, 1, 1)
    assert host.record.stat().st_mtime_ns == before


def test_one_question_is_a_proof_where_the_record_has_the_rest(host: Controller) -> None:
    assert host.play("site", "-e", "plan_proof=completion") == 0
    assert (host.changed, results(host)) == (0, 1)
    assert '"streaming"' not in host.output


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": "99"}, "timeout is 180, not 99"),
        ({"NEMOCLAW_LOCAL_INFERENCE_SANDBOX_HOST_URL": "http://other.internal"}, "base_url_sandbox is"),
    ],
)
def test_another_setting_is_drift(host: Controller, settings: dict[str, str], reason: str) -> None:
    assert host.play("plan", "-e", "plan_fail_on_change=true", **settings) == 2
    assert reason in host.output


@pytest.mark.parametrize("content", ["", "{", "edited", "gone"])
def test_another_record_is_drift_and_site_mends_it(host: Controller, content: str) -> None:
    good = host.record.read_text(encoding="utf-8")
    if content == "gone":
        host.record.unlink()
    else:
        host.record.write_text(good.replace("32768", "4096") if content == "edited" else content, encoding="utf-8")
    assert host.play("plan", "-e", "plan_fail_on_change=true") == 2
    assert host.play("site") == 0
    assert host.changed == 1
    assert host.record.read_text(encoding="utf-8") == good


def test_a_record_that_others_may_read_is_drift(host: Controller) -> None:
    host.record.chmod(0o644)
    assert host.play("plan", "-e", "plan_fail_on_change=true") == 2
    assert "route.close" in host.output
    assert host.play("site") == 0
    assert host.record.stat().st_mode & 0o777 == 0o600


def test_a_recorded_server_is_kept_where_nothing_names_one(host: Controller) -> None:
    nothing = {"NEMOCLAW_PROVIDER": "", "NEMOCLAW_ENDPOINT_URL": "", "NEMOCLAW_MODEL": ""}
    assert host.play("site", **nothing) == 0
    assert (host.changed, results(host)) == (0, 1)
    assert "custom, as the recorded route has it" in host.output
    # Also where its role has something to do.
    host.record.chmod(0o644)
    before = json.loads(host.record.read_text(encoding="utf-8"))
    assert host.play("site", **nothing) == 0
    assert host.changed == 1
    assert json.loads(host.record.read_text(encoding="utf-8")) == before


@pytest.mark.parametrize("mode", [[], ["--check"]])
@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ({"NEMOCLAW_PROVIDER": "costum"}, [], "Did you mean custom?"),
        ({"NEMOCLAW_PROVIDER": "install-vllm"}, [], "experimental_not_allowed"),
        ({"NEMOCLAW_PROVIDER": "nim", "NEMOCLAW_EXPERIMENTAL": "1"}, [], "gpu_missing"),
        (
            {"NEMOCLAW_PROVIDER": "install-vllm", "NEMOCLAW_EXPERIMENTAL": "1", "NEMOCLAW_VLLM_MODEL": "no-such"},
            [],
            "model_unknown",
        ),
        ({"NEMOCLAW_PREFERRED_API": "openai-response"}, [], "NEMOCLAW_PREFERRED_API is 'openai-response'"),
        ({}, ["-e", "nemoclaw_providr=custom"], "Did you mean nemoclaw_provider?"),
        ({"NEMOCLAW_ENDPOINT_URL": f"http://user:{KEY}@127.0.0.1:9/v1"}, [], "url_credentials"),
        ({"COMPATIBLE_API_KEY": "another"}, [], "auth_failed"),
        ({"NEMOCLAW_MODEL": "another"}, [], "model_not_served"),
    ],
)
def test_what_stands_against_it_comes_before_anything_else_in_check_mode_too(
    host: Controller, settings: dict[str, str], options: list[str], said: str, mode: list[str]
) -> None:
    before = host.record.read_bytes()
    assert host.play("site", *options, *mode, **settings) == 2
    assert said in host.output
    assert (host.changed, results(host)) == (0, 1)
    assert host.record.read_bytes() == before
    assert host.play("plan", *options, **settings) == 0 if not mode else True
    assert said in host.output


def test_a_url_without_a_provider_means_a_server_of_ones_own(tmp_path: Path, llama: Llama) -> None:
    bare = new_controller(tmp_path, forms_of(KEY), llama)
    # This one takes Ollama where nothing names another; site by itself takes what runs.
    assert bare.play("native_linux", NEMOCLAW_PROVIDER="") == 0
    assert "custom, because NEMOCLAW_ENDPOINT_URL is set and nemoclaw_provider is not" in bare.output
    assert json.loads(bare.record.read_text(encoding="utf-8"))["provider"] == "custom"


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
    assert host.play("plan", *options) == 2
    assert "1 no plan" in host.output
