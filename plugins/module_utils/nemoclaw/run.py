# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""NemoClaw run for minutes, its words read as they come, stopped where it falls silent; why it ended (upstream-facts N41).

And what a release of it can, for the modules that change what it has (upstream-facts N39, N40; decision 0028).
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ..failure import Failure, quote
from ..route.record import STATE_DIRECTORY
from .records import NemoClaw, Release, plain

LINE_LIMIT = 4096  # bytes; Docker's progress has no line ends
# "Still building sandbox image... (15s elapsed)" says that it waits, and not that anything goes on.
_HEARTBEAT = re.compile(r"^\W*Still\b")
# The first words of what it says after the cause: advice, what it releases, and where to read more.
_ADVICE = re.compile(
    r"Onboarding did not finish|nemoclaw onboard --resume|Completed steps are skipped|Validation details were omitted|Onboard aborted|"
    r"Stopped host|Released |See more help|Fix options|Suggested fix|Next steps|Run:|Run '|OpenShell inference route update failed|USAGE|"
    r"Verify the fix worked|Usage:|The sandbox build runs|This operation belongs|Retry\b|Try\b|To retry|Re-?run\b|Hint:|Troubleshooting"
)
# What it, or what runs below it, marks as the cause: a cross, a multiplication sign, or the word: of OpenShell, Docker's builder and npm.
_MARK = re.compile(r"^(?:Error: *)?[\u2717\u00d7] *|^ *\u203a? *(?:#\d+ )?(?:Error|ERROR): *|^npm (?:error|ERR!) +")
_FAILS = re.compile(
    r"\b(?:fail(?:ed|s|ure)?|invalid|cannot|could not|can't|not|no such|refused|denied|unsupported|required|missing|nonexistent|"
    r"unknown|errors?)\b",
    re.IGNORECASE,
)
# Check marks, warning and information signs, frames, arrows and bullets.
_DRAWN = re.compile(r"^[\s\u2717\u00d7\u2713\u26a0\u24d8\u2139\u2500-\u257f\u25b6\u203a\u2022=#>-]+|[\s\u2500=]+$")
_STEP_HEAD = re.compile(r"^\[\d+/\d+\]")
_CAUSE_LINES = 3
# The oldest and the newest that were seen to know what they are asked here (upstream-facts N41).
SEEN_SINCE: Release = (0, 0, 58)
SEEN_UNTIL: Release = (0, 0, 97)
# What it says of a command, a flag or a choice that came later.
UNKNOWN_TO_IT = r"Nonexistent flag|Unknown onboard option|Unknown nemoclaw command|Unsupported NEMOCLAW_PROVIDER"
# From here on it takes an address, and the API with it.
API_SINCE: Release = (0, 0, 69)
_API_FLAG = "--inference-api"
# NemoClaw's own proxy for Ollama leaves it where it was started (upstream-facts N39).
_OWN_PROXY = "ollama-auth-proxy.pid"


def text_of(line: bytes) -> str:
    """Return a line as it is shown, without colours."""
    return plain(line[:LINE_LIMIT].decode("utf-8", "replace")).rstrip()


def cause_of(lines: Sequence[str]) -> str:
    """Return what its last lines say of the cause: NemoClaw gives advice after it, and a summary of what it has released.

    What it marks counts, of the step that it ended in; else the last line that says that something failed.
    """
    heads = [at for at, line in enumerate(lines) if _STEP_HEAD.match(line.strip())]
    step = [line for line in lines[heads[-1] + 1 if heads else 0 :] if _DRAWN.sub("", line)]
    marked = [at for at, line in enumerate(step) if _MARK.match(line.strip())]
    if marked:
        first = marked[-1]
        while first - 1 in marked:
            first -= 1
        return _until_advice(step[first:])
    said = [at for at, line in enumerate(step) if not _ADVICE.match(_bare(line))]
    failing = [at for at in said if _FAILS.search(step[at])]
    return _until_advice(step[(failing or said or [0])[-1] :]) or (_bare(lines[-1]) if lines else "nothing")


def _until_advice(lines: Sequence[str]) -> str:
    found: list[str] = []
    for line in lines:
        bare = _bare(line)
        if _ADVICE.match(bare) or len(found) == _CAUSE_LINES:
            break
        found.append(bare)
    return " ".join(found)


def _bare(line: str) -> str:
    """Return a line without the marks and frames that it is drawn with."""
    return _DRAWN.sub("", _MARK.sub("", line.strip()))


def is_heartbeat(line: str) -> bool:
    """Tell whether a line says only that it still waits."""
    return bool(_HEARTBEAT.match(line))


# How long it has waited, and what turns beside it.
_CLOCK = re.compile(r"\(?\b(?:\d+ ?m(?:in)? ?)?\d+(?:\.\d+)? ?s(?:ec|econds?)?\b(?: elapsed| ago)?\)?|[\u2800-\u28ff]")
_REPEATED = 8  # lines; who waits in a circle says a few in turn


class News:
    """Tells output that shows progress from output that shows only that it still waits for the same."""

    def __init__(self) -> None:
        self._said: deque[str] = deque(maxlen=_REPEATED)

    def are_in(self, lines: Sequence[str], begun: str) -> bool:
        """Take whole lines and one that has only begun."""
        found = bool(begun.strip()) and not is_heartbeat(begun) and _essence(begun) not in self._said
        for line in lines:
            essence = _essence(line)
            found = found or (bool(essence) and essence not in self._said)
            self._said.append(essence)
        return found


def _essence(line: str) -> str:
    """Return what a line says beside the time; of a heartbeat what is awaited."""
    if is_heartbeat(line):
        return re.sub(r"\W*\(.*|\d+", "", line).strip()
    return _CLOCK.sub("", line).strip(" .\t|/\\-")


_LAST_LINES = 40
_TERM_S = 5.0
_LOOK_S = 0.5  # how often it is looked whether it has ended
_PIPE = 65_536  # bytes that a pipe of Linux holds


@dataclass(frozen=True)
class Ended:
    """How a run ended: code is None where it was stopped; lines are its last, oldest first."""

    code: int | None
    lines: tuple[str, ...]


def run_nemoclaw(
    nemoclaw: NemoClaw,
    words: Sequence[str],
    own: Mapping[str, str],
    silence_s: float | Callable[[], float],
    tell: Callable[[str], None],
) -> Ended:
    """Run a command to its end, however long that takes, unless nothing goes on for so many seconds.

    Args:
        nemoclaw: The program.
        words: The command. Never a secret: arguments are everybody's to read.
        own: Variables beside those of environ(): this is how secrets get to it.
        silence_s: Seconds without a line after which it and its children are stopped, or what returns them for what it does now.
            A line that only says that it still waits is none.
        tell: Is given each line, without colours.

    Raises:
        Failure: C(nemoclaw_missing) where it cannot be started.

    """
    try:
        # AnsibleModule.run_command has no limit and keeps every word; this code runs without an AnsibleModule.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            [str(nemoclaw.machine.path(nemoclaw.path)), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=nemoclaw.environ(own),
            cwd=nemoclaw.account.home,
            start_new_session=True,
        )
    except OSError as error:
        raise Failure(
            "nemoclaw_missing",
            f"{nemoclaw.path} could not be started: {error}. Install NemoClaw for the user {nemoclaw.account.name} again.",
        ) from error
    lines: deque[str] = deque(maxlen=_LAST_LINES)

    def take(line: str) -> None:
        lines.append(line)
        tell(line)

    try:
        heard = _listen(process, silence_s if callable(silence_s) else lambda: silence_s, take)
        code = process.wait() if heard else None
    finally:
        _stop(process)
    return Ended(code, tuple(lines))


def last_words(ended: Ended, secret: str = "") -> str:
    """Return why it ended as part of a sentence, without its full stop."""
    return quote(cause_of(ended.lines), secret, 400).rstrip(".")


def _listen(process: subprocess.Popen[bytes], silence_s: Callable[[], float], take: Callable[[str], None]) -> bool:
    """Read until it has ended, and return whether it did before a silence that was too long.

    The end of its output alone says nothing: a daemon that it started may hold that open for good.
    """
    stream: Any = process.stdout
    rest = b""
    last = time.monotonic()
    news = News()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            # Asked before the pipe is read: all that it wrote itself is in there then.
            ended = process.poll() is not None
            remaining = silence_s() - (time.monotonic() - last)
            if not selector.select(0 if ended else min(max(remaining, 0), _LOOK_S)):
                if not ended and remaining > 0:
                    continue
                if rest:
                    _take_line(rest, take)
                return ended
            chunk = os.read(stream.fileno(), _PIPE)
            *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
            if len(rest) > LINE_LIMIT or not chunk or ended:
                whole, rest = [*whole, rest], b""
            for line in whole:
                _take_line(line, take)
            if not chunk or ended:
                return True
            if news.are_in([text_of(line) for line in whole], text_of(rest)):
                last = time.monotonic()
            elif remaining <= 0:
                return False


def _take_line(line: bytes, take: Callable[[str], None]) -> None:
    text = text_of(line)
    if text.strip():
        take(text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and its children; what has ended already is left in peace."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERM_S)
        # Also where it has ended: a child may have stayed.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERM_S)
    stream: Any = process.stdout
    stream.close()


def dotted(release: Release | None) -> str:
    """Return a release as people write it."""
    return ".".join(map(str, release)) if release else "of a release that it does not tell"


def too_old(nemoclaw: NemoClaw, since: Release, purpose: str, otherwise: str) -> Failure:
    """Return the failure that names the release that can do it, and the one that is there."""
    there = nemoclaw.release()
    return Failure(
        "nemoclaw_too_old",
        f"{purpose} takes NemoClaw {dotted(since)} or later, and {nemoclaw.path} is {dotted(there)}. Update it. {otherwise}",
        needed=dotted(since),
        release=dotted(there),
    )


def unknown_to(nemoclaw: NemoClaw, ran: str) -> Failure:
    """Return the failure of a command that NemoClaw does not know, or knows otherwise, after the sentence on what was run."""
    there = nemoclaw.release()
    return Failure(
        "nemoclaw_too_old",
        f"{ran} {nemoclaw.path} is NemoClaw {dotted(there)} and does not know what it was asked. {dotted(SEEN_SINCE)} and later do, and "
        f"were seen up to {dotted(SEEN_UNTIL)}: install one of them, and run this again.",
        needed=dotted(SEEN_SINCE),
        release=dotted(there),
    )


def set_flags(nemoclaw: NemoClaw) -> frozenset[str]:
    """Return the flags of C(nemoclaw inference set).

    Without a provider and a model NemoClaw takes it for a command of OpenShell's. No provider has that name.
    """
    return nemoclaw.flags("inference", "set", "--provider", "help", "--model", "help")


def can_change_api(nemoclaw: NemoClaw) -> bool:
    """Tell whether it changes the API of a sandbox that runs."""
    return _API_FLAG in set_flags(nemoclaw)


def has_own_proxy(nemoclaw: NemoClaw) -> bool:
    """Tell whether NemoClaw runs its own proxy for Ollama here, or did."""
    return Path(nemoclaw.account.home, STATE_DIRECTORY, _OWN_PROXY).exists()
