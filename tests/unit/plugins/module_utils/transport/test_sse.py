# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-sent events, cut anywhere."""

from __future__ import annotations

import random
import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.client import Event, events

STREAM = (
    "\ufeff: hello\n"
    "event: one\ndata: a\ndata:  b\n\n"
    'data: {"text": "Gr\u00fc\u00dfe \U0001f600"}\n\n'
    "id: 7\nretry: 10\nevent: empty\n\n"
    "data\n\n"
    ": ping\n\n"
    "event: last\ndata: [DONE]\n\n"
)
PARSED = [
    Event("one", "a\n b"),
    Event("message", '{"text": "Gr\u00fc\u00dfe \U0001f600"}'),
    Event("message", ""),
    Event("last", "[DONE]"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_and_every_boundary(end: str) -> None:
    content = STREAM.replace("\n", end).encode()
    assert list(events([content])) == PARSED
    assert list(events([content[at : at + 1] for at in range(len(content))])) == PARSED
    for at in range(len(content)):
        assert list(events([content[:at], b"", content[at:]])) == PARSED, f"cut at byte {at}"


def test_mixed_line_ends() -> None:
    assert list(events([b"data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\r"])) == [
        Event("message", "a\nb\nc"),
        Event("message", "d"),
    ]


def test_an_event_ends_with_its_blank_line_and_not_with_the_chunk() -> None:
    seen: list[int] = []

    def chunks() -> object:
        for number, chunk in enumerate([b"data: a\r", b"\n\r", b"\n", b"data: b\n\n"]):
            seen.append(number)
            yield chunk

    stream = events(chunks())  # type: ignore[arg-type]
    assert next(stream) == Event("message", "a")
    assert seen == [0, 1], "the event was held back although its blank line was there"


@pytest.mark.parametrize("content", [b"data: x", b"data: x\n", b"data: x\r", b"event: x\n", b"data: x\n: c", b""])
def test_a_truncated_event_is_dropped(content: bytes) -> None:
    assert list(events([b"data: whole\n\n", content])) == [Event("message", "whole")]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    assert list(events(["\ufeffdata: a\n\n\ufeffdata: b\n\n".encode()])) == [Event("message", "a")]


def test_bytes_that_are_no_utf8_do_not_stop_it() -> None:
    assert list(events([b"data: a\xff\xc3\n\n"])) == [Event("message", "a\ufffd\ufffd")]


@pytest.mark.parametrize("size", [1, 1400, 65536])
def test_a_line_of_megabytes_takes_linear_time(size: int) -> None:
    total = 200_000 if size == 1 else 8 * 1024 * 1024
    started = time.process_time()
    assert list(events([b"data: ", *[b"z" * size] * (total // size)])) == []
    assert time.process_time() - started < 5, "quadratic: 8 MiB in pieces of 1400 bytes took a minute once"


def test_random_bytes_never_raise() -> None:
    source = random.Random(2026)
    alphabet = b"\r\n:data event\x00\xff\xef\xbb\xbf{}"
    for _dummy in range(2000):
        content = bytes(source.choice(alphabet) for _dummy in range(source.randrange(80)))
        cut = source.randrange(len(content) + 1)
        assert list(events([content[:cut], content[cut:]])) == list(events([content]))
