# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a host as a whole, from facts that are given, and the module that returns it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.make import look_at_host, make_plan
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.steps import as_user
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_plan

Make = Callable[..., Any]

# Nothing listens there, so that no test depends on a network.
NOBODY = "http://127.0.0.1:9/v1"
MODEL = {"nemoclaw_model": "127.0.0.1:9/lab/model:1b", "ollama_insecure_registry": True}
GPU = {
    "index": 0,
    "uuid": "GPU-1",
    "name": "NVIDIA H200",
    "memory_total_mib": 143_000,
    "compute_capability": "9.0",
    "trusted": True,
}
GPUS = {"gpus": {"devices": [{**GPU, "unified_memory": False}], "count": 1}, "profile": "linux-nvidia"}


@pytest.fixture
def plan(make_host: Make, make_settings: Make, tmp_path: Path) -> Make:
    """Return a function that plans a host without anything on it, but for the facts that are given."""

    def of(facts: dict[str, Any], **variables: Any) -> dict[str, Any]:
        machine = Machine(root=tmp_path, environ={"PATH": "/usr/bin"})
        machine.path(find_account().home).mkdir(parents=True, exist_ok=True)
        settings = make_settings(sandbox_backend="none", nemoclaw_ollama_port=11999, **variables)
        host = make_host(**facts)
        found: dict[str, Any] = make_plan(machine, find_account(), settings, look=lambda *_: host)
        return found

    return of


def ids(found: dict[str, Any]) -> list[str]:
    return [one["id"] for one in found["steps"]]


def codes(found: dict[str, Any]) -> list[str]:
    return [one["code"] for one in found["refusals"]]


def test_a_home_that_is_not_there_is_refused_before_anything_is_changed(
    plan: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_given, **_words: None)
    found = plan({}, nemoclaw_yes=True, **MODEL)
    assert (codes(found), found["steps"]) == (["home_refused"], [])
    assert "is not on this host" in found["refusals"][0]["message"]
    assert codes(plan({}, nemoclaw_yes=True, nemoclaw_route_path="/var/lib/lab/route.json", **MODEL)) == []


def test_a_bare_host_with_consent_gets_everything(plan: Make) -> None:
    found = plan({}, nemoclaw_yes=True, **MODEL)
    assert found["choice"]["provider"] == "install-ollama"
    assert found["consult"] == ["ollama_install"]
    assert ids(found) == [
        "packages.install",
        "service.start",
        "model.pull",
        "model.load",
        "proxy.create",
        "proxy.write",
        "proxy.start",
        "token.create",
        "route.record",
    ]
    assert (found["converged"], found["drift"], found["steady"], found["download_unknown"]) == (
        False,
        True,
        False,
        True,
    )


def test_a_bare_host_without_consent_is_refused(plan: Make) -> None:
    found = plan({}, **MODEL)
    assert codes(found) == ["download_not_allowed"]
    assert found["consult"] == []


def test_an_ollama_that_did_not_tell_its_version_in_time_is_not_taken_for_none(plan: Make) -> None:
    ollama = {"path": "/usr/local/bin/ollama", "problem": "Asked for the version of ollama: it did not end within 3 s."}
    found = plan({"ollama": ollama, "proxy": None}, nemoclaw_yes=True, **MODEL)
    assert found["consult"] == []
    assert ids(found) == ["ollama.verify", "proxy.verify", "route.record"]


def test_a_server_that_does_not_answer_is_a_refusal(plan: Make) -> None:
    assert codes(plan({}, nemoclaw_endpoint_url=NOBODY)) == ["connection_refused"]


@pytest.mark.parametrize("provider", ["custom", "anthropicCompatible"])
def test_a_recorded_server_is_kept_with_its_provider(plan: Make, provider: str) -> None:
    base = NOBODY if provider == "custom" else NOBODY[: -len("/v1")]
    api = "openai-completions" if provider == "custom" else "anthropic-messages"
    route = {
        "provider": provider,
        "base_url_host": base,
        "base_url_sandbox": base,
        "model": "m",
        "api": api,
        "timeout": 9,
    }
    found = plan({"route": {**route, "provider_name": "compatible-endpoint", "container": None}})
    assert found["choice"]["provider"] == provider
    assert found["choice"]["reason"].startswith("as the recorded route has it")
    assert found["choice"]["model_reason"] == "as the recorded route has it"
    assert found["kept"]["endpoint_url"] == base
    assert codes(found) == ["connection_refused"], "it was asked there"


def test_a_managed_container_is_for_its_module(plan: Make) -> None:
    found = plan(
        {**GPUS, "python": {"libraries": {"docker": "7.1.0"}}},
        nemoclaw_provider="install-vllm",
        nemoclaw_experimental=True,
    )
    assert found["consult"] == ["vllm_container"]
    assert ids(found) == ["route.record"]
    found = plan(GPUS, nemoclaw_provider="nim", nemoclaw_experimental=True)
    assert (found["consult"], ids(found)) == ([], ["packages.install", "route.record"])


def test_where_only_windows_could_tell_nothing_is_said_of_this_linux(plan: Make) -> None:
    wsl = {"version": 2, "distro": "Debian", "networking_mode": "nat", "interop": True}
    found = plan({"wsl": wsl, "docker": {"kind": "desktop"}}, nemoclaw_provider="ollama", **MODEL)
    assert (found["choice"]["side"], codes(found), found["consult"]) == ("unknown", [], ["ollama_windows"])
    assert ids(found) == ["windows.verify", "route.record"]


def test_what_stands_against_it_leaves_the_comparison_out(plan: Make) -> None:
    found = plan({"systemd": False}, nemoclaw_yes=True, **MODEL)
    assert (codes(found), found["steps"], found["consult"]) == (["systemd_missing"], [], [])


def test_a_role_that_would_act_for_another_user_is_never_converged(make_host: Make, make_settings: Make) -> None:
    host = make_host()
    settings = make_settings(nemoclaw_endpoint_url=NOBODY, sandbox_backend="none")
    found = make_plan(Machine(), find_account(), settings, apart=["endpoint_user"], look=lambda *_: host)
    assert "server.verify" in ids(found)


def test_a_port_that_is_none_is_refused_and_not_looked_at(plan: Make, make_settings: Make, tmp_path: Path) -> None:
    backends = [{"name": "vllm", "port": "80a", "upstream_port": 8000}]
    machine = Machine(root=tmp_path, environ={"PATH": "/nonexistent"})
    assert look_at_host(machine, find_account(), make_settings(proxy_backends=backends))["listeners"] == []
    found = plan({"systemd": True}, nemoclaw_yes=True, proxy_backends=backends, **MODEL)
    assert "proxy_settings_invalid" in codes(found)


def test_work_of_a_user_has_that_user_s_rights_and_tells_what_stopped_it() -> None:
    nobody = Account("nobody", 65534, 65534, "/", (65534,))
    account = nobody if os.geteuid() == 0 else find_account()
    assert as_user(account, lambda: {"uid": os.getuid(), "gid": os.getgid()}) == {
        "uid": account.uid,
        "gid": account.gid,
    }
    assert os.geteuid() == os.getuid()

    def stop() -> dict[str, Any]:
        raise Failure("a_code", "It is so.", path="/somewhere")

    with pytest.raises(Failure) as raised:
        as_user(account, stop)
    assert raised.value.as_result() == {"code": "a_code", "message": "It is so.", "path": "/somewhere"}


@pytest.mark.parametrize(
    ("params", "environ", "name"),
    [
        ({"user": None, "by_sudo": False}, {"SUDO_USER": "nobody"}, None),
        ({"user": None, "by_sudo": True}, {"SUDO_USER": "nobody"}, "nobody"),
        ({"user": None, "by_sudo": True}, {"DOAS_USER": "nobody"}, "nobody"),
        ({"user": "root", "by_sudo": True}, {"SUDO_USER": "nobody"}, "root"),
    ],
)
def test_whose_inference_it_is(params: dict[str, Any], environ: dict[str, str], name: str | None) -> None:
    assert inference_plan.owner(params, environ) == find_account(name)


def test_the_module_returns_a_plan_and_shows_no_secret(run_plan: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, result = run_plan(
        {
            "settings": {"endpoint_url": NOBODY, "sandbox_backend": "none"},
            "origins": {"endpoint_url": "nemoclaw_endpoint_url", "compatible_api_key": "compatible_api_key"},
            "secrets": {"compatible_api_key": "canary-5d1f"},
        }
    )
    assert (code, result["changed"]) == (0, False)
    assert codes(result) == ["connection_refused"]
    assert "canary-5d1f" not in str(result)
