# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Rows of cells as lines with aligned columns: the one way in which tables are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def shorten(text: str, limit: int) -> str:
    """Return the text on one line, cut between two words where it is longer than the column."""
    return textwrap.shorten(text, limit, placeholder=" ...")


def rows(content: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines, their columns aligned."""
    widths = [max(len(row[column]) for row in content) for column in range(len(content[0]) - 1)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in content]
