# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a folder that plays share where Ansible keeps what it has packed of modules; payloads.py says why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: shared_payloads
type: aggregate
short_description: Share what is packed of modules
description:
  - Each release of ansible-core has a folder of its own, on each Python.
options:
  folder:
    description: Where they are.
    type: path
    required: true
    env:
      - name: SHARED_PAYLOADS
    ini:
      - section: callback_shared_payloads
        key: folder
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Looks at nothing that happens in a play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "shared_payloads"

    def set_options(self, *arguments: Any, **options: Any) -> None:
        """Put the folder in its place."""
        super().set_options(*arguments, **options)
        shared = Path(self.get_option("folder")) / f"{__version__}-py{sys.version_info[0]}.{sys.version_info[1]}"
        shared.mkdir(parents=True, exist_ok=True)
        # As `modify_module` of ansible/executor/module_common.py calls it. Ansible removes its own folder at the end, and the link with it.
        own = Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
        if not own.exists():
            own.symlink_to(shared)
