# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The claim of a rollout on a host: which controller is about to change it, C(local-inference.rollout.json) beside the route record.

It is what two controllers have in common that share no file. No secret is in it (decision 0031).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, read_file, working_on
from ..host.replace import replace_file
from ..untrusted import object_of, parse_json
from .record import is_state_directory
from .write import close_directory

# What tells one run of ansible-playbook from every other one.
IDENTITY = ("host", "machine", "boot", "pid_namespace", "pid", "process_started")
# What a user reads of it, and whether the folder was made for it.
_FIELDS = (*IDENTITY, "user", "since", "made_folder")
# The longest of them is a host name, which has 253 characters (RFC 1035). The owner of the host may write anything there.
_TEXT_LIMIT = 253
_READ_LIMIT = 16 * _TEXT_LIMIT
# It is held for as long as a small file takes to write: ten seconds are for a disk that is busy.
_ATTEMPTS, _PAUSE_S = 100, 0.1

Claim = dict[str, Any]


def claim_path(record: str) -> str:
    """Return where the claim lies beside a record."""
    path = Path(record)
    return str(path.with_name(f"{path.stem if path.suffix == '.json' else path.name}.rollout.json"))


def read_claim(path: str) -> Claim | None:
    """Return the claim; None where there is none, or none that names a process."""
    try:
        content = object_of(parse_json(read_file(path, _READ_LIMIT).decode("utf-8")))
    except (OSError, ValueError):
        return None
    found: Claim = {
        name: value[:_TEXT_LIMIT] if isinstance(value, str) else value
        for name, value in content.items()
        if name in _FIELDS and isinstance(value, (str, int))
    }
    texts = {*_FIELDS} - {"pid", "made_folder"}
    if not isinstance(found.get("pid"), int) or not all(isinstance(found.get(name), str) for name in texts):
        return None
    return found


def is_same(one: Claim, other: Claim) -> bool:
    """Tell whether both are of one run."""
    return all(one.get(name) == other.get(name) for name in IDENTITY)


def take(path: str, owner: Account, mine: Claim, instead_of: Claim | None = None) -> Claim | None:
    """Claim the host, and return the claim of another run where there is one, which then stays.

    Args:
        path: The claim.
        owner: Whose route it is.
        mine: Who claims it.
        instead_of: A claim that may be replaced, since whoever made it is gone.

    Raises:
        Failure: C(rollout_claim_unwritable).

    """
    try:
        with working_on(path, owner) as as_owner:
            folder = Path(path).parent
            is_new = not folder.exists()
            close_directory(folder)
            with _alone_in(folder):
                found = read_claim(path)
                if found and is_same(found, mine):
                    return None
                if found and not (instead_of and is_same(found, instead_of)):
                    return found
                made = {**mine, "made_folder": is_new or bool(found and found.get("made_folder"))}
                owned = (-1, -1) if as_owner else (owner.uid, owner.gid)
                replace_file(path, json.dumps(made, indent=2) + "\n", 0o600, *owned)
                return None
    except OSError as error:
        raise Failure(
            "rollout_claim_unwritable",
            f"Tried to claim this host for the rollout in {path}: {error}. Check that the file system has room and that the user owns "
            "the directory.",
        ) from error


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time find out whose the host is, and claim it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_PAUSE_S)
        else:
            raise BlockingIOError(errno.EAGAIN, "somebody else has locked it", str(folder))
        yield
    finally:
        os.close(handle)


def release(path: str, owner: Account, mine: Claim) -> bool:
    """Remove the claim where it is still this run's, with the folder that was made for it, and tell whether it was.

    Raises:
        Failure: C(rollout_claim_unwritable).

    """
    try:
        with working_on(path, owner):
            found = read_claim(path)
            if not found or not is_same(found, mine):
                return False
            Path(path).unlink()
            folder = Path(path).parent
            if found.get("made_folder") and is_state_directory(folder):
                with contextlib.suppress(OSError):  # Something lies in it by now.
                    folder.rmdir()
            return True
    except OSError as error:
        raise Failure(
            "rollout_claim_unwritable",
            f"Tried to end the rollout's claim on this host, {path}: {error}. Remove the file.",
        ) from error
