# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ollama_install as Ansible runs it. Scripts are its Ollama; the real one is in tests/integration and tests/real."""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import socket
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_install

RunModule = Any


@pytest.fixture
def port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pack(path: Path, version: str) -> dict[str, str]:
    """Pack a program that says its version, and return the options for it."""
    content = f"#!/bin/sh\necho 'Warning: client version is {version}'\n".encode()
    member = tarfile.TarInfo("bin/ollama")
    member.size, member.mode = len(content), 0o755
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return {"url": str(path), "checksum": f"sha256:{sha256(path.read_bytes()).hexdigest()}", "version": version}


def test_installs_upgrades_and_then_changes_nothing(run_module: RunModule, tmp_path: Path, port: int) -> None:
    os.umask(0o077)  # a careful root's own
    common = {"prefix": str(tmp_path / "prefix"), "mode": "user", "port": port}
    first = {**common, **pack(tmp_path / "old.tgz", "0.1.2")}
    second = {**common, **pack(tmp_path / "new.tgz", "0.1.3")}
    program = tmp_path / "prefix/bin/ollama"

    code, foreseen = run_module(ollama_install, {**first, "_ansible_check_mode": True})
    assert (code, foreseen["changed"], program.exists()) == (0, True, False)
    code, result = run_module(ollama_install, first)
    assert (code, result["actions"], result["version"]) == (0, foreseen["actions"], "0.1.2")
    assert result["diff"] == foreseen["diff"]
    assert (program.stat().st_mode & 0o777, program.parent.stat().st_mode & 0o777) == (0o755, 0o755)

    code, result = run_module(ollama_install, second)
    assert (result["previous_version"], result["version"], result["path"]) == ("0.1.2", "0.1.3", str(program))
    assert [entry["before"] for entry in result["diff"]] == ["program: 0.1.2\ndaemon: none\n"]
    assert (result["source"], result["size"]) == (second["url"], Path(second["url"]).stat().st_size)
    assert (result["mode"], result["method"]) == ("user", "archive")
    code, result = run_module(ollama_install, second)
    assert (code, result["changed"], result["actions"], result["source"]) == (0, False, [], None)
    assert (result["daemon_version"], result["daemon_restarted"], result["daemon_restart_needed"]) == (
        None,
        False,
        False,
    )


def test_removes_what_it_installed(run_module: RunModule, tmp_path: Path, port: int) -> None:
    prefix = tmp_path / "prefix"
    common = {"prefix": str(prefix), "mode": "user", "port": port}
    run_module(ollama_install, {**common, **pack(tmp_path / "old.tgz", "0.1.2")})
    (prefix / "lib/ollama").mkdir(parents=True, exist_ok=True)
    mine = prefix / "bin/mine"
    mine.touch()
    program = prefix / "bin/ollama"

    code, foreseen = run_module(ollama_install, {**common, "state": "absent", "_ansible_check_mode": True})
    assert (code, foreseen["changed"], program.exists()) == (0, True, True)
    code, result = run_module(ollama_install, {**common, "state": "absent"})
    manifest = f"{prefix}/lib/.nemoclaw-ollama-manifest.json"
    assert (code, result["actions"]) == (0, [f"remove {prefix}/lib/ollama", f"remove {program}", f"remove {manifest}"])
    assert result["actions"] == foreseen["actions"]
    assert (result["previous_version"], result["version"], result["path"]) == ("0.1.2", None, None)
    assert not program.exists()
    assert not (prefix / "lib/ollama").exists()
    assert mine.exists()
    code, result = run_module(ollama_install, {**common, "state": "absent"})
    assert (code, result["changed"], result["actions"]) == (0, False, [])


def test_a_program_that_runs_is_not_removed(run_module: RunModule, tmp_path: Path, port: int) -> None:
    program = tmp_path / "bin/ollama"
    program.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    options = {"prefix": str(tmp_path), "mode": "user", "port": port, "state": "absent"}
    with subprocess.Popen([program, "60"]) as running:
        for check_mode in (True, False):
            code, result = run_module(ollama_install, {**options, "_ansible_check_mode": check_mode})
            assert (code, result["failure"]["code"]) == (1, "ollama_in_use")
            assert str(running.pid) in result["msg"]
        assert program.exists()
        running.kill()
    code, result = run_module(ollama_install, options)
    assert (code, program.exists()) == (0, False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_the_whole_host_needs_root(
    run_module: RunModule, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    options = {**pack(tmp_path / "a.tgz", "0.1.2"), "prefix": str(tmp_path / "prefix"), "port": port}
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    code, result = run_module(ollama_install, {**options, "_ansible_check_mode": check_mode})
    assert (code, result["failure"]["code"]) == (1, "root_needed")
    assert not (tmp_path / "prefix").exists()

    (tmp_path / "prefix/bin").mkdir(parents=True)
    (tmp_path / "prefix/bin/ollama").touch()
    absent = {"state": "absent", "prefix": str(tmp_path / "prefix"), "port": port, "_ansible_check_mode": check_mode}
    code, result = run_module(ollama_install, absent)
    assert (code, result["failure"]["code"]) == (1, "root_needed")
    assert (tmp_path / "prefix/bin/ollama").exists()


def test_a_password_in_the_url_is_not_shown(run_module: RunModule, tmp_path: Path, port: int) -> None:
    options = {"url": "https://me:s3cret@mirror.example/a.tgz", "mode": "user", "prefix": str(tmp_path), "port": port}
    code, result = run_module(ollama_install, options)
    assert (code, result["failure"]["code"]) == (1, "url_credentials")
    assert "s3cret" not in str(result)


def test_another_ollama_is_in_the_way(
    run_module: RunModule, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old/bin/ollama"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho ollama version is 0.0.9\n", encoding="utf-8")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    options = {**pack(tmp_path / "a.tgz", "0.1.2"), "mode": "user", "port": port}
    code, result = run_module(ollama_install, options)
    assert (code, result["failure"]["code"], result["failure"]["path"]) == (1, "ollama_elsewhere", str(old))
    code, result = run_module(ollama_install, {**options, "prefix": str(tmp_path / "old")})
    assert (code, result["previous_version"], result["version"]) == (0, "0.0.9", "0.1.2")


@pytest.mark.parametrize("query", ["?X-Amz-Signature=s3cret", ""])
def test_the_signature_of_a_link_is_shown_nowhere(
    run_module: RunModule, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, message, **_more: logged.append(message))
    link = f"http://127.0.0.1:{port}/mirror/ollama.tgz"
    desired: dict[str, Any] = {
        "url": link + query,
        "jetpack_url": f"/srv/jetpack.tgz{query}",
        "checksum": f"sha256:{'0' * 64}",
    }
    desired |= {"version": "0.1.2", "prefix": str(tmp_path), "port": port, "mode": "user"}
    if "inject_invocation" in PASS_VARS:  # newer cores have to be asked for it
        desired["_ansible_inject_invocation"] = True
    code, result = run_module(ollama_install, desired)
    assert (code, result["failure"]["code"]) == (1, "download_unreachable")
    assert link in result["msg"], "where it was asked is no secret"
    assert result["invocation"]["module_args"]["url"].startswith(link)
    assert logged, "Ansible has logged the arguments"
    assert "s3cret" not in json.dumps([result, logged])
