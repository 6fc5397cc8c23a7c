# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The tokens as nginx reads them: lines of its C(map), included by the gate's configuration.

Made on the host, so that no token travels to the controller and back.
"""

from __future__ import annotations

import grp
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.files import replace_file

MODE = 0o640
_HEAD = "# Made by nemoclaw.local_inference.proxy_token: the headers that open the gate. Changes are overwritten.\n"


def render(tokens: Iterable[str]) -> str:
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
            f"The file {path} is to be readable by the group {name}, which this host does not have. Create the group, "
            "which the role proxy does, or name another one with gate_group.",
        ) from None


def exists(path: str) -> bool:
    """Tell whether the file is there."""
    return os.path.lexists(path)


def is_right(path: str, text: str, gid: int | None) -> bool:
    """Tell whether the file holds the text, and is root's with the mode and the group that it has to have."""
    try:
        found = Path(path).lstat()
        right = stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_gid) == (os.geteuid(), gid)
        return right and stat.S_IMODE(found.st_mode) == MODE and Path(path).read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise _unwritable(path, error) from error


def write(path: str, text: str, gid: int) -> None:
    """Replace the file in one step.

    Raises:
        Failure: C(gate_unwritable); the old file is then still in place.

    """
    try:
        replace_file(path, text, MODE, -1, gid)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove(path: str) -> None:
    """Remove the file; absent is fine."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def changed_since(stamp: str, paths: Iterable[str]) -> bool:
    """Tell whether a file is another one than nginx read last; without a stamp nothing was read yet that could be old.

    The unit writes the stamp: what C(sha256sum) prints of the files. Their times would not do, since a clock may be set back.
    """
    try:
        lines = Path(stamp).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    read = {path.strip(): digest for digest, _space, path in (line.partition(" ") for line in lines)}
    return any(hashlib.sha256(Path(path).read_bytes()).hexdigest() != read.get(path) for path in paths if exists(path))


def _unwritable(path: str, error: Exception) -> Failure:
    return Failure(
        "gate_unwritable",
        f"The tokens of the gate cannot be kept in {path}: {error}. What was there is untouched. Run the task as root "
        "(become), and check that the folder exists and has room.",
        path=path,
    )
