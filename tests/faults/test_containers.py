# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that downloads, on a real engine: its environment has the user's token, so it goes with the run that is broken off."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import oneshot
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine, connect
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Ended
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from harness import Table

pytestmark = pytest.mark.filterwarnings("ignore:This process")


def engine() -> Engine:
    return connect(Machine(), find_account())


def download(work: Spec) -> None:
    oneshot.run(engine(), work, lambda: oneshot.Amount(0, None, time.time()), 60, "Working")


def end(number: int, _frame: object) -> None:
    raise Ended(128 + number)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda blow: blow.name)
def test_a_download_is_broken_off(table: Table, blow: signal.Signals) -> None:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    name = f"nemoclaw-faults-{secrets.token_hex(4)}"
    image = os.environ["LAB_FIREWALL_IMAGE"]
    work = Spec(name=name, kind="vllm", image=image, command=("sleep", "300"), restart=False, secrets={"HF_TOKEN": "t"})
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, end)  # as every module does
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with contextlib.suppress(BaseException):
            download(work)
        os._exit(0)
    try:
        deadline = time.monotonic() + 60
        while not ((engine().container(name) or {}).get("State") or {}).get("Running"):
            assert time.monotonic() < deadline, "it does not start"
            time.sleep(0.2)
        os.kill(pid, blow)
        os.waitpid(pid, 0)
        assert (engine().container(name) is None) == (blow != signal.SIGKILL), "its environment has the token"
        # The next run has less to do: what is left does not stand in its way.
        done = Spec(**{**work.__dict__, "command": ("true",)})
        download(done)
        assert engine().container(name) is None
    finally:
        engine().remove(name)
    table.row("vllm_container: download", blow.name, 1, "-", "-")
