# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with its option wait, on the double: a load that lasts as long as the test wants. Pulls are in tests/real."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_model

sys.path.insert(0, str(Path(__file__).parents[3] / "servers"))
import loading_ollama

Call = Callable[..., "dict[str, Any]"]


@pytest.fixture
def double() -> Iterator[Any]:
    with loading_ollama.running({"a:1b": ["completion", "tools"]}) as daemon:
        yield daemon
        daemon.released.set()


@pytest.fixture
def call(run_module: Any, double: Any, tmp_path: Path) -> Call:
    """Return a function that calls the module and returns its result with the exit status C(rc)."""

    def run(**options: Any) -> dict[str, Any]:
        status, result = run_module(
            ollama_model,
            {"name": "a:1b", "state": "loaded", "host": double.host, "jobs_path": f"{tmp_path}/state/jobs", **options},
        )
        return {"rc": status, **result}

    return run


def loads(double: Any) -> int:
    return sum(path == "POST /api/generate" for path, body in double.asked)


def test_a_long_load(double: Any, call: Call, tmp_path: Path) -> None:
    double.released.clear()
    deadline = time.monotonic() + 30
    while (seen := call(wait=0))["progress"]["phase"] != "load" and time.monotonic() < deadline:
        time.sleep(0.02)
    # ansible-core 2.19 has every module tell how it was called.
    assert set(seen) - {"invocation"} == {"rc", "changed", "finished", "progress"}
    assert (seen["rc"], seen["changed"], seen["finished"]) == (0, True, False)
    assert (seen["progress"]["message"], seen["progress"]["percent"]) == ("Loading a:1b", None)
    double.released.set()
    done = call(wait=30)
    assert (done["finished"], done["changed"], done["loaded"]["name"]) == (True, True, "a:1b")
    assert done["diff"] == {"before": "a:1b: present\n", "after": "a:1b: loaded\n"}
    assert loads(double) == 1
    assert list((tmp_path / "state" / "jobs").iterdir()) == []


def test_nothing_to_do_needs_no_job(double: Any, call: Call, tmp_path: Path) -> None:
    double.loaded.append("a:1b")
    again = call(wait=30)
    assert (again["finished"], again["changed"], again["loaded"]["name"]) == (True, False, "a:1b")
    assert not (tmp_path / "state").exists()


def test_check_mode_starts_nothing(double: Any, call: Call, tmp_path: Path) -> None:
    plan = call(wait=30, _ansible_check_mode=True)
    assert (plan["finished"], plan["changed"], plan["actions"]) == (True, True, ["load a:1b"])
    assert (loads(double), (tmp_path / "state").exists()) == (0, False)


def test_without_wait_it_lasts_until_the_end(double: Any, call: Call, tmp_path: Path) -> None:
    done = call()
    assert (done["finished"], done["changed"], (tmp_path / "state").exists()) == (True, True, False)


@pytest.mark.parametrize("wait", [None, 30])
def test_a_failure_is_the_same_with_and_without(double: Any, call: Call, wait: int | None) -> None:
    double.load_error = (500, "model requires more system memory (9 GiB) than is available")
    failed = call(wait=wait)
    assert (failed["rc"], failed["failure"]["code"], failed["failure"]["status"]) == (1, "memory_short", 500)
    assert failed["msg"] == failed["failure"]["message"]


def test_no_consent_no_job(call: Call, tmp_path: Path) -> None:
    failed = call(wait=30, name="localhost:1/lab/other:1b", state="present")
    assert failed["failure"]["code"] == "download_not_allowed"
    assert not (tmp_path / "state").exists()


def test_a_folder_that_cannot_be_used(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = call(wait=30, jobs_path=f"{tmp_path}/file/jobs")
    assert failed["failure"]["code"] == "job_not_started"
    assert f"{tmp_path}/file/jobs" in failed["msg"]
