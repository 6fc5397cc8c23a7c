# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds a port, and what kind of gate it is: against real sockets, real HTTP and real processes of this machine."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service_plan import Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import gate as proxy_gate
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import probe, service
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import REALM, Gate, find_gate
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.gate import compare_gates, prove_gates
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.service import free_ports

TOKEN = "0123456789abcdef" * 3
TRUST = probe.trust_gate(pwd.getpwuid(os.geteuid()).pw_name)
ME = pwd.getpwuid(os.geteuid()).pw_name
Answers = Callable[[str], "tuple[int, dict[str, str]]"]
Serve = Callable[[Answers], int]
OURS = {"WWW-Authenticate": f'Bearer realm="{REALM}"'}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves answers chosen by the Authorization header, and returns the port."""
    servers = []

    def start(answers: Answers) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers = answers(self.headers.get("Authorization", ""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def gate(behind: int, headers: dict[str, str] | None = None) -> Answers:
    return lambda header: (behind, {}) if header == f"Bearer {TOKEN}" else (401, OURS if headers is None else headers)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (gate(200), probe.SERVING),
        (gate(404), probe.SERVING),
        (gate(500), probe.SERVING),
        (gate(502), probe.BACKEND_DOWN),
        (gate(504), probe.BACKEND_DOWN),
        (gate(401), probe.BACKEND_REFUSES),
        (gate(403), probe.BACKEND_REFUSES),
        (lambda _header: (401, OURS), probe.TOKEN_REJECTED),
        (lambda _header: (200, {}), probe.OPEN),
        (lambda _header: (502, {}), probe.OPEN),
        (lambda header: (200, {}) if header else (401, OURS), probe.OPEN),
        (gate(200, {}), probe.FOREIGN),
        (gate(200, {"WWW-Authenticate": 'Basic realm="x"'}), probe.FOREIGN),
    ],
)
def test_what_a_gate_is(serve: Serve, answers: Answers, outcome: str) -> None:
    assert probe.probe("127.0.0.1", serve(answers), TOKEN, TRUST).outcome == outcome


def test_nemoclaws_own_proxy_has_no_name(serve: Serve) -> None:
    port = serve(gate(200, {}))
    assert probe.probe("127.0.0.1", port, TOKEN, TRUST, ours=False).outcome == probe.SERVING
    assert probe.probe("127.0.0.1", port, "0" * 48, TRUST, ours=False).outcome == probe.TOKEN_REJECTED


@pytest.mark.parametrize(("says", "outcome"), [(b"SSH-2.0-OpenSSH_9.2\r\n", probe.FOREIGN), (b"", probe.SILENT)])
def test_what_speaks_no_http(says: bytes, outcome: str) -> None:
    held = []

    def talk() -> None:
        held.append(listener.accept()[0])
        held[0].sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, daemon=True).start()
        kept = probe.ask("127.0.0.1", listener.getsockname()[1], TOKEN, limit_s=0.3)
    assert (kept.status, kept.problem) == (None, outcome)


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert probe.probe("127.0.0.1", port, TOKEN, TRUST).outcome == probe.REFUSED


def test_a_gate_that_reads_its_tokens_again_is_waited_for(serve: Serve) -> None:
    asked = []

    def answers(header: str) -> tuple[int, dict[str, str]]:
        asked.append(header)
        return (200, {}) if header == f"Bearer {TOKEN}" and len(asked) > 4 else (401, OURS)

    assert probe.probe_until(Deadline(10), "127.0.0.1", serve(answers), TOKEN, TRUST).outcome == probe.SERVING


@pytest.mark.parametrize(
    ("listeners", "address"),
    [
        ([], None),
        ([("0.0.0.0", "ipv4", "any")], "127.0.0.1"),
        ([("::", "ipv6", "any")], "::1"),
        ([("172.17.0.1", "ipv4", "address"), ("127.0.0.1", "ipv4", "loopback")], "127.0.0.1"),
        ([("172.17.0.1", "ipv4", "address")], "172.17.0.1"),
        ([("::ffff:172.17.0.1", "v4-mapped", "address")], "172.17.0.1"),
    ],
)
def test_where_a_gate_is_asked(listeners: list[tuple[str, str, str]], address: str | None) -> None:
    rows = [{"address": at, "family": family, "scope": scope} for at, family, scope in listeners]
    assert probe.address_to_ask(rows) == address


def prove(
    home: Path, port: int, gate_user: str = ME, stored: str | None = TOKEN, serving: bool = False, timeout: float = 0.3
) -> list[dict[str, Any]]:
    token_file = home / "token"
    if stored is not None:
        token_file.write_text(stored)
    gates = [Gate("ollama", port, serving=serving)]
    return prove_gates(gates, find_account(), str(token_file), gate_user, "no-such.service", timeout)


def test_a_gate_that_works_is_proved(serve: Serve, tmp_path: Path) -> None:
    port = serve(gate(502))
    assert prove(tmp_path, port) == [
        {
            "name": "ollama",
            "port": port,
            "url": f"http://127.0.0.1:{port}/v1/models",
            "outcome": "backend_down",
            "status": 502,
            "detail": "the auth proxy works; the server behind it does not answer",
        }
    ]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (lambda _header: (200, {}), "proxy_open"),
        (lambda _header: (401, {}), "proxy_foreign"),
        (lambda _header: (401, OURS), "token_rejected"),
    ],
)
def test_a_gate_that_does_not_work_has_a_code(serve: Serve, tmp_path: Path, answers: Answers, code: str) -> None:
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, serve(answers))
    assert stopped.value.code == code
    assert ME in str(stopped.value.details["owners"])
    assert TOKEN not in str(stopped.value.as_result())


@pytest.mark.parametrize(
    ("behind", "code", "says"),
    [
        (204, None, ""),
        (404, "backend_unproved", "answers 404"),
        (500, "backend_unproved", "answers 500"),
        (401, "backend_refuses", "own key"),
        (502, "backend_down", "Start the server"),
        (504, "backend_down", "127.0.0.1"),
    ],
)
def test_a_server_that_was_proved_has_to_answer_through_the_gate(
    serve: Serve, tmp_path: Path, behind: int, code: str | None, says: str
) -> None:
    port = serve(gate(behind))
    if code is None:
        assert prove(tmp_path, port, serving=True)[0]["outcome"] == "serving"
        return
    assert prove(tmp_path, port), "without that the gate itself is proved"
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, port, serving=True)
    assert (stopped.value.code, stopped.value.details["status"]) == (code, behind)
    assert says in stopped.value.message
    assert TOKEN not in str(stopped.value.as_result())


def test_a_server_that_comes_back_in_time_is_waited_for(serve: Serve, tmp_path: Path) -> None:
    asked: list[str] = []

    def answers(header: str) -> tuple[int, dict[str, str]]:
        asked.append(header)
        return gate(200 if len(asked) > 4 else 502)(header)

    assert prove(tmp_path, serve(answers), serving=True, timeout=10)[0]["status"] == 200


def test_selinux_is_named_where_it_is_in_the_way(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of /sys/fs/selinux/enforce: no machine that runs the tests has SELinux."""
    monkeypatch.setattr(proxy_gate, "_SELINUX", str(tmp_path / "enforce"))
    (tmp_path / "enforce").write_text("1")
    port = serve(gate(502))
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, port, serving=True)
    assert "setsebool -P httpd_can_network_connect on" in stopped.value.message
    assert "setsebool" in prove(tmp_path, port)[0]["detail"]
    (tmp_path / "enforce").write_text("0")
    assert "setsebool" not in prove(tmp_path, port)[0]["detail"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    (tmp_path / "enforce").write_text("1\n")
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, nobody)
    assert f"semanage port -a -t http_port_t -p tcp {nobody}" in stopped.value.message


def test_who_answers_like_the_gate_but_runs_as_somebody_else(serve: Serve, tmp_path: Path) -> None:
    """A rotation proves its next token in this way, and would hand it out."""
    asked = []

    def answers(header: str) -> tuple[int, dict[str, str]]:
        asked.append(header)
        return gate(200)(header)

    with pytest.raises(Failure) as stopped:
        prove(tmp_path, serve(answers), gate_user="nemoclaw-proxy")
    assert stopped.value.code == "proxy_impostor"
    assert ME in stopped.value.message
    assert asked == ["", "Bearer " + "0" * 48]
    assert TOKEN not in str(stopped.value.as_result())


def test_whoever_answers_a_stranger_is_asked_nothing_more(serve: Serve, tmp_path: Path) -> None:
    asked = []

    def answers(header: str) -> tuple[int, dict[str, str]]:
        asked.append(header)
        return 200, {}

    with pytest.raises(Failure):
        prove(tmp_path, serve(answers))
    assert asked == [""]


def test_without_a_token_or_a_listener(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, port, stored=None)
    assert stopped.value.code == "token_missing"
    with pytest.raises(Failure) as stopped:
        prove(tmp_path, port)
    assert stopped.value.code == "proxy_refused"
    assert "journalctl -u no-such.service" in stopped.value.message


RUNS = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}


@pytest.mark.parametrize(
    ("unit", "content", "mode", "answers", "reason"),
    [
        (RUNS, "a\n", 0o644, gate(200), ""),
        (RUNS, "a", 0o644, gate(502), ""),
        (RUNS, "b\n", 0o644, gate(200), "is not as it should be"),
        (RUNS, "a\n", 0o666, gate(200), "is not as it should be"),
        (RUNS, None, 0o644, gate(200), "is not as it should be"),
        ({}, "a\n", 0o644, gate(200), "does not run"),
        ({**RUNS, "ActiveState": "failed"}, "a\n", 0o644, gate(200), "does not run"),
        ({**RUNS, "UnitFileState": "disabled"}, "a\n", 0o644, gate(200), "enabled at boot"),
        ({**RUNS, "NeedDaemonReload": "yes"}, "a\n", 0o644, gate(200), "not reloaded"),
        (RUNS, "a\n", 0o644, lambda _header: (401, OURS), "refuses the token"),
    ],
)
def test_a_gate_is_compared_in_one_look(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unit: dict[str, str],
    content: str | None,
    mode: int,
    answers: Answers,
    reason: str,
) -> None:
    # systemd itself is asked in the molecule scenario: not every machine that runs the tests has booted with it.
    monkeypatch.setattr(proxy_gate, "_unit_state", lambda *_arguments: unit)
    token_file, config = tmp_path / "token", tmp_path / "nginx.conf"
    token_file.write_text(TOKEN)
    if content is not None:
        config.write_text(content)
        config.chmod(mode)
    files = [{"path": str(config), "content": "a\n"}]
    seen = compare_gates([Gate("ollama", serve(answers))], find_account(), str(token_file), ME, "x.service", files)
    assert (seen["converged"], len(seen["reasons"])) == (not reason, 1 if reason else 0)
    assert reason in "".join(seen["reasons"])
    assert seen["restart_needed"] == (unit.get("NeedDaemonReload") == "yes")
    assert bool(seen["gates"]) == (not reason)
    assert seen["found"] == [{"path": str(config), "content": content}]


def test_whoever_closes_an_open_ollama_says_to_whom_it_was_open(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"port": 11434, "address": "0.0.0.0", "scope": "any", "process": "ollama", "pid": 7}
    report = Report(actions=["restart ollama.service"], warnings=["Ollama on port 11434 was found open."])
    monkeypatch.setattr(service, "find_open", lambda *_arguments: [row])
    monkeypatch.setattr(service, "converge", lambda *_arguments: (report, None))
    warnings: list[str] = []
    assert service.bring_to_loopback(Machine(), find_account(), {11434}, True, warnings) == report.actions
    assert warnings == report.warnings


# Stands where NemoClaw's proxy stands. Node itself need not be on the machine that runs the tests, and what is looked at is
# the process: its program's name, its argument, its owner and its socket.
_LISTENER = """
import signal, socket, sys
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
signal.pause()
"""
Listen = Callable[..., "tuple[subprocess.Popen[str], int]"]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Return a function that starts a process which listens, under these names, and returns it and its port."""
    started = []

    def start(program: str = "node", script: str = "ollama-auth-proxy.js", how: str = "well") -> tuple[Any, int]:
        path = tmp_path / script
        path.write_text(_LISTENER)
        # Under another name Python would look for its library beside the program of that name on PATH.
        home = {**os.environ, "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}"}
        process = subprocess.Popen(
            [program, str(path), how], executable=sys.executable, stdout=subprocess.PIPE, text=True, env=home
        )
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["well", "stubborn"])
def test_nemoclaws_proxy_makes_room(listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(service, "_TERM_S", 0.3)
    process, port = listen(how=how)
    # Its parent, this test, has to take note of its end, as the init of a real host does.
    threading.Thread(target=process.wait, daemon=True).start()
    account = find_account()._replace(home=str(tmp_path))
    pid_file = tmp_path / ".nemoclaw" / "ollama-auth-proxy.pid"
    pid_file.parent.mkdir()
    pid_file.write_text(f"{process.pid}\n")
    assert free_ports([Gate("ollama", port)], account, "nemoclaw-proxy", True) == [process.pid]
    assert process.poll() is None, "check mode stops nothing"
    assert free_ports([Gate("ollama", port)], account, "nemoclaw-proxy", False) == [process.pid]
    assert process.wait(5) != 0
    assert not pid_file.exists()
    assert free_ports([Gate("ollama", port)], account, "nemoclaw-proxy", False) == []


@pytest.mark.parametrize(
    ("program", "script", "uid"),  # the last one: how far the account's number is from that of the process's owner
    [
        ("python3", "ollama-auth-proxy.js", 0),
        ("node", "server.js", 0),
        ("node", "my-ollama-auth-proxy.js", 0),
        ("node", "ollama-auth-proxy.js", 1),
    ],
)
def test_anybody_else_is_named_and_left_alone(listen: Listen, program: str, script: str, uid: int) -> None:
    process, port = listen(program, script)
    account = find_account()
    with pytest.raises(Failure) as stopped:
        free_ports(
            [Gate("ollama", port)], account._replace(uid=account.uid + uid) if uid else account, "nemoclaw-proxy", False
        )
    assert stopped.value.code == "port_taken"
    assert str(port) in stopped.value.message
    assert ME in stopped.value.message
    assert process.poll() is None


def test_our_own_gate_is_fine(listen: Listen) -> None:
    process, port = listen("nginx", "x")
    assert free_ports([Gate("ollama", port)], find_account(), ME, False) == []
    assert process.poll() is None


def test_a_process_that_cannot_be_seen() -> None:
    row = {"port": 11435, "address": "0.0.0.0", "uid": 999, "user": None, "pid": None, "process": None}
    with pytest.raises(Failure) as stopped:
        probe.sort_out([row], "nemoclaw-proxy", find_account())
    assert "user 999" in stopped.value.message


CONFIG = """
    # gate: ollama 11435 /v1/models
    server {
        # gate: half 1
    # gate: vllm 18000 /health
"""


@pytest.mark.parametrize("config", [None, "", CONFIG])
def test_the_gates_that_a_host_has(tmp_path: Path, config: str | None) -> None:
    for folder in ("etc/systemd/system", "usr/sbin", "opt"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    machine = Machine(root=tmp_path, environ={"PATH": "/sbin"})
    assert find_gate(machine) == {"nginx": None, "account": False, "unit": False, "gates": []}
    if config is not None:
        (tmp_path / "etc/nemoclaw-ollama-proxy.conf").write_text(config)
    (tmp_path / "opt/nginx").write_text("#!/bin/sh\n")
    (tmp_path / "opt/nginx").chmod(0o755)
    (tmp_path / "usr/sbin/nginx").symlink_to(tmp_path / "opt/nginx")
    (tmp_path / "sbin").symlink_to(tmp_path / "usr/sbin")
    seen = find_gate(machine)
    assert seen["nginx"] == "/opt/nginx", "by the one name that it has for everybody"
    wanted = [("ollama", 11435, "/v1/models"), ("vllm", 18000, "/health")] if config else []
    assert [tuple(gate.values()) for gate in seen["gates"]] == wanted


def test_the_account_is_seen_at_the_end_of_a_long_list_of_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = "".join(f"user{number}:x:{number}:{number}::/home/user{number}:/bin/bash\n" for number in range(2000))
    (tmp_path / "etc/passwd").write_text(f"{users}nemoclaw-proxy:x:999:999::/nonexistent:/usr/sbin/nologin\n")
    assert find_gate(Machine(root=tmp_path))["account"] is True


def test_the_nginx_that_root_runs_is_none_of_the_users(tmp_path: Path) -> None:
    """The facts are gathered as the connecting user, with that user's PATH: 0.1.0 had root run what it found there."""
    for folder in ("home/lab/bin", "usr/sbin"):
        program = tmp_path / folder / "nginx"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    machine = Machine(root=tmp_path, environ={"PATH": "/home/lab/bin:/usr/bin"})
    assert find_gate(machine)["nginx"] == "/usr/sbin/nginx"
    (tmp_path / "usr/sbin/nginx").unlink()
    assert find_gate(machine)["nginx"] is None


def test_root_takes_no_program_from_a_folder_that_others_may_write_to(tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    folder.mkdir()
    (folder / "systemctl").write_text("#!/bin/sh\n")
    (folder / "systemctl").chmod(0o755)
    machine = Machine(root=tmp_path, environ={"PATH": "/opt"})
    assert machine.find_command("systemctl") == "/opt/systemctl"
    folder.chmod(0o777)
    assert (machine.find_command("systemctl") is None) is (os.geteuid() == 0)
