# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The one token of a host that opens its gate: kept in NemoClaw's own file, in NemoClaw's own format.

24 random bytes as 48 lowercase hexadecimal digits and a newline, mode 0600, in a folder with mode 0700 (page,
Authenticated Reverse Proxy; upstream-facts N21). Once made it is never made again: a second token would leave the
sandboxes with the first (NemoClaw #2553, #7620). While a rotation lasts, the previous one stands beside it.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..failure import Failure
from ..route.record import REFUSED_HOMES, STATE_DIRECTORY

TOKEN_NAME = "ollama-proxy-token"  # noqa: S105 - a file's name
PREVIOUS_SUFFIX = ".previous"
NEXT_SUFFIX = ".next"
TOKEN_BYTES = 24
# nginx's file of tokens: root's, and readable for the account that nginx runs as.
GATE_FILE_MODE = 0o640
_HEAD = "# Made by nemoclaw.local_inference.proxy_token: the headers that open the gate. Changes are overwritten.\n"
# Lowercase only: nginx compares without regard to case, so an upper-case digit would add nothing (upstream-facts P9).
_TOKEN = re.compile(r"[0-9a-f]{48}")
# A token file has 49 bytes; whatever is longer is not one.
_READ_LIMIT = 1024

_NEW_ONE = (
    "Restore the right token, or create a new one with state: rotated (playbook rotate_token); clients with the old one then need the new "
    "one."
)


@dataclass(frozen=True)
class StoredToken:
    """A token file that was read.

    Attributes:
        value: The token.
        mode: Permissions of the file.
        age: Seconds between when it was written and now, by a clock that may have been set back meanwhile.

    """

    value: str
    mode: int
    age: float


def token_path(home: str) -> str:
    """Return where the token of the user with this home directory lies.

    Raises:
        Failure: C(home_refused) when the home is one that others share.

    """
    if os.path.normpath(home) in REFUSED_HOMES:
        raise Failure(
            "home_refused",
            f"The home directory of the user is {home}, which other users share, so no token is stored there. "
            "Set nemoclaw_user to the person who owns this host's inference, with a home directory of their own.",
        )
    return str(Path(home) / STATE_DIRECTORY / TOKEN_NAME)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_hex(TOKEN_BYTES)


def fingerprint(token: str) -> str:
    """Return what tells two tokens apart and says nothing about either: they have 192 random bits to hash."""
    return hashlib.sha256(f"nemoclaw-proxy-token:{token}".encode()).hexdigest()[:16]


def read_token(path: str) -> StoredToken | None:
    """Return the token in the file, white space around it taken away, or None where there is no file.

    Raises:
        Failure: C(token_unreadable) when the file cannot be read, C(token_invalid) when it holds no token. Neither
            sentence shows what the file holds, and the file stays as it is.

    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _unreadable(path, "it is not a regular file")
        content = os.read(handle, _READ_LIMIT)
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    finally:
        os.close(handle)
    text = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(text):
        what = "is empty" if not text else "holds something other than 48 lowercase hexadecimal digits"
        raise Failure("token_invalid", f"The token file {path} {what}. It was left unchanged. {_NEW_ONE}", path=path)
    return StoredToken(text, stat.S_IMODE(found.st_mode), abs(time.time() - found.st_mtime))


def _unreadable(path: str, reason: str | None) -> Failure:
    return Failure(
        "token_unreadable",
        f"The token file {path} cannot be read: {reason}. It was left unchanged. It must be a regular file that belongs to the user whose "
        f"inference this is, with mode 0600: correct its owner, or name that user.",
        path=path,
    )


def permissions_are_right(path: str) -> bool:
    """Tell whether nobody but the owner can reach the token file and its folder; absent is not wrong."""
    file = Path(path)
    for place in [file, file.parent] if is_state_folder(path) else [file]:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_IMODE(place.stat().st_mode) & 0o077:
                return False
    return True


def is_state_folder(path: str) -> bool:
    """Tell whether the file lies in NemoClaw's own folder; one with another name is the user's own business."""
    return Path(path).parent.name == STATE_DIRECTORY


def render_gate_file(tokens: Iterable[str]) -> str:
    """Return the file: a plain string for each token, no regular expression (upstream-facts P10; CVE-2026-42533)."""
    return _HEAD + "".join(f'"Bearer {token}" 1;\n' for token in tokens)


def group_id(name: str, path: str) -> int:
    """Return the number of the group that may read the file.

    Raises:
        Failure: C(group_unknown).

    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Failure(
            "group_unknown",
            f"The file {path} must be readable by the group {name}, which this host does not have. Create the group, as the role proxy "
            f"does, or name another one with gate_group.",
        ) from None


def gate_file_exists(path: str) -> bool:
    """Tell whether the file is there."""
    return os.path.lexists(path)


def gate_file_is_right(path: str, text: str, gid: int | None) -> bool:
    """Tell whether the file holds the text, and is root's with the mode and the group that it has to have."""
    try:
        found = Path(path).lstat()
        right = stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_gid) == (os.geteuid(), gid)
        return (
            right and stat.S_IMODE(found.st_mode) == GATE_FILE_MODE and Path(path).read_text(encoding="utf-8") == text
        )
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise gate_unwritable(path, error) from error


def changed_since(stamp: str, paths: Iterable[str]) -> bool:
    """Tell whether a file is another one than nginx read last; without a stamp nothing was read yet that could be old.

    The unit writes the stamp: what C(sha256sum) prints of the files. Their times would not do, since a clock may be set back.
    """
    try:
        lines = Path(stamp).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    read = {path.strip(): digest for digest, _space, path in (line.partition(" ") for line in lines)}
    return any(
        hashlib.sha256(Path(path).read_bytes()).hexdigest() != read.get(path)
        for path in paths
        if gate_file_exists(path)
    )


def gate_unwritable(path: str, error: Exception) -> Failure:
    """Return the failure for a file of tokens that cannot be kept."""
    return Failure(
        "gate_unwritable",
        f"The auth proxy's tokens cannot be stored in {path}: {error}. The previous file is untouched. Run the task as root "
        "(become), and check that the folder exists and has space.",
        path=path,
    )
