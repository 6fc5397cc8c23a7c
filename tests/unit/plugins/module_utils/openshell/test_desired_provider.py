# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be given to OpenShell as a provider, and what is remembered of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import changes, provider
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.provider import (
    Desired,
    check_desired,
    loopback_warnings,
)

DESIRED = Desired(
    "lab", "openai", {"OPENAI_API_KEY": "secret"}, {"OPENAI_BASE_URL": "http://host.openshell.internal:1/v1"}
)


@pytest.mark.parametrize(
    ("desired", "code"),
    [
        (replace(DESIRED, name=""), "openshell_name_invalid"),
        (replace(DESIRED, name="-g"), "openshell_name_invalid"),
        (replace(DESIRED, name="a b"), "openshell_name_invalid"),
        (replace(DESIRED, name="a\n"), "openshell_name_invalid"),
        (replace(DESIRED, credentials={"PATH": "x"}), "credential_name_invalid"),
        (replace(DESIRED, credentials={"LD_PRELOAD": "x"}), "credential_name_invalid"),
        (replace(DESIRED, credentials={"https_proxy": "x"}), "credential_name_invalid"),
        (replace(DESIRED, credentials={"OPENSHELL_GATEWAY": "x"}), "credential_name_invalid"),
        (replace(DESIRED, credentials={"A=B": "x"}), "credential_name_invalid"),
        (replace(DESIRED, credentials={}), "credential_missing"),
        (replace(DESIRED, credentials={"K": " \n"}), "credential_missing"),
        (replace(DESIRED, credentials={"K": "two\nlines"}), "key_invalid"),
        (replace(DESIRED, credentials={"K": "nul\0"}), "key_invalid"),
        (replace(DESIRED, credentials={"K": "\u201cquoted\u201d"}), "key_invalid"),
        (replace(DESIRED, config={"A B": "x"}), "openshell_config_invalid"),
        (replace(DESIRED, config={"A": ""}), "openshell_config_invalid"),
        (replace(DESIRED, config={"A": "x\ny"}), "openshell_config_invalid"),
        (replace(DESIRED, config={"OPENAI_BASE_URL": "http://me:pw@server/v1"}), "url_credentials"),
        (replace(DESIRED, config={"OPENAI_BASE_URL": "http://server/v1?key=pw"}), "url_invalid"),
        (replace(DESIRED, config={"ANTHROPIC_BASE_URL": "server"}), "url_invalid"),
    ],
)
def test_what_cannot_be_given_is_refused(desired: Desired, code: str) -> None:
    with pytest.raises(Failure) as caught:
        check_desired(desired)
    assert caught.value.code == code
    assert "pw" not in caught.value.message
    assert "secret" not in caught.value.message


def test_white_space_around_a_secret_is_taken_off() -> None:
    assert check_desired(replace(DESIRED, credentials={"K": " a'b\"c%d\r\n"})).credentials == {"K": "a'b\"c%d"}


def test_loopback_in_the_sandbox_is_the_sandbox() -> None:
    assert loopback_warnings(DESIRED) == []
    (warning,) = loopback_warnings(replace(DESIRED, config={"OPENAI_BASE_URL": "http://localhost:8000/v1"}))
    assert "host.openshell.internal" in warning


def test_fingerprints_need_their_key() -> None:
    one, two = provider.Remembered(), provider.Remembered()
    same = (DESIRED.type, DESIRED.credentials, DESIRED.config)
    assert one.fingerprint(*same) == one.fingerprint(*same)
    assert one.fingerprint(*same) != two.fingerprint(*same)
    assert one.fingerprint("openai", {"A": "b"}, {}) != one.fingerprint("openai", {}, {"A": "b"})
    assert one.key not in repr(one)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"key": 5}', '{"key": "short", "providers": {}}', "\x00", "[" * 9999]
)
def test_a_file_that_cannot_be_read_remembers_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state"
    path.write_text(content, encoding="utf-8")
    found = provider.read_state(str(path))
    assert found.providers == {}
    assert len(found.key) == 64


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / ".nemoclaw" / "state.json")
    remembered = provider.Remembered()
    remembered.providers["id-1"] = {"name": "lab", "resource_version": 3, "fingerprint": "f" * 64}
    changes.write_state(path, remembered)
    found = provider.read_state(path)
    assert found == remembered
    assert found.holds("id-1", 3, "f" * 64)
    assert not found.holds("id-1", 4, "f" * 64)
    assert not found.holds("id-2", 3, "f" * 64)
    assert not found.holds("id-1", 3, "e" * 64)
    assert json.loads(Path(path).read_text(encoding="utf-8"))["schema"] == 1


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".nemoclaw").write_text("", encoding="utf-8")
    with pytest.raises(Failure, match="Check the folder's owner") as caught:
        changes.write_state(str(tmp_path / ".nemoclaw" / "state.json"), provider.Remembered())
    assert caught.value.code == "openshell_state_unwritable"


def test_a_home_that_others_share_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        provider.state_path("/tmp")
    assert caught.value.code == "home_refused"
