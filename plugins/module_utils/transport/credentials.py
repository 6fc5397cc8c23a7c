# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""API keys: checked before they are sent, and taken out of whatever a server says."""

from __future__ import annotations

from ..failure import Failure

MASK = "********"

# What people give to servers that want no key (page, "enter any non-empty string (for example, dummy)"; the others are
# the habits of vLLM, Ollama, llama.cpp and LM Studio users). They are no secrets, and masking them would tear holes
# into addresses and model names that contain such a word.
PLACEHOLDERS = ("dummy", "EMPTY", "empty", "none", "unused", "ollama", "not-needed", "sk-no-key-required", "lm-studio")


def clean_key(key: str | None) -> str:
    """Return the key as it is sent, without the line end that files and copies add; empty when there is none.

    Raises:
        Failure: C(key_invalid) when it cannot stand in an HTTP header; the sentence never shows it.

    """
    cleaned = (key or "").strip()
    if not cleaned.isascii():
        position = next(index for index, character in enumerate(cleaned) if not character.isascii())
        raise Failure(
            "key_invalid",
            f"The API key has a character outside ASCII at position {position + 1} of {len(cleaned)}. Keys are plain "
            "ASCII: look for typographic quotes, a non-breaking space, or a cut from a document, and set it again.",
        )
    if not cleaned.isprintable() or " " in cleaned:
        raise Failure(
            "key_invalid",
            "The API key has a space, a line break or a control character in it, which no HTTP header may carry. "
            "Set it again, as one word.",
        )
    return cleaned


def mask(text: str, key: str) -> str:
    """Return the text without the key: some servers quote it in their error messages."""
    if not key or key in PLACEHOLDERS:
        return text
    return text.replace(key, MASK)


def quote(text: str, key: str, limit: int = 200, tail: int = 0) -> str:
    """Return what a server said as it may be shown: on one line, printable, short, without the key.

    C(limit) is the most characters; of a longer text the last C(tail) are kept as well.

    The text comes from outside, so it must not be able to paint on an operator's terminal. 200 characters are
    upstream-facts N24.
    """
    line = " ".join(mask(text, key).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    if len(line) <= limit:
        return line
    return f"{line[: limit - tail - 1]}…{line[-tail:] if tail else ''}"
