# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(nemoclaw inference set) that fails: what it did is undone. Scripts stand for NemoClaw and for OpenShell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.inference import Wish, have
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.program import NemoClaw
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.releases import Release

WISH = Wish("lab", "compatible-endpoint", "new")
# It records what it was told, leads the gateway there with a timeout of its own, and ends as its first words say.
NEMOCLAW = """#!/bin/sh
cd HERE
echo "$4 $6" >> told
echo "{\\"sandboxes\\": {\\"lab\\": {\\"provider\\": \\"$4\\", \\"model\\": \\"$6\\"}}}" > .nemoclaw/sandboxes.json
printf 'Gateway inference:\\n\\n  Provider: %s\\n  Model: %s\\n  Version: 2\\n' "$4" "$6" > route
[ "$6" = new ] && { echo "no sandbox answers"; exit 1; }
exit FAILS
"""
OPENSHELL = """#!/bin/sh
cd HERE
case "$1 $2" in
  "inference get") cat route ;;
  "sandbox list") echo '[]' ;;
  "inference set") printf 'Gateway inference:\\n\\n  Provider: %s\\n  Model: %s\\n  Timeout: %ss\\n' "$4" "$6" "$8" > route ;;
  *) exit 99 ;;
esac
"""


def program(path: Path, body: str) -> str:
    path.write_text(body.replace("HERE", str(path.parent)), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("fails", "said"), [(0, "NemoClaw was told of old by ollama-local again"), (1, "could not be told")]
)
def test_half_of_its_work_is_undone(tmp_path: Path, fails: int, said: str) -> None:
    (tmp_path / ".nemoclaw").mkdir()
    registry = tmp_path / ".nemoclaw" / "sandboxes.json"
    registry.write_text('{"sandboxes": {"lab": {"provider": "ollama-local", "model": "old"}}}', encoding="utf-8")
    (tmp_path / "route").write_text(
        "Gateway inference:\n\n  Provider: ollama-local\n  Model: old\n  Version: 1\n  Timeout: 240s\n",
        encoding="utf-8",
    )
    account = find_account()._replace(home=str(tmp_path))
    machine = Machine(environ={"PATH": "/usr/bin:/bin"})
    nemoclaw = NemoClaw(machine, account, program(tmp_path / "nemoclaw", NEMOCLAW.replace("FAILS", str(fails))))
    cli = OpenShell(machine, account, program(tmp_path / "openshell", OPENSHELL), Release((0, 0, 83)))
    with pytest.raises(Failure, match=said) as raised:
        have(nemoclaw, cli, WISH, check_mode=False)
    assert raised.value.code == "nemoclaw_set_failed"
    assert (tmp_path / "told").read_text(encoding="utf-8").split() == [
        "compatible-endpoint",
        "new",
        "ollama-local",
        "old",
    ]
    assert json.loads(registry.read_text(encoding="utf-8"))["sandboxes"]["lab"] == {
        "provider": "ollama-local",
        "model": "old",
    }
    assert "The gateway leads to old by ollama-local again" in raised.value.message
    assert "Timeout: 240s" in (tmp_path / "route").read_text(encoding="utf-8"), "NemoClaw's own command leaves 60 s"
