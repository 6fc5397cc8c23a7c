# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NemoClaw's program: what it is given, what is heard of it, and its end. Scripts stand for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import NemoClaw, find_nemoclaw
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.run import Ended, run_nemoclaw


def nemoclaw(folder: Path, script: str, **environ: str) -> NemoClaw:
    path = folder / "nemoclaw"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    account = find_account()._replace(home=str(folder))
    return NemoClaw(Machine(environ={"PATH": os.environ["PATH"], **environ}), account, str(path))


def run(program: NemoClaw, silence: float = 30.0, **own: str) -> tuple[Ended, list[str]]:
    heard: list[str] = []
    return run_nemoclaw(program, ["onboard"], own, silence, heard.append), heard


def test_lines_come_without_colours_and_without_blanks(tmp_path: Path) -> None:
    ended, heard = run(
        nemoclaw(tmp_path, r"printf '\033[32m[1/8] Preflight\033[0m\n\n  \r50 %%\r100 %%\n'; echo last >&2; exit 3")
    )
    assert heard == ["[1/8] Preflight", "50 %", "100 %", "last"]
    assert ended == Ended(3, tuple(heard))


def test_the_last_lines_are_kept_however_much_there_is(tmp_path: Path) -> None:
    ended, heard = run(
        nemoclaw(tmp_path, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf '%09999d' 1")
    )
    assert len(heard) > 3000
    assert ended.lines[-2].startswith("0" * 100) or ended.lines[-1].startswith("0" * 100)
    assert len(ended.lines) == 40
    assert max(map(len, heard)) <= 4096


def test_silence_ends_it_and_its_children(tmp_path: Path) -> None:
    # The child holds the output open, and does not end when it is asked to.
    script = "(trap '' TERM; echo child; while :; do sleep 600; done) & echo $! > pid; wait"
    ended, heard = run(nemoclaw(tmp_path, script), silence=0.5)
    assert (ended.code, heard) == (None, ["child"])
    status = Path("/proc", (tmp_path / "pid").read_text(encoding="ascii").strip(), "stat")
    deadline = time.monotonic() + 10
    # A process that has ended may stay in the table until somebody asks for its status.
    while status.exists() and status.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the child goes on"
        time.sleep(0.01)


def test_a_child_that_keeps_the_output_open_does_not_keep_it(tmp_path: Path) -> None:
    """As a daemon does that NemoClaw started: it is left alone, and the end is the program's."""
    ended, heard = run(nemoclaw(tmp_path, "sleep 600 & echo $! > pid; echo started; printf rest; exit 0"), silence=20)
    assert (ended.code, heard) == (0, ["started", "rest"])
    child = int((tmp_path / "pid").read_text(encoding="ascii"))
    os.kill(child, 0)
    os.kill(child, 9)
    began = time.monotonic()
    ended, heard = run(nemoclaw(tmp_path, "while :; do echo busy; done & echo $! > pid; echo last; exit 3"), silence=20)
    os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), 9)
    assert ended.code == 3
    assert time.monotonic() - began < 15, "it was listened to until the child ended"


def test_words_keep_it_alive(tmp_path: Path) -> None:
    ended, heard = run(nemoclaw(tmp_path, "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done"), silence=1.2)
    assert (ended.code, len(heard)) == (0, 6)


def test_what_it_is_given(tmp_path: Path) -> None:
    stray = {
        "OPENAI_API_KEY": "stray",
        "NEMOCLAW_PROVIDER_KEY": "stray",
        "NEMOCLAW_RECREATE_SANDBOX": "1",
        "COMPATIBLE_API_KEY": "stray",
        "HOME": "/elsewhere",
    }
    wanted = {"NEMOCLAW_POLICY_TIER": "restricted", "HTTPS_PROXY": "http://proxy:1", "DOCKER_HOST": "unix:///x"}
    program = nemoclaw(tmp_path, "env", **stray, **wanted)
    given = dict(line.partition("=")[::2] for line in run(program, COMPATIBLE_API_KEY="ours")[1])
    assert {name: given[name] for name in wanted} == wanted
    assert (given["COMPATIBLE_API_KEY"], given["HOME"]) == ("ours", str(tmp_path))
    assert not {"OPENAI_API_KEY", "NEMOCLAW_PROVIDER_KEY", "NEMOCLAW_RECREATE_SANDBOX"} & given.keys()
    folders = given["PATH"].split(":")
    assert folders[0] == str(tmp_path), "where openshell may stand beside it"
    assert f"{tmp_path}/.local/bin" in folders


@pytest.mark.parametrize("executable", [None, "nemoclaw", "/nowhere/nemoclaw"])
def test_without_it(tmp_path: Path, executable: str | None) -> None:
    machine = Machine(root=tmp_path, environ={"PATH": str(tmp_path)})
    with pytest.raises(Failure) as raised:
        find_nemoclaw(machine, find_account()._replace(home="/home/alice"), executable)
    assert raised.value.code == "nemoclaw_missing"


def test_it_is_found_where_its_installer_puts_it(tmp_path: Path) -> None:
    path = tmp_path / "home/alice/.local/bin/nemoclaw"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    machine = Machine(root=tmp_path, environ={"PATH": ""})
    assert find_nemoclaw(machine, find_account()._replace(home="/home/alice")).path == "/home/alice/.local/bin/nemoclaw"


def test_one_that_cannot_be_started(tmp_path: Path) -> None:
    program = nemoclaw(tmp_path, "")
    (tmp_path / "nemoclaw").write_text("#!/nowhere/node\n", encoding="utf-8")
    with pytest.raises(Failure) as raised:
        run(program)
    assert raised.value.code == "nemoclaw_missing"


def test_waiting_for_the_same_does_not_keep_it_alive(tmp_path: Path) -> None:
    script = 'i=0; while :; do i=$((i+1)); echo "  Still building (${i}s elapsed)"; sleep 0.1; done'
    ended, heard = run(nemoclaw(tmp_path, script), silence=1)
    assert ended.code is None
    assert len(heard) > 3


def test_what_it_does_may_take_longer(tmp_path: Path) -> None:
    heard: list[str] = []
    program = nemoclaw(tmp_path, "echo quick; sleep 0.8; echo slow; exit 0")
    ended = run_nemoclaw(program, ["onboard"], {}, lambda: 20.0 if heard else 0.2, heard.append)
    assert (ended.code, heard) == (0, ["quick", "slow"])


@pytest.mark.parametrize(
    ("said", "release"), [("nemoclaw v0.0.58", (0, 0, 58)), ("v0.0.97-12-gabc", (0, 0, 97)), ("what?", None)]
)
def test_its_release(tmp_path: Path, said: str, release: tuple[int, ...] | None) -> None:
    assert nemoclaw(tmp_path, f"echo '{said}'").release() == release


def test_its_flags(tmp_path: Path) -> None:
    script = "echo '  $ nemoclaw inference set --provider <provider> [--no-verify]'; echo '      --inference-api=<value>  API'"
    assert nemoclaw(tmp_path, script).flags("inference", "set") == {"--provider", "--no-verify", "--inference-api"}


def test_keys_of_others_and_settings_that_decide(tmp_path: Path) -> None:
    program = nemoclaw(
        tmp_path,
        "",
        NVIDIA_INFERENCE_API_KEY="k",
        OPENAI_API_KEY="k",
        NEMOCLAW_TRUSTED_PRIVATE_HOSTS="nim.example",
        NEMOCLAW_SANDBOX_BASE_IMAGE_REF="mirror/base",
        NEMOCLAW_MODEL="other",
    )
    environ = program.environ({})
    assert environ["NEMOCLAW_TRUSTED_PRIVATE_HOSTS"] == "nim.example"
    assert environ["NEMOCLAW_SANDBOX_BASE_IMAGE_REF"] == "mirror/base"
    assert not {"NVIDIA_INFERENCE_API_KEY", "OPENAI_API_KEY", "NEMOCLAW_MODEL"} & set(environ)
