# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a folder that plays share where Ansible keeps what it has packed of modules, with their bytecode; payloads.py says why."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.executor.module_common import _CachedModule
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: shared_payloads
type: aggregate
short_description: Share what is packed of modules
description:
  - Each release of ansible-core has a folder of its own, for each Python of the hosts.
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
  python:
    description: A Python of the version that the hosts have; by default that of Ansible.
    type: path
    env:
      - name: PAYLOADS_PYTHON
"""
# Takes sources by name, and gives what `zipimport` looks for before it looks for the source, for this Python (PEP 552: nobody compares it
# with the source).
COMPILER = """
import importlib.util, marshal, pickle, sys
compiled = {}
for name, source in pickle.load(sys.stdin.buffer).items():
    code = marshal.dumps(compile(source, name, "exec", dont_inherit=True))
    compiled[name + "c"] = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + code
pickle.dump(compiled, sys.stdout.buffer)
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Looks at nothing that happens in a play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "shared_payloads"

    def set_options(self, *arguments: Any, **options: Any) -> None:
        """Put the folder in its place."""
        super().set_options(*arguments, **options)
        self._python = self.get_option("python") or sys.executable
        self._shared = Path(self.get_option("folder")) / f"{__version__}-{Path(self._python).resolve().name}"
        self._shared.mkdir(parents=True, exist_ok=True)
        # As `modify_module` of ansible/executor/module_common.py calls it. Ansible removes its own folder at the end, and the link with it.
        own = Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
        if not own.exists():
            own.symlink_to(self._shared)

    def v2_playbook_on_stats(self, _stats: object) -> None:
        """Compile what was packed for the first time."""
        with (self._shared / "compiled").open("a+", encoding="utf-8") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            record.seek(0)
            compiled = set(record.read().splitlines())
            # Beside each lies its lock; a name that ends in -part is one that is being written.
            packed = {lock.with_suffix("") for lock in self._shared.glob("*.lock")}
            for module in sorted(packed):
                if module.name not in compiled and module.exists():
                    self._compile(module)
                    record.write(f"{module.name}\n")

    def _compile(self, module: Path) -> None:
        packed = _CachedModule.load(str(module))
        archive = io.BytesIO(base64.b64decode(packed.zip_data))
        with zipfile.ZipFile(archive, "a", compression=zipfile.ZIP_DEFLATED) as opened:
            sources = {name: opened.read(name) for name in opened.namelist() if name.endswith(".py")}
            argv = [self._python, "-I", "-c", COMPILER]
            answer = subprocess.run(
                argv, input=pickle.dumps(sources), stdout=subprocess.PIPE, check=True, timeout=60
            ).stdout
            for name, code in pickle.loads(answer).items():
                opened.writestr(name, code)
        dataclasses.replace(packed, zip_data=base64.b64encode(archive.getvalue())).dump(str(module))
