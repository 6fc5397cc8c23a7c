# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a server is, by its state, its log and its HTTP."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import parse_time
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.readiness import (
    Memory,
    Server,
    last_sign,
    look,
    read_phase,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.context import PHASES

LOG = """2026-11-22T10:00:01Z INFO vLLM API server version 0.14.0
2026-11-22T10:00:02Z INFO Starting to load model Qwen/Qwen3.6-27B-FP8...
2026-11-22T10:00:04Z Loading safetensors checkpoint shards:  42% Completed | 3/7
"""


@pytest.fixture
def closed_port() -> int:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_address[1]


@pytest.fixture
def serves() -> Iterator[tuple[int, list[Any]]]:
    """A port, and the list of what it answers to the next questions; the last answer stays."""
    answers: list[Any] = [{"object": "list", "data": [{"id": "m", "max_model_len": 4096}]}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[0] if len(answers) == 1 else answers.pop(0)
            body = json.dumps(answer).encode() if not isinstance(answer, int) else b"{}"
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server.server_address[1], answers
        server.shutdown()


@pytest.fixture
def running(engine: Any) -> Any:
    engine.create("s", {"Image": "i", "HostConfig": {"PortBindings": {}}, "Labels": {}})
    engine.start("s")
    return engine


def test_loading(running: Any, closed_port: int) -> None:
    running.log = LOG
    seen = look(running, Server("s", closed_port, PHASES))
    assert (seen.ready, seen.phase, seen.percent, seen.elapsed) == (False, "load", 42.0, 10.0)
    position = seen.position("s")
    assert (position.phase, position.completed, position.total, position.unit) == ("load", 42, 100, "percent")
    assert "42% Completed" in str(position.message)


def test_ready_only_when_it_answers(running: Any, serves: tuple[int, list[Any]]) -> None:
    port, answers = serves
    running.log = LOG + "2026-11-22T10:00:05Z INFO: Application startup complete.\n"
    answers.insert(0, 503)
    assert not look(running, Server("s", port, PHASES)).ready
    seen = look(running, Server("s", port, PHASES, model="m"))
    assert (seen.ready, seen.models[0]["max_model_len"]) == (True, 4096)


@pytest.mark.parametrize("answer", [{"data": []}, {"data": None}, {}, {"data": [{"object": "model"}]}])
def test_a_list_without_models_is_not_ready(running: Any, serves: tuple[int, list[Any]], answer: Any) -> None:
    port, answers = serves
    answers[:] = [answer]
    assert not look(running, Server("s", port, PHASES)).ready


def test_every_path_must_answer(running: Any, serves: tuple[int, list[Any]]) -> None:
    port, answers = serves
    answers[:] = [*answers, 503]
    assert not look(running, Server("s", port, PHASES, paths=("/v1/models", "/v1/health/ready"))).ready


def test_another_model_than_asked_for(running: Any, serves: tuple[int, list[Any]]) -> None:
    with pytest.raises(Failure) as raised:
        look(running, Server("s", serves[0], PHASES, model="other"))
    assert (raised.value.code, raised.value.details["served_models"]) == ("model_mismatch", ["m"])


@pytest.mark.parametrize(
    ("state", "restarts", "log", "code"),
    [
        ({"Status": "exited", "Running": False, "ExitCode": 0}, 0, "", "container_exited"),
        ({"Status": "exited", "Running": False, "ExitCode": 1}, 3, "ImportError: x", "container_import_error"),
        ({"Status": "dead", "Running": False, "ExitCode": 137}, 0, "", "container_exited"),
        ({"Status": "restarting", "Restarting": True, "ExitCode": 3}, 3, "", "container_exited"),
        ({"Status": "restarting", "Restarting": True, "ExitCode": 1}, 1, "CUDA out of memory", "gpu_out_of_memory"),
        ({"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True}, 0, "", "container_out_of_memory"),
        ({"Status": "paused", "Running": True, "Paused": True}, 0, "", "container_exited"),
    ],
)
def test_given_up_at_once(
    running: Any, closed_port: int, state: dict[str, Any], restarts: int, log: str, code: str
) -> None:
    running.state("s", **state)
    running.there["s"]["RestartCount"] = restarts
    running.log = log
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES))
    assert raised.value.code == code
    assert raised.value.details["last_logs"] == ([log] if log else [])


def test_a_first_restart_without_a_known_reason_gets_another_try(running: Any, closed_port: int) -> None:
    running.state("s", Status="restarting", Restarting=True, ExitCode=1)
    running.there["s"]["RestartCount"] = 1
    assert not look(running, Server("s", closed_port, PHASES)).ready


def test_limits_are_about_signs_of_life(running: Any, closed_port: int) -> None:
    running.log = LOG
    assert not look(running, Server("s", closed_port, PHASES, stall_s=7)).ready, "the last line is 6 s old"
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES, stall_s=5))
    assert raised.value.code == "container_stalled"
    running.log = ""
    with pytest.raises(Failure):
        look(running, Server("s", closed_port, PHASES, stall_s=9))


def test_files_that_grow_are_a_sign_of_life_too(running: Any, closed_port: int) -> None:
    """A NIM may download for an hour without a line in its log."""
    assert not look(running, Server("s", closed_port, PHASES, stall_s=5, grew=time.time)).ready
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES, stall_s=5, grew=lambda: time.time() - 60))
    assert raised.value.code == "container_stalled"


UP = "2026-11-22T10:00:02Z (APIServer pid=1) INFO:     Application startup complete.\n"


def requests(answer: str, first: int = 3, seconds: int = 6) -> str:
    """What uvicorn writes when it is asked, by us."""
    times = (f"2026-11-22T10:00:{first + second:02d}Z" for second in range(seconds))
    return "".join(f'{time} INFO:     172.17.0.1:4{first}442 - "GET /v1/models HTTP/1.1" {answer}\n' for time in times)


@pytest.mark.parametrize(
    "line",
    [
        '(APIServer pid=1) INFO:     172.17.0.1:44642 - "GET /v1/models HTTP/1.1" 401 Unauthorized',
        'INFO 2026-11-22 10:00:09.123 httptools_impl.py:481] 127.0.0.1:33054 - "GET /v1/health/ready HTTP/1.1" 503',
        '{"level": "INFO", "message": "127.0.0.1:33054 - \\"GET /v1/health/ready HTTP/1.1\\" 503"}',
    ],
)
def test_that_it_is_asked_is_no_sign_of_life(running: Any, closed_port: int, line: str) -> None:
    """Each look makes a server write such a line: a wait that took them for life would never end."""
    running.log = LOG + f"2026-11-22T10:00:09Z {line}\n"
    assert not look(running, Server("s", closed_port, PHASES, stall_s=7)).ready
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES, stall_s=5))
    assert raised.value.code == "container_stalled"
    assert "does not answer" in raised.value.message


def test_a_server_that_answers_and_is_never_ready_is_given_up(running: Any, serves: tuple[int, list[Any]]) -> None:
    port, answers = serves
    answers[:] = [503]
    running.log = UP + "2026-11-22T10:00:09Z INFO Waiting for the engine\n" + requests("503 Service Unavailable")
    server = Server("s", port, PHASES, stall_s=9)
    assert not look(running, server).ready
    with pytest.raises(Failure) as raised:
        look(running, Server("s", port, PHASES, stall_s=7))
    assert raised.value.code == "container_stalled"
    assert "answers, but is not ready" in raised.value.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_with_a_key_of_its_own_is_given_up_at_once(
    running: Any, serves: tuple[int, list[Any]], status: int
) -> None:
    port, answers = serves
    answers[:] = [status]
    running.log = UP
    with pytest.raises(Failure) as raised:
        look(running, Server("s", port, PHASES))
    assert (raised.value.code, raised.value.details["status"]) == ("server_wants_key", status)
    assert "gate" in raised.value.message


def test_what_has_left_the_end_of_the_log_is_remembered(running: Any, closed_port: int) -> None:
    server, memory = Server("s", closed_port, PHASES, stall_s=9), Memory()
    running.log = UP
    assert look(running, server, memory).phase == "serve"
    running.log = requests("200 OK", 4) + "2026-11-22T10:00:09Z INFO Avg prompt throughput: 0.0 tokens/s\n"
    assert look(running, server, memory).phase == "serve"
    with pytest.raises(Failure):
        look(running, Server("s", closed_port, PHASES, stall_s=7), memory)
    # Without it the oldest line counts, which cannot be older than the last sign.
    running.log = requests("200 OK", 4)
    assert not look(running, Server("s", closed_port, PHASES, stall_s=7)).ready


@pytest.mark.parametrize("restarts", [2, 3])
def test_three_restarts_between_the_looks(running: Any, closed_port: int, restarts: int) -> None:
    """One that runs for ten seconds each time is restarted so fast that a look finds it running."""
    server, memory = Server("s", closed_port, PHASES), Memory()
    running.there["s"]["RestartCount"] = 40
    running.log = LOG + "2026-11-22T10:00:05Z torch.OutOfMemoryError: CUDA out of memory.\n"
    look(running, server, memory)
    running.there["s"]["RestartCount"] = 40 + restarts
    if restarts < 3:
        assert not look(running, server, memory).ready
        return
    with pytest.raises(Failure) as raised:
        look(running, server, memory)
    assert raised.value.code == "gpu_out_of_memory"
    assert "restarted 3 times" in raised.value.message
    assert raised.value.details["exit_code"] is None


def test_only_what_this_start_wrote_is_its_reason(running: Any, closed_port: int) -> None:
    running.state("s", Status="exited", Running=False, ExitCode=1)
    running.log = "2026-11-22T09:00:00Z torch.OutOfMemoryError: CUDA out of memory.\n2026-11-22T09:59:59.9Z It ended.\n"
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES))
    assert (raised.value.code, raised.value.details["last_logs"]) == ("container_exited", ["It ended."])


@pytest.mark.parametrize(("grew", "code"), [(None, "container_exited"), (time.time, "weights_unreachable")])
def test_who_downloads_nothing_cannot_fail_to(running: Any, closed_port: int, grew: Any, code: str) -> None:
    running.state("s", Status="exited", Running=False, ExitCode=1)
    running.log = "2026-11-22T10:00:01Z httpx.ConnectError: [Errno 111] Connection refused\n"
    with pytest.raises(Failure) as raised:
        look(running, Server("s", closed_port, PHASES, grew=grew))
    assert raised.value.code == code


def test_lines_of_an_earlier_start_do_not_count(running: Any, closed_port: int) -> None:
    running.log = "2026-11-22T09:00:00Z Loading safetensors checkpoint shards: 100% Completed\n"
    assert look(running, Server("s", closed_port, PHASES)).phase == "start"


def test_removed_meanwhile(engine: Any, closed_port: int) -> None:
    with pytest.raises(Failure) as raised:
        look(engine, Server("s", closed_port, PHASES))
    assert raised.value.code == "container_gone"


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("INFO Starting to load model Qwen/Qwen3.6-27B-FP8...", "load"),
        ("INFO Dynamo bytecode transform time: 4.48 s", "compile"),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|", "compile"),
        ("INFO:     Application startup complete.", "serve"),
        ("something else", "start"),
    ],
)
def test_phases(line: str, phase: str) -> None:
    assert read_phase(line, PHASES)[0] == phase


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-11-22T10:00:00.000000000Z", 0),
        ("2026-11-22T10:00:07.123456789Z", 7),
        ("2026-11-22T11:00:07+01:00", 7),
        ("2026-11-22T10:00:07.5Z", 7),
    ],
)
def test_times_of_the_engine(text: str, second: int) -> None:
    time = parse_time(text)
    assert time
    assert time.astimezone(datetime.timezone.utc).replace(microsecond=0) == datetime.datetime(
        2026, 11, 22, 10, 0, second, tzinfo=datetime.timezone.utc
    )


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00Z", "None", "yesterday", "2026-11-22"])
def test_no_times(text: str) -> None:
    assert parse_time(text) is None


def test_the_last_sign() -> None:
    assert last_sign(LOG + "without a time") == parse_time("2026-11-22T10:00:04Z")
    assert last_sign("") is None
