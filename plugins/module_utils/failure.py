# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""How a module of this collection says what happened: failures, sizes, and what others said, with no key in it."""

from __future__ import annotations

from typing import Any

MASK = "********"

# What people give to servers that want no key (page, "enter any non-empty string (for example, dummy)"; the others are
# the habits of vLLM, Ollama, llama.cpp and LM Studio users). They are no secrets, and masking them would tear holes
# into addresses and model names that contain such a word.
PLACEHOLDERS = ("dummy", "EMPTY", "empty", "none", "unused", "ollama", "not-needed", "sk-no-key-required", "lm-studio")


class Failure(Exception):
    """What stopped the work: a stable code for playbooks, a sentence for people.

    Args:
        code: Stable lower_case name, listed in docs/failure-codes.md; playbooks branch on it.
        message: What was tried, on what, what came back and what to do next, in one or two sentences.
        details: Further facts under stable names (for example C(status), C(served_models)); never a secret.

    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_result(self) -> dict[str, Any]:
        """Return the C(failure) dictionary of a module result: code, message and the details."""
        return {"code": self.code, "message": self.message, **self.details}


class Ended(SystemExit):
    """A signal ends this process; whoever holds something lets go of it on the way out."""


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
            "The API key contains a space, a line break or a control character, which no HTTP header may carry. Set it again, as one word.",
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


def format_bytes(count: int) -> str:
    """Return bytes as people read them, 1024-based with two decimals (upstream-facts N13)."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.2f} {unit}"
