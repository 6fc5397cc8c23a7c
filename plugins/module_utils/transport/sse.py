# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Server-sent events, read as the HTML standard defines them (section 9.2.6)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event: its type (C(message) when the stream names none) and its data."""

    type: str
    data: str


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream as they become complete.

    Chunks may be cut anywhere, inside a character too. Comments are dropped, several data lines are joined, and an
    event that the end of the stream cuts off is dropped, as the standard says: a truncated answer has no last event.
    """
    kind = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        field, _colon, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            data.append(value)
        elif field == "event":
            kind = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield complete lines, ended by CR LF, LF or CR, without their ends."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    begun: list[str] = []
    after_return = False
    for chunk in chunks:
        text = decoder.decode(chunk)
        if not text:
            continue
        # A CR has ended its line already; the LF that makes it a CR LF may come with the next chunk.
        rest = text[1:] if after_return and text.startswith("\n") else text
        after_return = text.endswith("\r")
        *ended, rest = rest.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if ended:
            yield "".join([*begun, ended[0]])
            yield from ended[1:]
            begun = []
        begun.append(rest)
