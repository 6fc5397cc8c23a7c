# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route record: read, written in one step, closed to others."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route import record, write
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

ROUTE = build_route(
    provider="custom", base_url="http://127.0.0.1:8080/v1", model="m", api="openai-completions", timeout=180
)
OTHER = {**ROUTE, "model": "another", "context_window": 32768}
UID = os.getuid()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the record of a home lies; neither it nor its directory exist yet."""
    return tmp_path / record.STATE_DIRECTORY / record.RECORD_NAME


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def written(path: Path, content: str) -> str:
    path.parent.mkdir(mode=0o700)
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_what_was_written_is_read(path: Path) -> None:
    write.write_record(str(path), ROUTE)
    assert record.read_record(str(path)) == ROUTE
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert record.permissions_are_right(str(path), UID)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "a temporary file was left behind"


def test_a_record_of_before_names_no_sandbox(path: Path) -> None:
    older = {name: value for name, value in ROUTE.items() if name not in ("gateway", "sandbox")}
    assert record.read_record(written(path, json.dumps({"schema": 1, **older}))) == ROUTE


def test_the_umask_makes_no_difference(path: Path) -> None:
    before = os.umask(0)
    try:
        write.write_record(str(path), ROUTE)
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_the_text_is_for_people_too(path: Path) -> None:
    text = write.render({**ROUTE, "api_key": "s3cret"})
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["schema", *record.FIELDS]
    assert "s3cret" not in text, "only the fields of the contract are written"


def test_a_record_that_is_open_is_closed(path: Path) -> None:
    write.write_record(str(path), ROUTE)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert not record.permissions_are_right(str(path), UID)
    write.write_record(str(path), ROUTE)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize(("file", "directory"), [(0o644, 0o700), (0o600, 0o755), (0o400, 0o700)])
def test_permissions_that_are_wrong(path: Path, file: int, directory: int) -> None:
    write.write_record(str(path), ROUTE)
    path.chmod(file)
    path.parent.chmod(directory)
    assert not record.permissions_are_right(str(path), UID)


def test_somebody_elses_record_and_none_at_all(path: Path) -> None:
    assert not record.permissions_are_right(str(path), UID)
    write.write_record(str(path), ROUTE)
    assert not record.permissions_are_right(str(path), UID + 1)


def test_a_directory_of_the_users_own_choice_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "etc"
    shared.mkdir()
    shared.chmod(0o755)
    path = shared / "route.json"
    write.write_record(str(path), ROUTE)
    assert (mode(path), mode(shared)) == (0o600, 0o755), "/etc/route.json must not close /etc"
    assert record.permissions_are_right(str(path), UID)


def test_a_directory_that_it_makes_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "route.json"
    write.write_record(str(path), ROUTE)
    assert mode(path.parent) == 0o700


def test_a_write_that_fails_leaves_the_old_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write.write_record(str(path), ROUTE)
    before = path.read_bytes()

    # A double: a file system that is full cannot be had without being root.
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure) as failed:
        write.write_record(str(path), OTHER)
    assert failed.value.code == "route_record_unwritable"
    assert "No space left" in failed.value.message
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_reader_sees_the_old_route_or_the_new_one(path: Path) -> None:
    write.write_record(str(path), ROUTE)
    with path.open(encoding="utf-8") as reader:
        write.write_record(str(path), OTHER)
        assert json.load(reader)["model"] == "m", "the file was changed in place"
    assert record.read_record(str(path)) == OTHER


VLLM = {**ROUTE, "provider": "install-vllm", "provider_name": "vllm-local", "container": "nemoclaw-vllm"}
VLLM["base_url_host"] = "http://127.0.0.1:8000/v1"
OLLAMA = {**ROUTE, "provider": "ollama", "provider_name": "ollama-local", "base_url_host": "http://127.0.0.1:11434/v1"}
NIM = {**VLLM, "provider": "nim", "container": "nemoclaw-nim"}
SECOND = {**VLLM, "base_url_host": "http://127.0.0.1:8001/v1", "container": "second"}


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ({}, ROUTE, []),
        (ROUTE, OLLAMA, []),
        (OLLAMA, ROUTE, [OLLAMA]),
        (VLLM, OLLAMA, [VLLM]),
        (VLLM, VLLM, []),
        # Another container on another port; on the same one it made way before.
        (VLLM, SECOND, [VLLM]),
        (VLLM, NIM, []),
        (VLLM, {**VLLM, "base_url_host": "http://127.0.0.1:8001/v1"}, []),
        # One that somebody else runs.
        ({**VLLM, "provider": "vllm", "container": None}, OLLAMA, []),
        # The same server by another of its names, taken as one of the user's own.
        (OLLAMA, {**ROUTE, "base_url_host": "http://localhost:11434/v1"}, []),
        ({**OLLAMA, "base_url_host": "http://[::1]:11434/v1"}, OLLAMA, []),
        # Its role unloads the model.
        (OLLAMA, {**OLLAMA, "base_url_host": "http://172.20.0.1:11434/v1"}, []),
        # A switch that was broken off: again, on to a third one, and back.
        ({**OLLAMA, "to_free": [VLLM]}, OLLAMA, [VLLM]),
        ({**OLLAMA, "to_free": [VLLM]}, {**OLLAMA, "model": "another"}, [VLLM]),
        ({**OLLAMA, "to_free": [VLLM]}, ROUTE, [OLLAMA, VLLM]),
        ({**OLLAMA, "to_free": [VLLM]}, VLLM, [OLLAMA]),
        ({**SECOND, "to_free": [VLLM]}, OLLAMA, [SECOND, VLLM]),
    ],
)
def test_the_servers_whose_gpu_is_still_to_be_freed(path: Path, before: Any, after: Any, left: list[Any]) -> None:
    names = ("provider", "provider_name", "model", "base_url_host", "container")
    wanted = [{name: one[name] for name in names} for one in left]
    assert write.to_free(before, after) == wanted
    if not before:
        return
    # In the record, by whoever writes it, and only as long as there are any.
    owner, recorded = find_account(), {**after, **({"to_free": wanted} if wanted else {})}
    write.write_record(str(path), before)
    text = path.read_text(encoding="utf-8")
    checked = write.bring(str(path), owner, after, True)
    assert path.read_text(encoding="utf-8") == text == checked.before
    assert checked.changed == (before != recorded)
    write.bring(str(path), owner, after, False)
    assert record.read_record(str(path)) == recorded
    assert path.read_text(encoding="utf-8") == checked.after == write.render(recorded)
    assert not write.bring(str(path), owner, after, False).changed
    assert write.bring(str(path), owner, after, False, is_freed=True).changed == bool(wanted)
    assert record.read_record(str(path)) == after


@pytest.mark.parametrize("left", [None, [], {}, "nemoclaw-vllm", ["nemoclaw-vllm"], [{}], [{"provider": []}]])
def test_what_is_no_server_to_free_counts_as_none(path: Path, left: Any) -> None:
    assert record.read_record(written(path, json.dumps({**GOOD, "to_free": left}))) == ROUTE


def test_a_linked_record_is_replaced_and_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    path.parent.mkdir()
    path.symlink_to(victim)
    write.write_record(str(path), ROUTE)
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not path.is_symlink()


def test_a_pipe_is_no_record_and_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(Failure) as failed:
        record.read_record(str(path))
    assert failed.value.code == "route_record_unreadable"
    assert "not a regular file" in failed.value.message


@pytest.mark.parametrize("obstacle", ["file instead of the directory", "directory instead of the file", "no home"])
def test_what_cannot_be_written_is_said(path: Path, obstacle: str) -> None:
    target = path
    if obstacle.startswith("file"):
        path.parent.write_text("", encoding="utf-8")
    elif obstacle.startswith("directory"):
        path.mkdir(parents=True)
    else:
        target = path.parent / "missing" / "deeper" / path.name
    with pytest.raises(Failure) as failed:
        write.write_record(str(target), ROUTE)
    assert failed.value.code == "route_record_unwritable"
    assert str(target) in failed.value.message
    if path.parent.is_dir():
        assert not list(path.parent.glob(".*")), "a temporary file was left behind"


def test_no_record_is_no_route(path: Path) -> None:
    assert record.read_record(str(path)) is None
    write.remove_record(str(path))


GOOD = {"schema": 1, **ROUTE}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("null", "holds no route"),
        ("[]", "holds no route"),
        ('"route"', "holds no route"),
        ("{}", "holds no route"),
        ({"schema": 1}, "holds no route"),
        (ROUTE, "holds no route"),
        ({**GOOD, "schema": 2}, "schema 2"),
        ({**GOOD, "schema": None}, "schema None"),
        ({**GOOD, "schema": "1"}, "schema '1'"),
        *(
            ({**GOOD, field: None}, "holds no route")
            for field in ("provider", "model", "api", "base_url_host", "label")
        ),
        ({**GOOD, "credential_env": ["COMPATIBLE_API_KEY"]}, "holds no route"),
        ({**GOOD, "base_url_host": {"a": 1}}, "holds no route"),
    ],
)
def test_what_is_no_record(path: Path, content: Any, said: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(Failure) as failed:
        record.read_record(written(path, text))
    assert failed.value.code == "route_record_unreadable"
    assert said in failed.value.message
    assert str(path) in failed.value.message


def test_bytes_that_are_no_text_and_a_directory(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(Failure, match="cannot be read"):
        record.read_record(str(path))
    with pytest.raises(Failure, match="cannot be read"):
        record.read_record(str(path.parent))


def test_what_a_later_release_adds_is_ignored(path: Path) -> None:
    assert record.read_record(written(path, json.dumps({**GOOD, "new_field": 1}))) == ROUTE


def test_remove(path: Path) -> None:
    write.write_record(str(path), ROUTE)
    write.remove_record(str(path))
    assert not path.exists()
    path.mkdir()
    with pytest.raises(Failure) as failed:
        write.remove_record(str(path))
    assert failed.value.code == "route_record_unwritable"


@pytest.mark.parametrize("home", ["/", "/tmp", "/tmp/", "/var/tmp", "/dev/shm", "/var/../tmp", "//", "/./"])
def test_homes_that_others_share_are_refused(home: str) -> None:
    with pytest.raises(Failure) as failed:
        record.record_path(home)
    assert failed.value.code == "home_refused"


def test_where_the_record_lies() -> None:
    assert record.record_path("/home/lab") == "/home/lab/.nemoclaw/local-inference.json"
    assert record.record_path("/tmp/lab") == "/tmp/lab/.nemoclaw/local-inference.json"
