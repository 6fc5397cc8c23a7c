# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on the way to a server, and how it is said."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
import urllib.error
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport import client, trouble
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import parse_base_url

FIXTURES = Path(__file__).parents[3] / "fixtures" / "llama_cpp"
URL = "http://h:81/v1/models"
KEY = "k-1234567"


def exchange(**state: Any) -> Any:
    base = parse_base_url("http://h:81/v1", "openai-completions")
    client = SimpleNamespace(base=base, key=KEY)
    return SimpleNamespace(
        **{
            "client": client,
            "url": URL,
            "limit": 3.0,
            "connect_limit": 2.0,
            "timed_out": False,
            "connecting": False,
            "securing": False,
            "proxy": "",
            **state,
        }
    )


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), {"connecting": True}, "connection_refused"),
        (socket.timeout("timed out"), {"connecting": True}, "unreachable"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), {"connecting": True}, "unreachable"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), {"connecting": True}, "unreachable"),
        (ConnectionRefusedError("refused"), {"connecting": True, "proxy": "proxy.lab:3128"}, "proxy_failed"),
        (socket.timeout("timed out"), {"connecting": True, "proxy": "proxy.lab:3128"}, "proxy_failed"),
        (socket.timeout("timed out"), {"proxy": "proxy.lab:3128"}, "timeout"),
        (socket.timeout("timed out"), {}, "timeout"),
        (socket.timeout("timed out"), {"securing": True}, "tls_failed"),
        (ssl.SSLError(1, "shut down"), {"securing": True, "timed_out": True}, "tls_failed"),
        (socket.timeout("timed out"), {"securing": True, "connecting": True}, "unreachable"),
        (ConnectionResetError("reset"), {"timed_out": True}, "timeout"),
        (http.client.IncompleteRead(b""), {"timed_out": True}, "timeout"),
        (ssl.SSLError(1, "shut down"), {"timed_out": True}, "timeout"),
        (http.client.RemoteDisconnected("closed"), {}, "connection_lost"),
        (http.client.IncompleteRead(b"x"), {}, "connection_lost"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), {}, "connection_lost"),
        (BrokenPipeError(errno.EPIPE, "pipe"), {}, "connection_lost"),
        (http.client.BadStatusLine("SSH-2.0-OpenSSH"), {}, "not_http"),
        (http.client.LineTooLong("header line"), {}, "not_http"),
        (ValueError("invalid literal"), {}, "not_http"),
        (OSError("Tunnel connection failed: 403 Forbidden"), {}, "proxy_failed"),
        (OSError(errno.EIO, "something else"), {}, "connection_lost"),
    ],
)
def test_transport_failures(error: Exception, state: dict[str, Any], code: str) -> None:
    for raised in (error, urllib.error.URLError(error)):
        failure = trouble.transport_failure(raised, exchange(**state))
        assert failure.code == code
        assert "http://h:81" in failure.message
        assert failure.message.rstrip().endswith(".")


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (9, "certificate is not yet valid", "clock of this host"),
        (10, "certificate has expired", "clock of this host"),
        (18, "self-signed certificate", "ca_path"),
    ],
)
def test_a_certificate_of_another_time_points_to_the_clock(code: int, said: str, remedy: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, said
    message = trouble.transport_failure(error, exchange()).message
    assert said in message
    assert remedy in message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "redirected"),
        (302, "redirected"),
        (307, "redirected"),
        (400, "bad_request"),
        (401, "auth_failed"),
        (403, "auth_failed"),
        (404, "not_found"),
        (405, "not_found"),
        (408, "server_busy"),
        (413, "bad_request"),
        (418, "bad_request"),
        (422, "bad_request"),
        (429, "rate_limited"),
        (500, "server_error"),
        (501, "not_found"),
        (502, "server_busy"),
        (503, "server_busy"),
        (504, "server_busy"),
        (507, "server_error"),
        (529, "server_busy"),
    ],
)
def test_every_status_has_its_code(status: int, code: str) -> None:
    body = json.dumps({"error": {"message": f"the reason, and {KEY}"}}).encode()
    failure = trouble.status_failure(status, URL, body, {"Location": f"http://evil/?{KEY}"}, KEY, "A_KEY")
    assert (failure.code, failure.details["status"]) == (code, status)
    assert KEY not in json.dumps(failure.as_result())
    assert f"HTTP {status}" in failure.message
    if code != "redirected":
        assert "the reason, and ********" in failure.message


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (404, b'{"error": {"message": "model \\"a\\" not found, try pulling it first"}}', "set nemoclaw_model"),
        (
            404,
            b'{"object": "error", "message": "The model `a` does not exist.", "param": "model"}',
            "set nemoclaw_model",
        ),
        (
            404,
            b'{"error": {"message": "Failed to load model \\"a\\". Error: insufficient resources"}}',
            "load it there",
        ),
        (404, b'{"detail": "Not Found"}', "Check the base URL"),
        (404, b"404 page not found", "Check the base URL"),
        (403, b"<html>Access denied</html>", "by other means than a key"),
        (413, b"<html>413 Request Entity Too Large</html>", "client_max_body_size"),
    ],
)
def test_the_remedy_is_for_what_was_said(status: int, body: bytes, remedy: str) -> None:
    assert remedy in trouble.status_failure(status, URL, body, {}, "", "A_KEY").message


def test_a_refused_key_and_a_missing_one_have_different_remedies() -> None:
    body = (FIXTURES / "wrong_key.json").read_bytes()
    wrong = trouble.status_failure(401, URL, body, {}, KEY, "A_KEY")
    missing = trouble.status_failure(401, URL, body, {}, "", "A_KEY")
    assert "Invalid API Key" in wrong.message
    assert "The key is not accepted: correct a_key in the inventory" in wrong.message
    assert (
        "requires a key and none was provided: set a_key in the inventory, vault-encrypted, or A_KEY in the"
        in missing.message
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("\u0663", None),
        ("\u00b2", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after(text: str | None, seconds: int | None) -> None:
    failure = trouble.status_failure(429, URL, b"", {"Retry-After": text}, "", "A_KEY")
    assert failure.details["retry_after"] == seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "a", "details": "b"}}, "a"),
        ({"error": {"details": "b"}, "message": "c"}, "b"),
        ({"error": "a", "message": "b"}, "a"),
        ({"message": "a", "detail": "b"}, "a"),
        ({"detail": "a"}, "a"),
        ({"details": "a"}, "a"),
        (
            {"detail": [{"loc": ["body"], "msg": "field required"}]},
            '{"detail": [{"loc": ["body"], "msg": "field required"}]}',
        ),
        ({"error": {"message": ""}, "detail": "a"}, "a"),
        ({"error": {"message": 5}}, '{"error": {"message": 5}}'),
        ({"error": None, "message": None}, '{"error": null, "message": null}'),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded"),
        ([], "[]"),
        (["a"], '["a"]'),
        (None, "null"),
        ("text", '"text"'),
        (5, "5"),
    ],
)
def test_error_text_finds_the_reason(body: Any, text: str) -> None:
    assert trouble.error_text(json.dumps(body).encode(), "") == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"Bad\r\n  Gateway\n", "Bad Gateway"),
        (b"\x1b[31mred\x07", "?[31mred?"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("a\u202eb\u2028c".encode(), "a?b c"),
        (b"x" * 1000 + b"why", "x" * 179 + "\u2026" + "x" * 117 + "why"),
        (b"[" * 200_000, "[" * 179 + "\u2026" + "[" * 120),
        (f"your key {KEY} is wrong".encode(), "your key ******** is wrong"),
    ],
)
def test_error_text_may_be_shown(body: bytes, text: str) -> None:
    assert trouble.error_text(body, KEY) == text


def test_the_recorded_refusal_of_a_long_prompt() -> None:
    body = (FIXTURES / "context_exceeded.json").read_bytes()
    failure = trouble.status_failure(400, URL, body, {}, "", "A_KEY")
    assert failure.code == "bad_request"
    assert "exceeds the available context size (32768 tokens)" in failure.details["server_message"]


def test_an_object_is_returned() -> None:
    assert trouble.parse_object(b' {"data": [], "error": null} ', URL, "") == {"data": [], "error": None}


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "not_json", "with nothing"),
        (b" \n", "not_json", "with nothing"),
        (b"<!DOCTYPE html><html>", "not_json", "a web page"),
        (b'data: {"id": "1"}\n\n', "not_json", "passes over stream: false"),
        (b"Ollama is running", "not_json", "something that is not JSON (Ollama is running)"),
        (b'{"object": "li', "not_json", "not JSON"),
        ('{"a": "\u00e9"}'.encode("latin-1"), "not_json", "not JSON"),
        (b"[" * 200_000, "not_json", "not JSON"),
        (b"9" * 5000, "not_json", "JSON"),
        (b"[]", "not_json", "not an object ([])"),
        (b"null", "not_json", "not an object (None)"),
        (b'"text"', "not_json", "not an object (text)"),
        (b'{"error": {"message": "Out of memory"}}', "error_in_answer", "Out of memory"),
        (b'{"error": "Out of memory"}', "error_in_answer", "Out of memory"),
        (b'{"error": true, "message": "no"}', "error_in_answer", "no"),
        (b'{"error": [1]}', "error_in_answer", '{"error": [1]}'),
    ],
)
def test_what_is_no_answer(body: bytes, code: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        trouble.parse_object(body, URL, "")
    assert failed.value.code == code
    assert said in failed.value.message
    assert URL in failed.value.message


def test_what_is_no_answer_is_quoted_without_the_key() -> None:
    for body in (f"<p>{KEY}</p>", f'["{KEY}"]', f'{{"error": "{KEY}"}}'):
        with pytest.raises(Failure) as failed:
            trouble.parse_object(body.encode(), URL, KEY)
        assert KEY not in failed.value.message


def test_a_server_that_waits_for_a_line_where_it_gets_a_tls_greeting_does_not_take_the_whole_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "CONNECT_LIMIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        base = parse_base_url(f"https://127.0.0.1:{plain.getsockname()[1]}/v1", "openai-completions")
        asked = Deadline(60)
        with pytest.raises(Failure, match="no handshake within 0 s") as failed:
            client.Client(base, {}, "", asked).open("GET", f"{base}/models")
    assert failed.value.code == "tls_failed"
    assert asked.elapsed < 10
