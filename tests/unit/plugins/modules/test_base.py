# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that is ended by a signal, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

# ansible-test finds the collection by a hook of its own, which another process has not.
COLLECTIONS = Path(failure.__file__).parents[5]
ENVIRON = {"PYTHONPATH": ":".join([str(COLLECTIONS), *filter(None, sys.path)]), "PATH": "/usr/bin:/bin"}
MODULE = """
import sys, time
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.base import create_module
with patch_module_args({}):
    create_module({})
try:
    print("begun", flush=True)
    for _ in range(400):  # a signal just before one long sleep would be heard after it
        time.sleep(0.05)
finally:
    print("cleaned", flush=True)
    time.sleep(0.2)
    print("up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_begun_is_cleaned_up(number: signal.Signals) -> None:
    """0.1.0 died of SIGTERM at once, and left a download container with the user's token in its environment."""
    # Whoever runs the tests may ignore the signal (nohup), and children inherit that.
    heard = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)"
    words = [sys.executable, "-c", heard + MODULE]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON) as module:
        assert module.stdout is not None
        assert module.stdout.readline() == "begun\n"
        module.send_signal(number)
        assert module.stdout.readline() == "cleaned\n"
        module.send_signal(number)
        assert module.communicate(timeout=20) == ("up\n", "")
    assert module.returncode == 128 + number


def test_what_is_ignored_stays_ignored() -> None:
    asked = MODULE.partition("try")[0] + "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    words = ["nohup", sys.executable, "-c", asked]
    done = subprocess.run(words, env=ENVIRON, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "True\n"
