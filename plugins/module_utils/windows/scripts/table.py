# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Every script that is ever sent to Windows, by name: what the stand-in knows, and what the tests parse."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.change import (
    SET_VARIABLE,
    START,
    STOP,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.install import INSTALL
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.look import LOOK

SCRIPTS = {"look": LOOK, "set_variable": SET_VARIABLE, "stop": STOP, "start": START, "install": INSTALL}
