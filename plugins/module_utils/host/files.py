# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Replace a file in one step: whoever reads it sees the old content or the new, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: str, text: str, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Write C(text) beside C(path) and move it there; what was there stays until then.

    Args:
        path: The file; its folder has to be there.
        text: Its new content.
        mode: Its permissions; it never has wider ones on the way.
        uid: Its owner; -1 is the user of this process.
        gid: Its group; -1 is that of this process.

    Raises:
        OSError: Nothing was changed.

    """
    folder, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
