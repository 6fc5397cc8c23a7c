# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a model server may have, in every spelling that the resolver takes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport import url
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import parse_base_url


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.1.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::ffff:100.100.100.200",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "239.255.255.250",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_no_model_server_is_there(address: str) -> None:
    with pytest.raises(Failure) as failed:
        url.check_address("model.lab", address)
    assert failed.value.code == "address_refused"
    assert f"model.lab ({address})" in failed.value.message


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.5",
        "172.16.3.4",
        "192.168.1.9",
        "100.64.0.7",
        "fd12:3456::1",
        "64:ff9b::10.0.0.5",
        "8.8.8.8",
        "2001:db8::1",
        "2606:4700::1111",
    ],
)
def test_private_and_public_addresses_are_fine(address: str) -> None:
    url.check_address(address, address)


@pytest.mark.parametrize(
    "host",
    [
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "169.254.169.254",
        "169.254.169.254.",
        "0",
        "metadata",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "instance-data",
    ],
)
def test_no_spelling_gets_round_the_rules(host: str) -> None:
    base = parse_base_url(f"http://{host}/v1", "openai-completions")
    with pytest.raises(Failure) as failed:
        url.resolve(base, 5)
    assert failed.value.code == "address_refused"


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", ["127.0.0.1"]), ("2130706433", ["127.0.0.1"]), ("[::1]", ["::1"])]
)
def test_addresses_resolve_to_themselves(host: str, expected: list[str]) -> None:
    assert url.resolve(parse_base_url(f"http://{host}:81/v1", "openai-completions"), 5) == expected


@pytest.mark.parametrize(
    ("found", "local"),
    [
        (["127.0.0.1"], True),
        (["::1", "127.0.0.1"], True),
        (["10.1.2.3"], True),
        (["::ffff:192.168.0.1"], True),
        (["fd12::1"], True),
        (["8.8.8.8"], False),
        (["10.1.2.3", "8.8.8.8"], False),
        (["100.64.0.1"], True),
        (["100.128.0.1"], False),
    ],
)
def test_what_is_local(found: list[str], local: bool) -> None:
    assert url.is_local(found) is local


# The resolver is replaced here because no real one can be made to hang, to fail or to give such answers on every machine.


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Return an event that lets go of whoever waits for it when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_a_resolver_that_hangs_costs_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: held.wait(60) and [])
    started = time.monotonic()
    with pytest.raises(Failure) as failed:
        url.resolve(parse_base_url("http://model.lab/v1", "openai-completions"), 0.1)
    assert failed.value.code == "dns_failed"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Failure) as failed:
        url.resolve(parse_base_url("http://model.lab/v1", "openai-completions"), 5)
    assert failed.value.code == "dns_failed"
    assert "model.lab" in failed.value.message


def test_the_name_of_docker_desktop_gets_its_own_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Failure) as failed:
        url.resolve(parse_base_url("http://host.docker.internal:8000/v1", "openai-completions"), 5)
    assert "http://127.0.0.1:8000/v1" in failed.value.message


def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in ("10.0.0.1", "169.254.169.254")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(Failure) as failed:
        url.resolve(parse_base_url("http://rebind.lab/v1", "openai-completions"), 5)
    assert failed.value.code == "address_refused"
