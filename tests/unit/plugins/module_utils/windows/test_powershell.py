# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to PowerShell: what is sent, what is read, and why it does not work."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import powershell_double
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows import powershell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.powershell import (
    MAX_COMMAND_LINE,
    PowerShell,
    parse_answer,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.presence import read
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts import (
    INSTALL,
    LOOK,
    SET_VARIABLE,
    START,
    STOP,
    encoded,
    with_parameters,
)
from wsl_laptop import Laptop


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path, by_process=True)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ('NEMOCLAW-ANSWER:{"a": 1}', {"a": 1}),
        ('\ufeffNEMOCLAW-ANSWER:{"a": 1}\r\n', {"a": 1}),
        ('Guten Tag\r\n\r\nNEMOCLAW-ANSWER:{"a": "J\\u00f6rg"}\r\nbye\r\n', {"a": "J\u00f6rg"}),
        ('prompt> NEMOCLAW-ANSWER:{"a": 1}', {"a": 1}),
        ('NEMOCLAW-ANSWER:{"a": 1}\nNEMOCLAW-ANSWER:{"a": 2}\n', {"a": 2}),
        ('NEMOCLAW-ANSWER:{"a": 1}\nNEMOCLAW-ANSWER:{"a": \n', {"a": 1}),
        ("".join(f"{character}\0" for character in 'NEMOCLAW-ANSWER:{"a": 1}\r\n'), {"a": 1}),
        ('{"a": 1}', None),
        ("NEMOCLAW-ANSWER:[1]", None),
        ("", None),
    ],
)
def test_an_answer_is_found_in_what_stands_around_it(output: str, answer: Any) -> None:
    assert parse_answer(output) == answer


@pytest.mark.parametrize("value", ["'; Remove-Item C:\\ -Recurse #", "$(calc.exe)", "J\u00f6rg `n \u2019", '"\n"'])
def test_parameters_are_never_code(value: str) -> None:
    text = with_parameters(LOOK, {"value": value})
    first, _newline, rest = text.partition("\n")
    assert rest == LOOK
    assert first.startswith("$NemoclawInput = '")
    given = first[len("$NemoclawInput = '") : -1]
    assert json.loads(base64.b64decode(given, validate=True)) == {"value": value}


@pytest.mark.parametrize("script", [LOOK, SET_VARIABLE, STOP, START, INSTALL])
def test_a_script_fits_a_command_line_of_windows(script: str) -> None:
    assert len(encoded(with_parameters(script, {"source": "x" * 1000}))) < MAX_COMMAND_LINE
    assert script.isascii()


def test_the_app_is_stopped_before_the_daemon_that_it_would_start_again() -> None:
    assert STOP.index("'ollama app.exe'") < STOP.index("'ollama.exe'")


def test_the_app_is_taken_from_the_installation_that_has_one() -> None:
    found = read(
        {"candidates": [{"path": "C:\\shim\\ollama.exe", "app": None}, {"path": "C:\\o.exe", "app": "C:\\a.exe"}]}
    )
    assert (found.path, found.app) == ("C:\\shim\\ollama.exe", "C:\\a.exe")


@pytest.mark.parametrize("misbehave", [[], ["banner"], ["utf16"]])
def test_what_stands_around_an_answer_does_not_matter(laptop: Laptop, misbehave: list[str]) -> None:
    found = laptop.boot("running", misbehave=misbehave).look()
    assert (found.user, found.bind) == ("LAPTOP\\J\u00f6rg M\u00fcller", "all")
    assert found.path == "C:\\Users\\J\u00f6rg M\u00fcller\\AppData\\Local\\Programs\\Ollama\\ollama.exe"


@pytest.mark.parametrize(
    ("misbehave", "code", "words"),
    [
        ("localised", "powershell_failed", "berpr"),
        ("garbage", "powershell_failed", "without an answer"),
        ("policy", "powershell_policy", "Group policy"),
        ("policy_error", "powershell_policy", "Group policy"),
        ("interop_off", "wsl_interop_off", "wsl.exe --shutdown"),
    ],
)
def test_powershell_that_does_not_work(laptop: Laptop, misbehave: str, code: str, words: str) -> None:
    with pytest.raises(Failure) as caught:
        laptop.boot(misbehave=[misbehave]).look()
    assert caught.value.code == code
    assert words in caught.value.message
    assert "CLIXML" not in caught.value.message
    assert caught.value.details["diagnosis"]


def test_powershell_that_hangs_is_killed_with_its_children(laptop: Laptop) -> None:
    laptop.boot(misbehave=["hang"])
    hanging = laptop.bin / "hanging"
    # On a busy machine the stand-in may not have got as far as hanging when its time is up.
    for limit in (1, 5, 25):
        with pytest.raises(Failure) as caught:
            laptop.connect(timeout=limit).look()
        assert caught.value.code == "powershell_timeout"
        if hanging.exists():
            break
    pids = hanging.read_text().split()
    assert len(pids) == 2
    deadline = Deadline(30)
    # A process that was killed goes when the kernel comes to it.
    while (left := [pid for pid in pids if is_alive(pid)]) and deadline.remaining:
        deadline.sleep(0.05)
    assert left == []


def is_alive(pid: str) -> bool:
    """Tell whether a process is there; one that nobody has collected yet has ended."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"etc/wsl.conf": "[interop]\nenabled = false\n"}, "enabled = false"),
        ({"etc/wsl.conf": "not an ini file"}, "WSLInterop is gone"),
        ({"proc/sys/fs/binfmt_misc/WSLInterop-late": "enabled"}, "entry is there"),
    ],
)
def test_a_kernel_that_starts_no_windows_programs(laptop: Laptop, files: dict[str, str], words: str) -> None:
    laptop.boot()
    for path, text in files.items():
        (laptop.root / path).parent.mkdir(parents=True, exist_ok=True)
        (laptop.root / path).write_text(text)
    # What a real powershell.exe is to a kernel without WSL's entry: a file of an unknown format.
    (laptop.bin / "powershell.exe").write_bytes(b"MZ\x90\0" + bytes(60))
    with pytest.raises(Failure, match=words) as caught:
        laptop.connect().look()
    assert caught.value.code == "wsl_interop_off"


@pytest.mark.parametrize(
    ("conf", "folder"),
    [
        ("", "mnt/c/Windows/System32/WindowsPowerShell/v1.0"),
        ("", "mnt/d/Windows/System32/WindowsPowerShell/v1.0"),
        ("[automount]\nroot = /win\n", "win/c/WINDOWS/System32/WindowsPowerShell/v1.0"),
        ('[automount]\nroot = "/"\n', "c/Windows/System32/WindowsPowerShell/v1.0"),
    ],
)
def test_powershell_is_found_without_path(laptop: Laptop, conf: str, folder: str) -> None:
    (laptop.root / "etc/wsl.conf").write_text(conf)
    path = laptop.root / folder / "powershell.exe"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    assert powershell.find_powershell(laptop.machine) == f"/{folder}/powershell.exe"


def test_no_powershell_anywhere(laptop: Laptop) -> None:
    with pytest.raises(Failure, match="/mnt/c/Windows/System32") as caught:
        PowerShell(laptop.machine)
    assert caught.value.code == "powershell_missing"


def test_a_host_that_is_not_wsl(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is not WSL") as caught:
        PowerShell(Machine(root=tmp_path, environ={}))
    assert caught.value.code == "not_wsl"


def test_what_does_not_fit_a_command_line_is_not_sent(laptop: Laptop) -> None:
    laptop.boot()
    with pytest.raises(Failure, match="too long for a command line"):
        PowerShell(laptop.machine).run("look at Ollama", LOOK, {"port": "9" * 6000}, 5)
    assert laptop.state["calls"] == []


def test_a_powershell_that_cannot_be_started(laptop: Laptop) -> None:
    laptop.boot()
    (laptop.bin / "powershell.exe").write_text("#!/no/such/interpreter\n")
    with pytest.raises(Failure, match="could not be started") as caught:
        laptop.connect().look()
    assert caught.value.code == "powershell_missing"


@pytest.mark.parametrize(
    ("given", "sockets", "expected"),
    [
        (None, ["8_interop", "1_interop", "2_interop"], "/run/WSL/1_interop"),
        ("/run/WSL/9_interop", ["1_interop"], "/run/WSL/1_interop"),
        ("/run/WSL/8_interop", ["8_interop", "1_interop"], "/run/WSL/8_interop"),
        (None, [], None),
    ],
)
def test_the_socket_of_the_session_is_found_over_ssh(
    laptop: Laptop, given: str | None, sockets: list[str], expected: str | None
) -> None:
    for name in sockets:
        (laptop.root / "run/WSL").mkdir(parents=True, exist_ok=True)
        (laptop.root / "run/WSL" / name).touch()
    environ = {"OLLAMA_HOST": "1.2.3.4", **({"WSL_INTEROP": given} if given else {})}
    found = powershell.environment(Machine(root=laptop.root, environ=environ))
    assert found.get("WSL_INTEROP") == expected
    assert "OLLAMA_HOST" not in found


def run_double(laptop: Laptop, argument: str, options: list[str] | None = None) -> tuple[int, str]:
    argv = [
        str(laptop.bin / "powershell.exe"),
        *(powershell_double.ARGUMENTS if options is None else options),
        argument,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    return done.returncode, done.stderr


def test_the_double_refuses_what_it_does_not_know(laptop: Laptop) -> None:
    laptop.boot()
    known = with_parameters(LOOK, {"port": 11434, "limit": 5})
    assert run_double(laptop, encoded(known))[0] == 0
    for script, options, words in (
        (known + " ", None, "a script that it does not know"),
        (known.replace("'\n", "'; calc.exe\n", 1), None, "a script that it does not know"),
        (with_parameters(LOOK, {"port": 11434, "limit": 5, "more": 1}), None, "parameters"),
        (known, ["-Command"], "arguments"),
    ):
        code, said = run_double(laptop, encoded(script), options)
        assert (code, words in said) == (powershell_double.REFUSED, True), said
    assert laptop.state["calls"] == ["look"]
