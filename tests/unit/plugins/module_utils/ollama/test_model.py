# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading, unloading and odd answers to pulls, on a double: the real Ollama of the tests can run no model."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import pull
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Daemon
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import parse_address
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.model import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.model_work import converge
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.pull import Progress

NO_GPU = {"memory_total_mib": 0, "memory_available_mib": None}


def make(double: Any, name: str, state: str = "loaded", check: bool = False, **desired: Any) -> dict[str, Any]:
    return converge(
        Daemon(parse_address(double.host)), Desired(name, state, **{"timeout": 1, **desired}), lambda: NO_GPU, check
    )


def failing(double: Any, name: str, state: str = "loaded", **desired: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        make(double, name, state, **desired)
    return failed.value


def changes(double: Any) -> list[Any]:
    return [
        body for path, body in double.asked if path in ("POST /api/generate", "POST /api/pull", "DELETE /api/delete")
    ]


def test_load_once(double: Any) -> None:
    assert make(double, "a:1b", check=True)["actions"] == ["load a:1b"]
    assert changes(double) == []
    done = make(double, "a:1b", keep_alive="30m")
    assert changes(double) == [{"model": "a:1b", "keep_alive": "30m", "stream": False}]
    assert (done["changed"], done["before"], done["after"]) == (True, "present", "loaded")
    assert (done["loaded"]["size_vram"], done["loaded"]["context_length"], done["warnings"]) == (6 * 10**9, 32768, [])
    again = make(double, "a:1b")
    assert (again["changed"], again["before"], again["loaded"], len(changes(double))) == (
        False, "loaded", done["loaded"], 1,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["weights", "copies"])
def test_models_that_share_a_runner(double: Any, kind: str) -> None:
    double.models["b:1b"] = ["completion", "tools"]
    getattr(double, kind)["b:1b"] = "a:1b"
    make(double, "a:1b")
    second = make(double, "b:1b")
    assert (second["model"], second["loaded"]["name"], second["changed"]) == ("b:1b", "a:1b", False)
    assert make(double, "b:1b", "unloaded")["actions"] == ["unload a:1b"]
    assert double.loaded == []
    assert make(double, "b:1b")["loaded"]["name"] == "b:1b"
    assert make(double, "a:1b", check=True)["changed"] is False
    assert make(double, "plain", require_tools=False)["loaded"]["name"] == "plain:latest"


def test_a_plan_for_a_host_without_ollama_asks_no_daemon() -> None:
    nobody = Daemon(parse_address("127.0.0.1:1"))
    desired = Desired("localhost:1/lab/new:1b", "loaded", allow_download=True)
    plan = converge(nobody, desired, lambda: NO_GPU, check_mode=True, planning=True)
    assert plan["actions"] == ["pull localhost:1/lab/new:1b, of unknown size", "load localhost:1/lab/new:1b"]
    with pytest.raises(Failure) as refused:
        converge(nobody, Desired("localhost:1/lab/new:1b", "loaded"), lambda: NO_GPU, check_mode=True, planning=True)
    assert refused.value.code == "download_not_allowed"
    assert "nemoclaw_yes" in refused.value.message


@pytest.mark.parametrize(("text", "sent"), [("-1", -1), ("0", 0), ("15m", "15m")])
def test_numbers_are_sent_as_numbers(double: Any, text: str, sent: Any) -> None:
    # Ollama refuses "-1" as a string without a unit.
    double.forgets = sent == 0
    if sent == 0:
        assert failing(double, "a:1b", keep_alive=text).code == "model_not_loaded"
    else:
        make(double, "a:1b", keep_alive=text)
    assert changes(double)[0]["keep_alive"] == sent


def test_a_model_on_the_cpu_is_a_warning(double: Any) -> None:
    double.vram = 0
    (warning,) = make(double, "a:1b")["warnings"]
    assert "runs on the CPU" in warning


def test_a_model_that_is_partly_on_the_cpu_is_a_warning(double: Any) -> None:
    double.vram = 4_500_000_000
    (warning,) = make(double, "a:1b")["warnings"]
    assert "Only 75 % of a:1b is in GPU memory (4.19 GiB of 5.59 GiB)" in warning


def test_unknown_capabilities_are_noted(double: Any) -> None:
    (warning,) = make(double, "old:1b")["warnings"]
    assert "endpoint_validate" in warning
    assert make(double, "old:1b", require_tools=False)["warnings"] == []


def test_a_model_without_tools_is_not_loaded(double: Any) -> None:
    assert failing(double, "plain").code == "model_without_tools"
    assert double.loaded == []
    assert make(double, "plain", require_tools=False)["model"] == "plain:latest"


@pytest.mark.parametrize(("status", "left"), [(200, "is deleted again"), (500, "could not be deleted")])
def test_what_was_pulled_for_nothing_is_deleted(double: Any, status: int, left: str) -> None:
    double.pull, double.brings, double.delete_status = [line("success")], ["completion"], status
    failure = failing(double, "localhost:1/lab/new:1b", allow_download=True)
    assert (failure.code, left in failure.message) == ("model_without_tools", True)
    assert ("localhost:1/lab/new:1b" in double.models) == (status != 200)
    assert "plain:latest" in double.models  # one that was there is the user's
    assert "deleted" not in failing(double, "plain").message


def test_a_download_that_does_not_load_is_named(double: Any) -> None:
    double.pull, double.load_error = [line("success")], (500, "llama runner process has terminated: exit status 2")
    failure = failing(double, "localhost:1/lab/new:1b", allow_download=True)
    assert (failure.code, "'ollama rm localhost:1/lab/new:1b'" in failure.message) == ("load_failed", True)
    assert "stays on the disk (5.59 GiB)" in failure.message
    assert "ollama rm" not in failing(double, "a:1b").message


def test_a_model_that_is_not_deleted(double: Any) -> None:
    double.delete_status = 500
    failure = failing(double, "a:1b", "absent")
    assert (failure.code, "permission denied" in failure.message) == ("model_not_deleted", True)
    assert "a:1b" in double.models


def test_a_load_that_takes_too_long(double: Any) -> None:
    double.released.clear()
    failure = failing(double, "a:1b", timeout=0.2)
    double.released.set()
    assert (failure.code, "OLLAMA_LOAD_TIMEOUT" in failure.message) == ("load_timeout", True)


def test_an_address_without_a_way_to_it() -> None:
    with pytest.raises(Failure) as failed:
        converge(Daemon(parse_address("no-such-host.invalid:1")), Desired("a:1b", "present"), lambda: NO_GPU, False)
    assert failed.value.code == "ollama_unreachable"


def test_the_log_of_a_daemon_elsewhere_is_not_this_hosts() -> None:
    assert Daemon(parse_address("127.0.0.1:1")).log == "journalctl -u ollama"
    assert "journalctl" not in Daemon(parse_address("host.docker.internal:1")).log
    with pytest.raises(Failure) as failed:
        Daemon(parse_address("127.0.0.1:1")).ask("GET", "/")
    assert "systemctl start ollama" in failed.value.message


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (500, "model requires more system memory (9.1 GiB) than is available (3.0 GiB)", "memory_short"),
        (500, "llama runner process has terminated: exit status 2", "load_failed"),
        (503, "server busy, please try again. maximum pending requests exceeded", "load_failed"),
    ],
)
def test_loads_that_fail(double: Any, status: int, said: str, code: str) -> None:
    double.load_error = (status, said)
    failure = failing(double, "a:1b")
    assert (failure.code, failure.details["status"], failure.details["server_message"]) == (code, status, said)
    assert said in failure.message


def test_a_load_that_does_not_last(double: Any) -> None:
    double.forgets = True
    assert failing(double, "a:1b").code == "model_not_loaded"


def test_unload_ours_or_all(double: Any) -> None:
    double.models["b:1b"] = None
    double.loaded = ["a:1b", "b:1b"]
    assert make(double, "a:1b", "unloaded", check=True)["actions"] == ["unload a:1b"]
    assert double.loaded == ["a:1b", "b:1b"]
    assert make(double, "A:1b", "unloaded")["changed"] is True
    assert (double.loaded, make(double, "a:1b", "unloaded")["changed"]) == (["b:1b"], False)
    double.loaded = ["a:1b", "b:1b"]
    done = make(double, "all", "unloaded")
    assert (done["actions"], done["model"], double.loaded) == (["unload a:1b", "unload b:1b"], None, [])
    assert set(double.models) == {"a:1b", "plain:latest", "old:1b", "b:1b"}


def test_an_unload_that_does_nothing(double: Any) -> None:
    double.loaded, double.keeps = ["a:1b"], True
    assert failing(double, "a:1b", "unloaded", timeout=0.3).code == "unload_failed"


@pytest.mark.parametrize(
    ("name", "state"),
    [("auto", "unloaded"), ("auto", "absent"), ("all", "absent"), ("all", "present"), ("a b", "loaded")],
)
def test_names_that_do_not_go_with_the_state(double: Any, name: str, state: str) -> None:
    assert failing(double, name, state).code == "model_name_invalid"
    assert changes(double) == []


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"stall_timeout": -1}])
def test_limits_that_are_none(double: Any, limits: dict[str, int]) -> None:
    assert failing(double, "a:1b", **limits).code == "timeout_invalid"


def test_auto_takes_what_is_installed_and_says_why(double: Any) -> None:
    done = make(double, "auto")
    assert (done["model"], double.loaded) == ("a:1b", ["a:1b"])
    assert "installed" in done["choice_reason"]
    assert make(double, "auto")["changed"] is False


def line(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, **more}


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([line("pulling manifest")], "pull_interrupted"),
        ([], "pull_interrupted"),
        ([{"error": "max retries exceeded: EOF"}], "pull_interrupted"),
        ([{"error": "max retries exceeded: Get https://x/blobs/sha256:ab401c: EOF"}], "pull_interrupted"),
        ([{"error": "pull model manifest: file does not exist"}], "model_not_in_registry"),
        ([{"error": 'pull model manifest: 401: {"errors":[]}'}], "registry_unauthorized"),
        ([{"error": "write /x: no space left on device"}], "disk_full"),
        ([{"error": "digest mismatch, file must be downloaded again"}], "pull_damaged"),
        ([{"error": "pull model manifest: 412: The model requires a newer version of Ollama"}], "ollama_too_old"),
        ([{"error": "tls: failed to verify certificate: x509: unknown authority"}], "registry_tls_failed"),
        ([{"error": "dial tcp: lookup registry.ollama.ai: no such host"}], "registry_unreachable"),
        ([{"error": "something new\x1b[31m"}], "pull_failed"),
    ],
)
def test_pulls_that_fail(double: Any, lines: list[dict[str, Any]], code: str) -> None:
    double.pull = lines
    failure = failing(double, "localhost:1/lab/new:1b", "present", allow_download=True)
    assert failure.code == code
    assert failure.details["progress"]["phase"] == "manifest"
    assert "\x1b" not in failure.message


@pytest.mark.parametrize(("endings", "code"), [(2, None), (9, "pull_failed")])
def test_an_earlier_download_that_is_still_being_ended(
    double: Any, monkeypatch: pytest.MonkeyPatch, endings: int, code: str | None
) -> None:
    monkeypatch.setattr(pull, "_PAUSE_S", 0.01)
    double.pull, double.endings = [line("success")], endings
    if code:
        assert failing(double, "localhost:1/lab/new:1b", "present", allow_download=True).code == code
        assert double.endings == 4
    else:
        assert make(double, "localhost:1/lab/new:1b", "present", allow_download=True)["changed"]


def test_progress_of_several_layers_and_an_earlier_try() -> None:
    now = [100.0]
    progress = Progress(3000, clock=lambda: now[0])
    assert progress.as_result() == {"phase": "manifest", "percent": 0.0, "completed": 0, "total": 3000, "rate": None}
    progress.take(line("pulling manifest"))
    progress.take(line("pulling a", digest="sha256:a", total=2000, completed=500))
    now[0] += 10
    progress.take(line("pulling a", digest="sha256:a", total=2000, completed=2000))
    progress.take(line("pulling b", digest="sha256:b", total=1000))
    assert progress.as_result() == {"phase": "download", "percent": 66.7, "completed": 2000, "total": 3000, "rate": 150}
    moved = progress.moved
    now[0] += 30
    progress.take(line("pulling b", digest="sha256:b", total=1000))
    assert progress.moved == moved  # the same line again is no progress
    progress.take(line("verifying sha256 digest"))
    assert (progress.phase, progress.moved) == ("verify", now[0])
    progress.take(line("success"))
    assert progress.phase == "done"


def test_progress_of_unknown_size() -> None:
    progress = Progress(None)
    assert (progress.as_result()["percent"], progress.as_result()["total"]) == (None, None)
    progress.take({"status": 7, "digest": [], "completed": "x"})
    assert progress.completed == 0


def test_a_large_model_gets_time_for_its_digest() -> None:
    progress = Progress(24_000_000_000)
    progress.take(line("verifying sha256 digest"))
    assert progress.patience(120) == 120 + 480
