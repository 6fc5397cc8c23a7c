# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins of OpenShell against what real gateways and a real supervisor answered (tests/unit/fixtures/openshell/real)."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openshell_parts
import pytest
import record_openshell
from conftest import Certificates

REAL = record_openshell.FIXTURES / "real"
# Cases that begin before a gateway is there.
_ALONE = ("status-none", "status-none-json", "no-gateway", "unknown-gateway")
_VOLATILE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    # How far the pull of an image is.
    (re.compile(r"^ *\[[\d.]+s\] .*\n", re.MULTILINE), ""),
    # The session by ssh, which the stand-in has not, and whose end on the recording's machine had another reason.
    (
        re.compile(
            r"(^ssh-proxy: .*\n)?(^kex_exchange.*\n)?^Error: +\S (ssh exited|status: Unimplemented)[\s\S]*", re.M
        ),
        "NO SESSION",
    ),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d{5}"), "127.0.0.1:18080"),
    (re.compile(r"\[\d{10}\.\d{3}\]"), "[TIME]"),
    # Where an error is wrapped depends on what stands before it.
    (re.compile(r"\n +\u2502 ?"), " "),
    (re.compile(r", details: \[\].*", re.DOTALL), ""),
    (re.compile(r"(?<=[/-]) (?=\S)"), ""),
    (re.compile(r"\s+"), " "),
)


def plain(output: str) -> str:
    for pattern, replacement in _VOLATILE:
        output = pattern.sub(replacement, output)
    return output.strip()


@pytest.mark.parametrize("release", ["0.0.44", "0.0.111"])
def test_the_gateway_answers_as_a_real_one(openshell_home: Path, release: str, tmp_path: Path) -> None:
    recorded = json.loads((REAL / f"{release}.json").read_text(encoding="utf-8"))["answers"]
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OPENAI_API_KEY": "lab"}
    with openshell_parts.serving(release, openshell_home) as gateway:
        for name, case in recorded.items():
            endpoint = {} if name in _ALONE else {"OPENSHELL_GATEWAY_ENDPOINT": gateway.endpoint}
            ended = subprocess.run(
                [str(gateway.cli), *case["argv"]],
                env={**own, **endpoint},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=60,
            )
            said, real = plain(ended.stdout), plain(case["output"])
            assert (name, said, ended.returncode) == (name, real, case["code"])


def test_tls_fails_as_with_a_real_one(openshell_home: Path, certificates: Certificates, tmp_path: Path) -> None:
    recorded = json.loads((REAL / "tls.json").read_text(encoding="utf-8"))["answers"]
    registered = tmp_path / "openshell" / "gateways" / "openshell"
    registered.mkdir(parents=True)

    def same(case: str, *words: str, by: tuple[str, str] = ("-g", "openshell")) -> None:
        ended = subprocess.run(
            [str(gateway.cli), *by, *words],
            env={"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(tmp_path), "OPENSHELL_NO_BROWSER": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        # Whether the alert or the end of the connection comes first is a race of the program with itself.
        said = plain(ended.stdout).replace("(Canceled) ├─▶ operation was canceled ├─▶", "(SendRequest) ├─▶")
        assert (case, said) == (case, plain(recorded[case][1].replace("18443", "18080")))

    def show(**files: Path) -> None:
        shutil.rmtree(registered / "mtls", ignore_errors=True)
        shutil.copytree(certificates.client, registered / "mtls")
        for name, path in files.items():
            shutil.copy(path, registered / "mtls" / name.replace("_", "."))

    with openshell_parts.serving("0.0.111", openshell_home, tls=certificates.server) as gateway:
        address = ("gateway", "add", gateway.endpoint, "--local", "--name", "openshell")
        port = gateway.endpoint.rpartition(":")[2]
        same("no-certificates", *address[:-2])
        show()
        subprocess.run([str(gateway.cli), *address], env={"XDG_CONFIG_HOME": str(tmp_path)}, check=True, timeout=60)
        stranger = certificates.stranger
        show(tls_crt=stranger / "tls.crt", tls_key=stranger / "tls.key")
        same("foreign-client-certificate", "status")
        same("foreign-client-certificate-in-a-call", "sandbox", "list")
        show(ca_crt=stranger / "ca-of-its-own.crt")
        same("foreign-authority", "status")
        same("foreign-authority-in-a-call", "sandbox", "list")
        plain_port = gateway.endpoint.replace("https", "http")
        same("plaintext-to-a-tls-port", "status", "-o", "json", by=("--gateway-endpoint", plain_port))
    with openshell_parts.serving("0.0.111", openshell_home) as gateway:
        show()
        metadata = registered / "metadata.json"
        content = metadata.read_text(encoding="utf-8").replace(port, gateway.endpoint.rpartition(":")[2])
        metadata.write_text(content, encoding="utf-8")
        same("https-to-a-plaintext-port", "status")


class _Odd(http.server.BaseHTTPRequestHandler):
    """A server that does what its model's name says."""

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        if said == "slow":
            time.sleep(1.5)
        if said == "close":
            return
        self.send_response(501 if self.path.endswith("embeddings") else 200)
        self.send_header("Content-Length", "100" if said == "break off" else "5")
        self.end_headers()
        self.wfile.write(b'{"a":')

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_words: object) -> None:
        return


@pytest.fixture
def odd() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Inside:
    """A sandbox of a stand-in gateway, and its command line."""

    def __init__(self, gateway: openshell_parts.Gateway, home: Path) -> None:
        self._gateway = gateway
        self._own = {"PATH": os.environ["PATH"], "HOME": str(home), "OPENAI_API_KEY": "lab"}
        self._own["OPENSHELL_GATEWAY_ENDPOINT"] = gateway.endpoint
        self._home = home

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._gateway.cli), *words], env=self._own, capture_output=True, text=True, check=False, timeout=60
        )

    def make(self, name: str) -> None:
        self.call("sandbox", "create", "--name", name, "--from", "lab/ready:1", "--detach")

    def lead(self, port: int, verb: str = "update", timeout: int = 1) -> None:
        url = f"OPENAI_BASE_URL=http://host.openshell.internal:{port}/v1"
        name = ("--name", "lab", "--type", "openai") if verb == "create" else ("lab",)
        self.call("provider", verb, *name, "--credential", "OPENAI_API_KEY", "--config", url)
        self.call("inference", "set", "--no-verify", "--provider", "lab", "--model", "m", "--timeout", str(timeout))
        time.sleep(0.3)

    def run(self, *words: str, name: str = "first", limit: int = 20) -> subprocess.CompletedProcess[str]:
        return self.call("sandbox", "exec", "--name", name, "--no-tty", "--timeout", str(limit), "--", *words)

    def ask(self, path: str, messages: str = "hi", name: str = "first") -> tuple[int, int, str]:
        """Return curl's exit status, the HTTP status and the body."""
        method, url = path.split(" ")
        words = ["curl", "-s", "-X", method, "-w", "\n%{http_code}", "-o", "-"]
        words += ["-d", json.dumps({"messages": messages})] if method == "POST" else []
        ended = self.run(*words, url if "://" in url else f"https://inference.local{url}", name=name)
        body, _line, status = ended.stdout.rpartition("\n")
        return ended.returncode, int(status), body


def test_the_supervisor_answers_as_a_real_one(openshell_home: Path, tmp_path: Path, odd: int) -> None:
    recorded: dict[str, Any] = json.loads((REAL / "inside-0.0.111.json").read_text(encoding="utf-8"))["answers"]

    def same(case: str, messages: str = "hi") -> None:
        wanted = recorded[case]
        _code, status, body = inside.ask(wanted["path"], messages)
        assert (case, status) == (case, wanted["status"])
        assert wanted.get("body") in (None, "", body), case

    with openshell_parts.serving("0.0.111", openshell_home) as gateway:
        inside = Inside(gateway, tmp_path)
        inside.make("first")
        same("no route")
        inside.lead(odd, "create")
        for case in ("another api", "an unknown path", "one model", "embeddings", "plain http", "the host itself"):
            same(case)
        same("a server that closes", "close")
        same("a server that breaks off", "break off")
        same("a chat past the route's 3 s", "slow")
        inside.lead(9)
        same("nobody listens")
        assert inside.run("nosuchprog").returncode == recorded["a program that is not there"]["exit"]
        assert inside.run("sleep", "5", limit=1).returncode == recorded["a program past its time"]["exit"]
        two = inside.run("printf", "%s\\n", "a\nb")
        assert (two.returncode, two.stdout) == (0, recorded["an argument of two lines"]["output"])


def test_a_provider_that_is_gone(openshell_home: Path, tmp_path: Path, odd: int) -> None:
    """A sandbox that runs keeps its route; one that is born then has none, until it is stopped and started."""
    with openshell_parts.serving("0.0.111", openshell_home) as gateway:
        inside = Inside(gateway, tmp_path)
        inside.lead(odd, "create")
        inside.make("first")
        inside.call("provider", "delete", "lab")
        inside.make("second")
        time.sleep(0.3)
        assert inside.ask("POST /v1/chat/completions")[:2] == (0, 200), "it keeps the last route"
        assert inside.ask("POST /v1/chat/completions", name="second")[:2] == (35, 0)
        inside.lead(odd, "create")
        assert inside.ask("POST /v1/chat/completions", name="second")[:2] == (35, 0), "it never comes by itself"
        for verb in ("stop", "start"):
            assert inside.call("sandbox", verb, "second").returncode == 0
        time.sleep(0.4)
        assert inside.ask("POST /v1/chat/completions", name="second")[:2] == (0, 200)
        inside.call("inference", "delete")
        time.sleep(0.3)
        assert inside.ask("POST /v1/chat/completions")[:2] == (0, 503)


def test_a_route_is_read_again_after_5_s(openshell_home: Path, tmp_path: Path, odd: int) -> None:
    """With the refresh of real supervisors: 4 s after the change (recorded: at the fourth second) at the latest 6."""
    with openshell_parts.serving("0.0.111", openshell_home, route_refresh=5) as gateway:
        inside = Inside(gateway, tmp_path)
        inside.make("first")
        begun = time.monotonic()
        inside.lead(odd, "create")
        assert inside.ask("POST /v1/chat/completions")[1] == 503
        while inside.ask("POST /v1/chat/completions")[1] == 503:
            assert time.monotonic() - begun < 8
            time.sleep(0.1)
        assert time.monotonic() - begun > 2
