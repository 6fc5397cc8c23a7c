# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the watch after another, against a server of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch import app, layout, look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch.layout import WatchSettings
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch.look import Run, keeps_still

NOW = 1_800_000_000.0


@dataclass
class Server:
    """What a server answers, by method and path, and what it was asked."""

    answers: dict[str, tuple[int, Any]]
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def close(self) -> None:
        """Answer nobody from now on."""
        self.httpd.shutdown()
        self.httpd.server_close()

    def serve(self) -> None:
        """Listen on a free port of loopback."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                what = f"{self.command} {self.path}"
                server.asked.append(what)
                status, content = server.answers.get(what, (404, {}))
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, args=[0.02], daemon=True).start()


ASK = "POST /v1/chat/completions"
LIST = (200, {"object": "list", "data": [{"id": "m", "object": "model"}]})
WORD = (200, {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}]})


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server({"GET /v1/models": LIST, ASK: WORD})
    made.serve()
    yield made
    made.close()


@dataclass
class Place:
    """A host for the program: its settings file, its state folder, its record."""

    folder: Path
    server: Server

    @property
    def state(self) -> str:
        return str(self.folder / "state")

    def settings(self, **more: Any) -> WatchSettings:
        own = {"user": "lab", "home": str(self.folder), "host": "lab1", "token": str(self.folder / "token")}
        return WatchSettings.of({**own, "record": str(self.folder / "record.json"), **more})

    def record(self, provider: str = "custom") -> None:
        url = f"http://127.0.0.1:{self.server.port}/v1"
        route = {
            "provider": provider,
            "label": "A server",
            "provider_name": "x",
            "credential_env": "OPENAI_API_KEY",
            "model": "m",
        }
        more = {"base_url_host": url, "base_url_sandbox": url, "api": "openai-completions", "schema": 1}
        (self.folder / "record.json").write_text(json.dumps({**route, **more}))

    def call(self, *words: str, **more: Any) -> int:
        """Run the program as the service does."""
        (self.folder / "settings.json").write_text(json.dumps(vars(self.settings(**more))))
        return app.main(["--settings", str(self.folder / "settings.json"), "--state", self.state, *words], "1")

    def run(self, at: float = 0, **more: Any) -> dict[str, Any]:
        """Run the program, some seconds after NOW, and return what last.json has, the checks by name."""
        app.Run = lambda settings, previous: Run(settings, previous, NOW + at)  # type: ignore[misc, assignment]
        try:
            status = self.call("run", **more)
        finally:
            app.Run = Run  # type: ignore[misc]
        last = app.read_last(self.state)
        assert status == (0 if last["healthy"] else 1)
        return {**last, "checks": {one["name"]: one for one in last["checks"]}}


@pytest.fixture
def place(tmp_path: Path, server: Server) -> Place:
    found = Place(tmp_path, server)
    found.record()
    return found


def states(last: dict[str, Any]) -> dict[str, str]:
    return {name: one["state"] for name, one in last["checks"].items()}


def test_the_model_is_asked_at_first_and_then_by_its_own_interval(place: Place, server: Server) -> None:
    assert states(place.run()) == {"route": "healthy", "backend": "healthy", "completion": "healthy"}
    assert server.asked.count(ASK) == 1
    place.run(60)
    place.run(599)
    assert server.asked.count(ASK) == 1
    assert place.run(600)["checks"]["completion"]["detail"].startswith("answered")
    assert server.asked.count(ASK) == 2
    assert server.asked.count("GET /v1/models") >= 4


def test_without_the_proof_no_question_is_asked(place: Place, server: Server) -> None:
    last = place.run(proof=False)
    assert (states(last)["completion"], last["healthy"]) == ("not probed", True)
    assert "watch_proof" in last["checks"]["completion"]["detail"]
    assert ASK not in server.asked


def test_a_model_that_did_not_answer_is_asked_at_each_look(place: Place, server: Server) -> None:
    server.answers[ASK] = (400, {"error": {"message": "no"}})
    assert states(place.run())["completion"] == "unhealthy"
    assert states(place.run(60))["completion"] == "unhealthy"
    server.answers[ASK] = WORD
    assert states(place.run(120))["completion"] == "healthy"


def test_a_dead_server_shows_at_the_next_look_and_its_return_too(place: Place, server: Server) -> None:
    place.run()
    server.close()
    last = place.run(60)
    assert (states(last)["backend"], states(last)["completion"]) == ("unreachable", "not probed")
    assert (last["last_success"], last["last_failure"]) == (NOW, {"at": NOW + 60, "code": "connection_refused"})
    assert 'nemoclaw_inference_up{host="lab1"} 0' in Path(place.state, layout.METRICS).read_text()
    server.serve()
    place.record()
    asked = server.asked.count(ASK)
    assert place.run(120)["healthy"]
    assert server.asked.count(ASK) == asked + 1, "what came back is asked at once"
    assert 'nemoclaw_inference_up{host="lab1"} 1' in Path(place.state, layout.METRICS).read_text()


@pytest.mark.parametrize(
    ("listed", "state"),
    [
        ((200, {"data": [{"id": "other"}]}), "unhealthy"),
        ((500, {}), "unhealthy"),
        ((403, {}), "healthy"),
        ((404, {}), "healthy"),
        ((200, {"data": []}), "healthy"),
    ],
)
def test_what_a_list_of_models_says_of_the_server(
    place: Place, server: Server, listed: tuple[int, Any], state: str
) -> None:
    server.answers["GET /v1/models"] = listed
    assert states(place.run(proof=False))["backend"] == state


def test_a_server_that_wants_a_key_is_there_and_not_asked(place: Place, server: Server) -> None:
    server.answers = {"GET /v1/models": (401, {}), ASK: (401, {})}
    last = place.run()
    assert (states(last)["backend"], states(last)["completion"], last["healthy"]) == ("healthy", "not probed", True)
    assert "wants a key" in last["checks"]["completion"]["detail"]


def test_a_host_without_a_record_is_not_configured(place: Place, server: Server) -> None:
    (place.folder / "record.json").unlink()
    last = place.run()
    assert (states(last), last["healthy"]) == ({"route": "not configured"}, False)
    assert server.asked == []


@pytest.mark.parametrize("url", ["http://x:99999/v1", "http://[x/v1", ""])
def test_a_record_that_somebody_edited_is_seen_by_its_checks(place: Place, url: str) -> None:
    place.record("ollama")
    record = json.loads((place.folder / "record.json").read_text())
    (place.folder / "record.json").write_text(json.dumps({**record, "base_url_sandbox": url}))
    last = place.run()
    assert (states(last)["backend"], last["healthy"]) == ("healthy", False)
    assert states(last)["auth_proxy"] != "healthy"


@pytest.mark.parametrize(
    ("entry", "known", "why"),
    [
        (None, "", "not in memory"),
        ({"expires_at": "2027-01-15T08:05:00Z"}, "", None),
        ({"expires_at": "2027-01-15T08:05:00Z"}, "2027-01-15T08:00:00Z", None),
        ({"expires_at": "2027-01-15T08:05:00Z"}, "2027-01-15T08:05:00Z", "was not used since"),
        ({"expires_at": "2318-04-27T22:00:00.5+01:00"}, "2318-04-27T22:00:00.5+01:00", None),
        ({"expires_at": "nonsense"}, "nonsense", "was not used since"),
        ({}, "", None),
    ],
)
def test_a_question_neither_loads_a_model_nor_keeps_it(entry: Any, known: str, why: str | None) -> None:
    found = keeps_still(entry, {"expires": known or None}, NOW)
    assert found is None if why is None else why in str(found)


def test_ollama_is_asked_again_only_after_somebody_else_was(place: Place, server: Server) -> None:
    place.record("ollama")
    server.answers["GET /api/ps"] = (200, {"models": [{"name": "m:latest", "expires_at": "2027-01-15T08:05:00Z"}]})
    place.run()
    assert server.asked.count(ASK) == 1
    assert place.run(600)["healthy"]
    assert server.asked.count(ASK) == 1
    server.answers["GET /api/ps"] = (200, {"models": [{"name": "m:latest", "expires_at": "2027-01-15T08:15:00Z"}]})
    place.run(660)
    assert server.asked.count(ASK) == 2
    server.answers["GET /api/ps"] = (200, {"models": []})
    assert place.run(1300)["healthy"]
    assert server.asked.count(ASK) == 2


def test_ollama_on_windows_is_asked_where_this_linux_reaches_it(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the name of the record, which WSL may not know: its model would never count as loaded."""
    place.record("start-windows-ollama")
    record = json.loads((place.folder / "record.json").read_text())
    url = record["base_url_host"]
    record["base_url_host"] = url.replace("127.0.0.1", "host.docker.internal")
    (place.folder / "record.json").write_text(json.dumps(record))
    monkeypatch.setattr(platform, "reach_windows", lambda _machine, _url: url)
    server.answers["GET /api/ps"] = (200, {"models": [{"name": "m:latest", "expires_at": "2027-01-15T08:05:00Z"}]})
    last = place.run()
    assert (states(last)["completion"], last["question"]["expires"]) == ("healthy", "2027-01-15T08:05:00Z")


def open_engine(monkeypatch: pytest.MonkeyPatch, exposed: bool, user: str | None, is_engine: bool = True) -> None:
    """Have an engine, or somebody else on its port, open to the network or not, and an auth proxy that a user listens for."""
    check = look.Check("exposure", "unhealthy", code="engine_exposed", detail="Port 11434 is open to the network")
    monkeypatch.setattr(look, "check_exposure", lambda *_words: [check] if exposed else [])
    state = "healthy" if user else "unreachable"
    monkeypatch.setattr(look, "check_proxy", lambda *_words: [look.Check("auth_proxy", state, detail="seen")])
    monkeypatch.setattr(look, "find_listeners", lambda *_words: [{"user": user}] if user else [])
    engine = {"address": "0.0.0.0", "port": 11434, "user": "ollama", "uid": 998, "pid": None, "process": None}
    monkeypatch.setattr(look, "find_engines", lambda *_words: [engine] if is_engine else [])


def test_the_proxy_is_closed_once_and_that_is_remembered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = Path(place.state, layout.FLAG)
    open_engine(monkeypatch, exposed=True, user="nemoclaw-proxy")
    assert place.run()["closed"] is None
    assert not flag.exists(), "nobody asked for it"
    closed = place.run(60, close_proxy=True)["closed"]
    assert closed["at"] == NOW + 60
    assert "the user ollama listens on 0.0.0.0" in closed["why"]
    flag.unlink()
    open_engine(monkeypatch, exposed=True, user=None)
    last = place.run(120, close_proxy=True)
    assert last["closed"] == closed
    assert "the watch closed it" in last["checks"]["auth_proxy"]["detail"]
    assert not flag.exists(), "it is closed already"
    assert 'nemoclaw_inference_proxy_closed{host="lab1"} 1' in Path(place.state, layout.METRICS).read_text()
    open_engine(monkeypatch, exposed=False, user="nemoclaw-proxy")
    assert place.run(180, close_proxy=True)["closed"] is None


def test_somebody_elses_listener_is_not_the_proxy_to_close(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    open_engine(monkeypatch, exposed=True, user="mallory")
    assert place.run(close_proxy=True)["closed"] is None


def test_nobody_else_closes_the_proxy_by_listening(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user of the host may have another address of the engine's port: it is told, and no more."""
    open_engine(monkeypatch, exposed=True, user="nemoclaw-proxy", is_engine=False)
    last = place.run(close_proxy=True)
    assert (last["closed"], last["checks"]["exposure"]["state"]) == (None, "unhealthy")


def test_a_run_that_was_ended_is_noted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run()
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert place.call("ended") == 0
    assert app.read_last(place.state)["healthy"]
    monkeypatch.setenv("SERVICE_RESULT", "timeout")
    assert place.call("ended") == 1
    last = app.read_last(place.state)
    assert [one["code"] for one in last["checks"] if one["name"] == "watch"] == ["watch_ended"]
    assert place.run(60)["healthy"], "the next one that ends says nothing of it"


def test_status_prints_the_last_result(place: Place, capsys: pytest.CaptureFixture[str], server: Server) -> None:
    assert place.call("status") == 2
    assert place.call("run") == 0
    assert place.call("status") == 0
    assert "Inference:  healthy" in capsys.readouterr().out
    server.close()
    assert place.call("run") == 1
    assert place.call("status") == 1
    server.serve()
    place.run(-1_000_000_000)
    capsys.readouterr()
    assert place.call("status") == 2
    assert "this is stale" in capsys.readouterr().out
    assert place.call("history") == 0
    assert "not healthy (connection_refused), 2 runs" in capsys.readouterr().out


def test_the_journal_hears_of_changes_alone(
    place: Place, capsys: pytest.CaptureFixture[str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    place.run()
    assert capsys.readouterr().out == "<5>The local inference of this host works.\n"
    place.run(60)
    assert capsys.readouterr().out == ""
    server.close()
    place.run(120)
    assert capsys.readouterr().out.startswith("<3>backend is unreachable: ")
    place.run(180)
    assert capsys.readouterr().out == ""
    server.serve()


def test_a_result_of_another_release_is_replaced(place: Place) -> None:
    Path(place.state).mkdir()
    Path(place.state, layout.LAST).write_text('{"schema": 99, "question": [], "checks": 1}')
    assert place.call("status") == 2
    assert place.run()["healthy"]


@pytest.mark.parametrize(
    "more",
    [
        {"checks": [{}]},
        {"checks": ["backend"]},
        {"question": {"at": NOW, "check": {"name": "completion", "state": "healthy", "of a later release": 1}}},
    ],
)
def test_a_damaged_result_is_replaced(place: Place, more: dict[str, Any]) -> None:
    place.run()
    last = json.loads(Path(place.state, layout.LAST).read_text())
    Path(place.state, layout.LAST).write_text(json.dumps({**last, **more}))
    Path(place.state, layout.HISTORY).write_text(json.dumps([{"healthy": True, "runs": "x"}, 1]))
    assert place.run(60)["healthy"]
    assert place.call("history") == 0


def test_what_root_reads_there_paints_on_no_terminal(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run()
    last = json.loads(Path(place.state, layout.LAST).read_text())
    Path(place.state, layout.LAST).write_text(json.dumps({**last, "lines": ["\x1b[2J\ud800"]}))
    place.call("status")
    assert "\n?[2J?\n" in capsys.readouterr().out


def test_the_flag_follows_no_link(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = place.folder / "elsewhere"
    Path(place.state).mkdir()
    Path(place.state, layout.FLAG).symlink_to(elsewhere)
    open_engine(monkeypatch, exposed=True, user="nemoclaw-proxy")
    place.run(close_proxy=True)
    assert not elsewhere.exists()


def test_what_breaks_the_program_is_no_answer(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    Path(place.state).write_text("a file where the folder should be")
    assert place.call("run") == 2
    assert "could not do its work" in capsys.readouterr().err


def test_the_history_stays_small() -> None:
    entries: list[dict[str, Any]] = []
    for number in range(500):
        state = "healthy" if number % 2 else "unhealthy"
        check = {"name": "backend", "state": state, "code": None, "detail": "x" * 10_000}
        result = {"at": number, "healthy": state == "healthy", "checks": [check], "closed": None}
        entries = app.add(app.add(entries, result), {**result, "at": number + 0.5})
    assert len(entries) == app.LIMIT
    assert (entries[-1]["since"], entries[-1]["until"], entries[-1]["runs"]) == (499, 499.5, 2)
    assert len(json.dumps(entries)) < 100_000


def test_the_files_say_nothing_to_others_but_the_metrics(place: Place) -> None:
    place.run()
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path(place.state).iterdir()}
    assert modes == {"last.json": 0o600, "history.json": 0o600, "metrics.prom": 0o644}
