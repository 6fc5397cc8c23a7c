# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bars are drawn, and where lines are printed in their place. How they look in a terminal is in tests/real/test_progress.py."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.nemoclaw.local_inference.plugins.callback.progress import CallbackModule, said_once


@pytest.mark.parametrize(
    ("is_terminal", "terminal", "verbosity", "drawn"),
    [
        (True, "xterm", 0, True),
        (True, "xterm", 1, True),
        (True, "xterm", 2, False),
        (True, "dumb", 0, False),
        (True, None, 0, False),
        (False, "xterm", 0, False),
    ],
)
def test_who_gets_bars(
    is_terminal: bool, terminal: str | None, verbosity: int, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Default, "v2_playbook_on_start", lambda *_words: None)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: is_terminal))
    monkeypatch.delenv("TERM", raising=False)
    if terminal:
        monkeypatch.setenv("TERM", terminal)
    printed: list[str] = []
    callback: Any = CallbackModule.__new__(CallbackModule)
    callback._display = SimpleNamespace(verbosity=verbosity, display=printed.append)
    callback.v2_playbook_on_start(None)
    assert (callback._display.display == callback._print_above) is drawn


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        (
            {"msg": "It leaks.", "failure": {"code": "a", "message": "It leaks.", "probe": "b"}},
            {"code": "a", "probe": "b"},
        ),
        # What failed_when puts in its place, and what another collection calls a failure.
        (
            {"msg": "It is not.", "failure": {"code": "a", "message": "It leaks."}},
            {"code": "a", "message": "It leaks."},
        ),
        ({"msg": "It leaks.", "failure": "It leaks."}, "It leaks."),
        ({"msg": "It leaks."}, None),
    ],
)
def test_a_failure_is_shown_with_its_sentence_once(result: Any, kept: Any) -> None:
    before = repr(result)
    shown = said_once(result)
    assert (shown.get("failure"), shown["msg"], repr(result)) == (kept, result["msg"], before)
