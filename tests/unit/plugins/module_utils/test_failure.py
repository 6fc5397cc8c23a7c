# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: what is sent, and what is never shown."""

from __future__ import annotations

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import (
    PLACEHOLDERS,
    Failure,
    clean_key,
    mask,
    quote,
)


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        (None, ""),
        ("", ""),
        (" \n", ""),
        ("k-1", "k-1"),
        ("k-1\n", "k-1"),
        ("\tk-1\r\n", "k-1"),
        ("!#$%&'*+-.^_`|~/=:", "!#$%&'*+-.^_`|~/=:"),
    ],
)
def test_the_key_as_it_is_sent(key: str | None, sent: str) -> None:
    assert clean_key(key) == sent


@pytest.mark.parametrize(
    "key",
    [
        "s3cret\u2019",
        "\u201cs3cret\u201d",
        "s3cret\u00a0word",
        "s3cr\u00e9t",
        "s3cret\U0001f511",
        "s3cret word",
        "s3cret\nX-Evil: 1",
        "s3cret\r\nword",
        "s3cret\x00",
        "s3cret\x7f",
        "s3cret\x1b[2J",
        "s3cret\tword",
    ],
)
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(Failure) as failed:
        clean_key(key)
    assert failed.value.code == "key_invalid"
    assert "s3cr" not in failed.value.message
    assert failed.value.message.isascii()


def test_the_place_of_a_character_outside_ascii_is_told() -> None:
    with pytest.raises(Failure) as failed:
        clean_key(" abc\u2019def\n")
    assert "at position 4 of 7" in failed.value.message


@pytest.mark.parametrize(
    ("text", "key", "masked"),
    [
        ("Bearer k-1, k-1", "k-1", "Bearer ********, ********"),
        ("no key here", "k-1", "no key here"),
        ("any text", "", "any text"),
        *((f"http://{word}/v1", word, f"http://{word}/v1") for word in PLACEHOLDERS),
    ],
)
def test_mask(text: str, key: str, masked: str) -> None:
    assert mask(text, key) == masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  two\n lines\t ", "two lines"),
        ("\x1b[2J\x1b[1;31mowned\x1b]0;title\x07", "?[2J?[1;31mowned?]0;title?"),
        ("bell\x07 back\x08 del\x7f nul\x00", "bell? back? del? nul?"),
        ("\x9b31mC1", "?31mC1"),
        ("right\u202eleft", "right?left"),
        ("zero\u200bwidth", "zero?width"),
        ("gr\u00fc\u00df dich \u4f60", "gr\u00fc\u00df dich \u4f60"),
        ("line\u2028separator", "line separator"),
        ("k-1234567 is the key", "******** is the key"),
        ("x" * 300, "x" * 199 + "\u2026"),
    ],
)
def test_quote(text: str, shown: str) -> None:
    assert quote(text, "k-1234567") == shown


def test_a_key_at_the_cut_is_not_shown_in_part() -> None:
    for start in range(180, 201):
        assert "k-12" not in quote("x" * start + "k-1234567" + "y" * 50, "k-1234567")


def test_a_limit_of_its_own() -> None:
    assert quote("abcdef", "", 4) == "abc\u2026"
    assert quote("abcd", "", 4) == "abcd"
