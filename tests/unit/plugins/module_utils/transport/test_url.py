# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base URLs: one written form for each server, and a clear no that shows no secret."""

from __future__ import annotations

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import parse_base_url

CHAT, MESSAGES = "openai-completions", "anthropic-messages"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("  http://localhost:8000/v1\n", "http://localhost:8000/v1"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("HTTPS://Spark-01.Lab/V1", "https://spark-01.lab/V1"),
        ("http://spark-01.lab./v1", "http://spark-01.lab/v1"),
        ("http://10.0.0.5/v1/chat/completions", "http://10.0.0.5/v1"),
        ("http://10.0.0.5/v1/chat/completions/", "http://10.0.0.5/v1"),
        ("http://10.0.0.5/v1/completions", "http://10.0.0.5/v1"),
        ("http://10.0.0.5/v1/responses", "http://10.0.0.5/v1"),
        ("http://10.0.0.5/v1/models", "http://10.0.0.5/v1"),
        ("http://10.0.0.5/proxy/team-a/v1", "http://10.0.0.5/proxy/team-a/v1"),
        ("http://10.0.0.5/responses/v1", "http://10.0.0.5/responses/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://[FD00::5]/v1", "http://[fd00::5]/v1"),
        ("http://h:/v1", "http://h/v1"),
        ("http://h:1", "http://h:1"),
        ("http://h:65535", "http://h:65535"),
        ("http://h/a%20b/v1", "http://h/a%20b/v1"),
        ("http://h/@team/v1", "http://h/@team/v1"),
        ("http://xn--bcher-kva.example/v1", "http://xn--bcher-kva.example/v1"),
    ],
)
def test_openai_urls_have_one_written_form(text: str, normal: str) -> None:
    assert str(parse_base_url(text, CHAT)) == normal
    assert str(parse_base_url(text, "openai-responses")) == normal
    assert str(parse_base_url(normal, CHAT)) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("http://h:8080", "http://h:8080"),
        ("http://h:8080/v1", "http://h:8080"),
        ("http://h:8080/v1/", "http://h:8080"),
        ("http://h:8080/v1/messages", "http://h:8080"),
        ("http://h:8080/v1/models", "http://h:8080"),
        ("http://h:8080/messages", "http://h:8080"),
        ("http://h:8080/anthropic/v1/messages", "http://h:8080/anthropic"),
    ],
)
def test_anthropic_urls_lose_their_v1(text: str, normal: str) -> None:
    assert str(parse_base_url(text, MESSAGES)) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "localhost:8000/v1",
        "//localhost/v1",
        "http:/localhost/v1",
        "http://",
        "http:///v1",
        "http://:8000/v1",
        "http://./v1",
        "ftp://h/v1",
        "file:///etc/passwd",
        "unix:///run/model.sock",
        "http://h:0/v1",
        "http://h:65536/v1",
        "http://h:-1/v1",
        "http://h:eighty/v1",
        "http://[::1/v1",
        "http://h/v1/../admin",
        "http://h/..",
        "http://h/v1?model=x",
        "http://h/v1?",
        "http://h/v1#top",
        "http://h/v1\r\nX-Evil: 1",
        "http://h/v1\x00",
        "http://h\x1b[31m/v1",
        "http://h\x7f/v1",
        "http://h /v1",
        "http://h/v1\tx",
        "http://h\\@other/v1",
        "http://h/$(id)",
        "http://h/`id`",
        "http://h/v1;id",
        "http://h/v1|id",
        "http://h/v1&id",
        'http://h/"',
        "http://h/<v1>",
        "http://h/v1*",
        "http://h/v1'",
        "http://b\u00fccher.example/v1",
        "http://h/v1\u200b",
        "http://\uff48/v1",
        "http://h\u2024evil/v1",
    ],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_base_url(text, CHAT)
    assert failed.value.code == "url_invalid"
    assert failed.value.message.isascii()
    assert failed.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3cret@h/v1",
        "http://s3cret@h/v1",
        "http://:s3cret@h/v1",
        "http://@h/v1",
        "http://user:s3cret@h:99999/v1",
        "http://user:s3cret/word@h/v1",
        "http://user:s3cret@[::1/v1",
        "user:s3cret@h/v1",
        "ftp://user:s3cret@h/v1",
        "http://user:s3cret@/v1",
        "http://user:s3cret@inference.local/v1",
        "http://user:s3cret@h/../v1",
    ],
)
def test_a_password_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_base_url(text, CHAT)
    assert failed.value.code == "url_credentials"
    assert "s3cret" not in str(failed.value.as_result())
    assert "COMPATIBLE_API_KEY" in failed.value.message


def test_a_query_is_refused_and_never_shown() -> None:
    with pytest.raises(Failure) as failed:
        parse_base_url("http://h/v1?api_key=s3cret", CHAT)
    assert "s3cret" not in str(failed.value.as_result())


@pytest.mark.parametrize(
    "host", ["host.openshell.internal", "Host.OpenShell.Internal", "inference.local", "inference.local."]
)
def test_names_of_the_sandbox_are_for_the_sandbox(host: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_base_url(f"http://{host}:8000/v1", CHAT)
    assert failed.value.code == "url_sandbox_name"
    assert "http://127.0.0.1:PORT/v1" in failed.value.message
    assert parse_base_url(f"http://{host}:8000/v1", CHAT, for_sandbox=True).host == host.lower().rstrip(".")


@pytest.mark.parametrize(
    ("text", "port", "loopback"),
    [
        ("http://localhost/v1", 80, True),
        ("https://localhost/v1", 443, True),
        ("http://api.localhost:81", 81, True),
        ("http://127.0.0.1", 80, True),
        ("http://127.99.0.1", 80, True),
        ("http://[::1]", 80, True),
        ("http://10.0.0.1", 80, False),
        ("http://localhost.example", 80, False),
        ("http://notlocalhost", 80, False),
    ],
)
def test_port_and_loopback(text: str, port: int, loopback: bool) -> None:
    url = parse_base_url(text, CHAT)
    assert (url.port, url.is_loopback) == (port, loopback)


def test_another_host_keeps_scheme_port_and_path() -> None:
    url = parse_base_url("https://127.0.0.1:8443/x/v1", CHAT)
    assert str(url.with_host("host.openshell.internal")) == "https://host.openshell.internal:8443/x/v1"
    assert str(url.with_host("::1")) == "https://[::1]:8443/x/v1"
    assert url.root == "https://127.0.0.1:8443"
