# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drop-in, what systemd would make of it, and whose a process is; against systemd itself in molecule's ollama_service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import (
    Systemd,
    UnitState,
    parse_environment,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import dropin, presence
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.presence import Found, Holder
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.processes import reason_in
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import (
    converge,
    prove,
    write_drop_in,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service_plan import Desired

WANTED = {"OLLAMA_HOST": "127.0.0.1:11434"}
FOLDER = "/etc/systemd/system/ollama.service.d"


def put(root: Path, path: str, text: str) -> str:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return path


def unit(**values: Any) -> UnitState:
    usual: dict[str, Any] = {
        "name": "ollama.service", "known": True, "active": "active", "pid": 7, "environment": dict(WANTED), "files": [],
        "environment_files": [], "stale": False, "enabled": True, "result": "success",
    }  # fmt: skip
    return UnitState(**{**usual, **values})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("A=1 B=2 A=3", {"A": "3", "B": "2"}),
        ('"A=x y" B=', {"A": "x y", "B": ""}),
        ("A=it's", {"A": "it's"}),
        # As systemd 255 shows Environment="A=$HOME \\ `x` \"y\""
        (r'"A=\$HOME \\ \`x\` \"y\""', {"A": r'$HOME \ `x` "y"'}),
        ("nothing", {}),
    ],
)
def test_what_systemctl_shows(text: str, found: dict[str, str]) -> None:
    assert parse_environment(text) == found


def test_the_drop_in_comes_last_and_quotes() -> None:
    assert sorted(["override.conf", "60-mine.conf", dropin.FILE_NAME])[-1] == dropin.FILE_NAME
    wanted = dropin.wanted_environment(11500, {"A": 'say "hi" \\ 100%', "B": 7})
    assert dropin.render(wanted).splitlines()[-4:] == [
        "[Service]",
        'Environment="OLLAMA_HOST=127.0.0.1:11500"',
        'Environment="A=say \\"hi\\" \\\\ 100%%"',
        'Environment="B=7"',
    ]


@pytest.mark.parametrize(
    "more", [{"OLLAMA_HOST": "0.0.0.0"}, {"A B": "1"}, {"A": "x\nExecStart=/bin/sh"}, {"": "1"}, {"A": "\0"}]
)
def test_variables_that_cannot_be_set(more: dict[str, str]) -> None:
    with pytest.raises(Failure) as failed:
        dropin.wanted_environment(11434, more)
    assert failed.value.code == "environment_invalid"


@pytest.mark.parametrize(
    ("platform", "folder", "wanted"),
    [
        ("dgx-spark", "opt/ollama/lib/ollama/cuda_v13", True),  # beside the program
        ("dgx-spark", "usr/local/lib/ollama/cuda_v13", True),
        ("dgx-spark", "usr/local/lib/ollama/cuda_v12", False),
        ("dgx-station", "usr/local/lib/ollama/cuda_v13", False),
        ("linux", "usr/local/lib/ollama/cuda_v13", False),
    ],
)
def test_the_library_of_a_spark(tmp_path: Path, platform: str, folder: str, wanted: bool) -> None:
    (tmp_path / folder).mkdir(parents=True)
    program = put(tmp_path, "/opt/ollama/bin/ollama", "")
    found = dropin.spark_environment(Machine(root=tmp_path), platform, program)
    assert found == ({"OLLAMA_LLM_LIBRARY": "cuda_v13"} if wanted else {})


def test_nothing_overrules() -> None:
    assert dropin.overruled_by(Machine(), unit(), WANTED) is None


def test_a_later_drop_in_is_named(tmp_path: Path) -> None:
    files = [
        put(tmp_path, f"{FOLDER}/{dropin.FILE_NAME}", "[Service]\nEnvironment=OLLAMA_HOST=127.0.0.1:11434\n"),
        put(tmp_path, f"{FOLDER}/zzz.conf", "[Service]\n# Environment=X=1\nEnvironment=OLLAMA_HOST=0.0.0.0\n"),
        put(tmp_path, f"{FOLDER}/zzzz.conf", "[Service]\nNice=5\n"),
    ]
    state = unit(environment={"OLLAMA_HOST": "0.0.0.0"}, files=files)
    failure = dropin.overruled_by(Machine(root=tmp_path), state, WANTED)
    assert failure and failure.code == "drop_in_overruled"
    file = f"{FOLDER}/zzz.conf"
    assert failure.details == {"variables": ["OLLAMA_HOST"], "files": [file], "places": [f"{file}:3"]}
    assert f"{file}:3 (OLLAMA_HOST=0.0.0.0)" in failure.message


def test_an_empty_environment_line_takes_everything_back(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{FOLDER}/zzz.conf", "[Service]\nEnvironment=\n")]
    failure = dropin.overruled_by(Machine(root=tmp_path), unit(environment={}, files=files), WANTED)
    assert failure and failure.details["files"] == files


@pytest.mark.parametrize(
    ("text", "overruled"),
    [
        ("OLLAMA_HOST=0.0.0.0\n", True),
        ("OLLAMA_HOST=0.0.0.0\nOLLAMA_HOST='127.0.0.1:11434'\n", False),
        ("#OLLAMA_HOST=0.0.0.0\n", False),
        ("OTHER=1\n", False),
    ],
)
def test_an_environment_file_wins_over_lines(tmp_path: Path, text: str, overruled: bool) -> None:
    path = put(tmp_path, "/etc/default/ollama", text)
    failure = dropin.overruled_by(Machine(root=tmp_path), unit(environment_files=[path]), WANTED)
    assert (failure.details["files"] if failure else None) == ([path] if overruled else None)


def test_the_last_environment_file_counts(tmp_path: Path) -> None:
    paths = [
        put(tmp_path, "/etc/a", "OLLAMA_HOST=0.0.0.0\n"),
        put(tmp_path, "/etc/b", "OLLAMA_HOST=127.0.0.1:11434\n"),
    ]
    assert dropin.overruled_by(Machine(root=tmp_path), unit(environment_files=paths), WANTED) is None
    failure = dropin.overruled_by(Machine(root=tmp_path), unit(environment_files=paths[::-1]), WANTED)
    assert failure and failure.details["files"] == ["/etc/a"]


def test_a_pattern_of_environment_files(tmp_path: Path) -> None:
    put(tmp_path, "/etc/ollama.d/.hidden.env", "OLLAMA_HOST=0.0.0.0\n")
    put(tmp_path, "/etc/ollama.d/10-a.env", "# the lab\nOLLAMA_HOST=0.0.0.0:11434\n")
    state = unit(environment_files=["/etc/ollama.d/*.env"])
    failure = dropin.overruled_by(Machine(root=tmp_path), state, WANTED)
    assert failure and failure.details["places"] == ["/etc/ollama.d/10-a.env:2"]
    assert "/etc/ollama.d/10-a.env:2 (OLLAMA_HOST=0.0.0.0:11434)" in failure.message
    put(tmp_path, "/etc/ollama.d/20-b.env", 'OLLAMA_HOST="127.0.0.1:11434"\n')  # systemd reads them by name
    assert dropin.overruled_by(Machine(root=tmp_path), state, WANTED) is None


@pytest.mark.parametrize(
    ("text", "more", "value", "place"),
    [
        (
            "[Service]\nExecStart=/usr/bin/env \\\n  OLLAMA_HOST=0.0.0.0 /usr/local/bin/ollama serve\n",
            {"command": "{ path=/usr/bin/env ; argv[]=/usr/bin/env OLLAMA_HOST=0.0.0.0 /usr/local/bin/ollama serve ; ignore_errors=no }"},
            "OLLAMA_HOST=0.0.0.0", 2,
        ),
        ("[Service]\nUnsetEnvironment=LANG OLLAMA_HOST\n", {"unset": ("LANG", "OLLAMA_HOST")}, "takes OLLAMA_HOST away", 2),
    ],
)  # fmt: skip
def test_what_wins_over_every_file(tmp_path: Path, text: str, more: dict[str, Any], value: str, place: int) -> None:
    path = put(tmp_path, "/etc/systemd/system/ollama.service", text)
    failure = dropin.overruled_by(Machine(root=tmp_path), unit(files=[path], **more), WANTED)
    assert failure and failure.details["places"] == [f"{path}:{place}"]
    assert value in failure.message
    same = {**more, "unset": (), "command": "{ argv[]=/usr/bin/env OLLAMA_HOST=127.0.0.1:11434 ollama serve ; }"}
    assert dropin.overruled_by(Machine(root=tmp_path), unit(files=[path], **same), WANTED) is None


@pytest.mark.parametrize("value", ["secret", "a b"])
def test_no_other_value_is_shown(tmp_path: Path, value: str) -> None:
    path = put(tmp_path, "/etc/a", f"MY_KEY={value}\n")
    failure = dropin.overruled_by(Machine(root=tmp_path), unit(environment_files=[path]), {"MY_KEY": "1"})
    assert failure and value not in str(failure.as_result())
    assert f"{path}:1" in failure.message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Started ollama.service.", "Error: mkdir /x: permission denied", "ollama.service: Failed"], "Error: mkdir /x: permission denied"),
        (["time=1 level=ERROR source=a msg=x", "goroutine 1 [running]:"], "time=1 level=ERROR source=a msg=x"),
        (["Couldn't find '/x/id'.", "ollama.service: Main process exited, code=exited, status=203/EXEC"], "Couldn't find '/x/id'"),
        (["ollama.service: Scheduled restart job, restart counter is at 2."], None),
        ([], None),
    ],
)  # fmt: skip
def test_the_line_that_says_why(lines: list[str], said: str | None) -> None:
    assert reason_in(lines) == said


def test_the_drop_in_is_written_beside_others(tmp_path: Path) -> None:
    machine, path = Machine(root=tmp_path), dropin.path_for("ollama.service")
    mine = put(tmp_path, f"{FOLDER}/override.conf", "mine")
    write_drop_in(machine, path, "text")
    assert (dropin.read(machine, path), machine.read(mine)) == ("text", "mine")
    assert machine.path(path).stat().st_mode & 0o777 == 0o644
    write_drop_in(machine, path, None)
    write_drop_in(machine, path, None)
    assert machine.names(FOLDER) == ["override.conf"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    put(tmp_path, "/etc/systemd/system", "a file where the folder should be")
    with pytest.raises(Failure) as failed:
        write_drop_in(Machine(root=tmp_path), dropin.path_for("ollama.service"), "text")
    assert failed.value.code == "drop_in_unwritable"
    assert "become: true" in failed.value.message


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("0::/system.slice/ollama.service\n", ("ollama.service", False)),
        (
            "12:cpu:/x\n1:name=systemd:/system.slice/my-llm.service\n0::/system.slice/my-llm.service\n",
            ("my-llm.service", False),
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service\n", ("ollama.service", True)),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", (None, False)),
        ("0::/user.slice/user-1000.slice/user@1000.service/tmux.scope\n", (None, False)),
        ("0::/\n", (None, False)),
        ("", (None, False)),
    ],
)
def test_whose_a_process_is(tmp_path: Path, text: str, origin: tuple[Any, bool]) -> None:
    put(tmp_path, "/proc/7/cgroup", text)
    assert presence.origin_of(Machine(root=tmp_path), 7) == origin


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process another root directory")
def test_a_real_process_with_other_files_is_contained(tmp_path: Path) -> None:
    # Seen with docker run --network host as well: the root directory is another one, as it is here.
    wait = "import os, signal, sys; os.chroot(sys.argv[1]); print('there', flush=True); signal.pause()"
    for root, is_contained in ((str(tmp_path), True), ("/", False)):
        with subprocess.Popen([sys.executable, "-c", wait, root], stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"there\n"
            assert presence.is_contained(Machine(), process.pid) is is_contained
            process.kill()
        assert presence.is_contained(Machine(), process.pid) is False  # it is gone


def listener(scope: str, process: str | None) -> dict[str, Any]:
    return {
        "address": "::" if scope != "loopback" else "127.0.0.1",
        "port": 1,
        "scope": scope,
        "process": process,
        "pid": 7,
        "user": "me",
        "uid": 1000,
    }


@pytest.mark.parametrize(
    ("scope", "process", "kind", "remedy"),
    [
        ("any", "ollama", "", "supervisor"),
        ("address", "ollama", "users", "systemctl --user edit ollama.service"),
        ("any", "ollama", "contained", "OLLAMA_HOST=127.0.0.1:1 in its environment"),
        ("any", "docker-proxy", "", "publish it on 127.0.0.1"),
        ("loopback", "ollama", "", None),
    ],
)
def test_what_is_open_fails(scope: str, process: str, kind: str, remedy: str | None) -> None:
    origin = presence.Origin("ollama.service", kind == "users")
    holder = Holder(7, "me", origin, kind == "contained", scope != "loopback")
    found = Found([listener("loopback", "ollama"), listener(scope, process)], [holder], None, True)
    if remedy is None:
        prove(Machine(), found, 1)
        return
    with pytest.raises(Failure) as failed:
        prove(Machine(), found, 1)
    assert failed.value.code == "ollama_exposed"
    assert remedy in failed.value.message


def test_an_answer_from_elsewhere_is_no_success(tmp_path: Path) -> None:
    nobody = Found([], [], None, False)
    prove(Machine(root=tmp_path), nobody, 1)  # where the kernel shows no sockets, there is nothing to judge by
    put(tmp_path, "/proc/net/tcp", "")
    with pytest.raises(Failure) as failed:
        prove(Machine(root=tmp_path), nobody, 1)
    assert failed.value.code == "ollama_not_started"
    assert "no process of this host listens there" in failed.value.message


# A systemctl that knows the questions and keeps a list of the orders; systemd itself cannot run in a unit test.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{log}
case "$*" in
  *show*) cat {shown} ;;
  *daemon-reload* | *enable*) ;;
  *restart*) echo "Failed to restart ollama.service: Access denied" >&2; exit 4 ;;
  *) echo "this stand-in knows no $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    put(tmp_path, "/run/systemd/system/x", "")
    shown = tmp_path / "shown"
    shown.write_text(
        "LoadState=loaded\nActiveState=inactive\nMainPID=0\nUnitFileState=disabled\nNeedDaemonReload=no\nResult=success\n"
        "Environment=OLLAMA_HOST=127.0.0.1:1 A=b\nFragmentPath=/etc/systemd/system/ollama.service\nDropInPaths=\n"
        "EnvironmentFiles=/etc/default/ollama (ignore_errors=yes)\nEnvironmentFiles=/etc/my ollama (ignore_errors=no)\n",
        encoding="utf-8",
    )
    put(tmp_path, "/usr/bin/systemctl", SYSTEMCTL.format(log=tmp_path / "log", shown=shown))
    (tmp_path / "usr/bin/systemctl").chmod(0o755)
    put(tmp_path, "/proc/net/tcp", "")
    return Machine(root=tmp_path, environ={"PATH": "/usr/bin"})


def test_what_systemd_says_of_a_unit(host: Machine) -> None:
    state = Systemd(host).show("ollama.service")
    assert state.environment == {"OLLAMA_HOST": "127.0.0.1:1", "A": "b"}
    assert (state.known, state.active, state.pid, state.enabled) == (True, "inactive", 0, False)
    assert state.environment_files == ["/etc/default/ollama", "/etc/my ollama"]


def test_check_mode_writes_nothing(host: Machine) -> None:
    report, _found = converge(host, find_account(), Desired("started", 1, {}, True, 1), True)
    assert report.actions == [f"write {FOLDER}/zz-nemoclaw.conf", "enable ollama.service", "start ollama.service"]
    assert report.after.endswith('Environment="OLLAMA_HOST=127.0.0.1:1"\n')
    assert not host.exists(FOLDER)


def test_who_may_not_restart_is_told(host: Machine) -> None:
    with pytest.raises(Failure) as failed:
        converge(host, find_account(), Desired("started", 1, {}, True, 1), False)
    assert failed.value.code == "root_needed"


def test_what_would_not_hold_is_taken_back(host: Machine) -> None:
    with pytest.raises(Failure) as failed:
        converge(host, find_account(), Desired("started", 2, {}, True, 1), False)
    assert failed.value.code == "drop_in_overruled"
    assert host.names(FOLDER) == []
    orders = (host.read("/log") or "").splitlines()
    assert sum("daemon-reload" in order for order in orders) == 2
    assert not any("restart" in order for order in orders)
