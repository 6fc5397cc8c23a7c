# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token files: made once, kept for ever, rotated with an overlap, and never lost or shown."""

from __future__ import annotations

import grp
import os
import re
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import replace
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Account, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import kept, token, token_files
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.kept import Kept, bring
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.token_files import TokenFiles

OLD = "0123456789abcdef" * 3
GROUP = grp.getgrgid(os.getegid()).gr_name


class Home:
    """A user's home with what lies in its state folder."""

    def __init__(self, root: Path) -> None:
        self.account: Account = find_account()._replace(home=str(root))
        self.token = root / ".nemoclaw" / "ollama-proxy-token"
        self.previous = root / ".nemoclaw" / "ollama-proxy-token.previous"
        self.next = root / ".nemoclaw" / "ollama-proxy-token.next"
        self.gate = root / "gate.tokens"

    def put(self, content: str, mode: int = 0o600) -> None:
        self.token.parent.mkdir(mode=0o700, exist_ok=True)
        self.token.write_bytes(content.encode())
        self.token.chmod(mode)

    def keep(self, state: str = "present", check_mode: bool = False, **options: Any) -> Kept:
        options = {"gate_path": str(self.gate), "gate_group": GROUP, **options}
        return bring(self.account, state, hand=None if check_mode else TokenFiles(), **options)

    def files(self) -> dict[str, str]:
        root = Path(self.account.home)
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}

    def valid(self) -> list[str]:
        return re.findall(r'^"Bearer ([0-9a-f]{48})" 1;$', self.gate.read_text(), re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_token_has_nemoclaws_format(home: Home) -> None:
    kept = home.keep()
    assert re.fullmatch(r"[0-9a-f]{48}\n", home.token.read_text())
    assert (mode(home.token), mode(home.token.parent), mode(home.gate)) == (0o600, 0o700, 0o640)
    assert home.valid() == [home.token.read_text().strip()]
    assert kept.as_result()["changed"]
    assert len(home.files()) == 2, "nothing else is left"


@pytest.mark.parametrize("content", [OLD, OLD + "\n", f"  {OLD}\r\n\n"])
def test_a_token_that_is_there_is_kept_for_ever(home: Home, content: str) -> None:
    home.put(content)
    home.keep()
    again = home.keep()
    assert home.token.read_bytes() == content.encode()
    assert home.valid() == [OLD]
    assert not again.as_result()["changed"]


def test_check_mode_says_what_would_be_done_and_does_nothing(home: Home) -> None:
    kept = home.keep(check_mode=True)
    assert kept.as_result()["changed"]
    assert kept.gate_changed
    assert kept.after == "token: (a new one)\n"
    assert not home.files()
    home.put(OLD, 0o644)
    assert home.keep("rotated", check_mode=True).changed
    assert home.keep("absent", check_mode=True).changed
    assert home.files() == {".nemoclaw/ollama-proxy-token": OLD}
    assert mode(home.token) == 0o644


@pytest.mark.parametrize(
    "content",
    ["", "\n", OLD[:-1], OLD + "0", OLD.upper(), f"{OLD}\n{OLD}", "x" * 5000, "\0" * 48, f"\u201c{OLD}\u201d"],
)
def test_a_file_without_a_token_stops_the_work_and_stays(home: Home, content: str) -> None:
    home.put(content)
    with pytest.raises(Failure) as stopped:
        home.keep()
    assert stopped.value.code == "token_invalid"
    assert "rotated" in stopped.value.message
    assert OLD[:-1] not in stopped.value.message
    assert home.files() == {".nemoclaw/ollama-proxy-token": content}
    home.keep("rotated")
    assert home.valid() == [home.token.read_text().strip()]
    assert not home.previous.exists(), "what was no token is not valid for a while either"


@pytest.mark.parametrize("wide", [0o644, 0o640, 0o666, 0o604])
def test_an_open_file_is_closed_with_a_word(home: Home, wide: int) -> None:
    home.put(OLD, wide)
    home.token.parent.chmod(0o755)
    kept = home.keep()
    assert (mode(home.token), mode(home.token.parent)) == (0o600, 0o700)
    assert kept.changed
    assert "rotate_token" in kept.warnings[0]
    assert home.keep().warnings == []
    assert home.valid() == [OLD]


def test_both_tokens_are_valid_while_a_rotation_lasts(home: Home) -> None:
    home.put(OLD + "\n")
    rotated = home.keep("rotated")
    new = home.token.read_text().strip()
    assert new != OLD
    assert home.valid() == [new, OLD]
    assert (mode(home.previous), home.previous.read_text()) == (0o600, OLD + "\n")
    assert rotated.as_result()["previous_fingerprint"] == token.fingerprint(OLD)
    assert not home.keep().as_result()["changed"], "the overlap is not over"
    dropped = home.keep(overlap=0)
    assert dropped.as_result()["changed"]
    assert home.valid() == [new]
    assert not home.previous.exists()


def test_an_overlap_ends_with_the_first_run_after_it(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated")
    long_ago = home.previous.stat().st_mtime - 100
    os.utime(home.previous, (long_ago, long_ago))
    assert home.keep(overlap=200).previous == OLD
    assert home.keep(overlap=50).previous is None
    assert len(home.valid()) == 1


def test_a_second_rotation_keeps_two_tokens_not_three(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated")
    second = home.token.read_text().strip()
    home.keep("rotated")
    assert home.valid() == [home.token.read_text().strip(), second]


def test_a_rotation_without_overlap(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated", overlap=0)
    assert home.valid() == [home.token.read_text().strip()]
    assert not home.previous.exists()


def test_a_rotation_that_breaks_off_leaves_the_token_of_everybody(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put(OLD)
    home.keep()
    written = []

    def full_disk(path: str, *arguments: Any) -> None:
        if path == str(home.gate):
            replace.replace_file(path, *arguments)
            return
        written.append(path)
        if path == str(home.token):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(token_files, "replace_file", full_disk)
    with pytest.raises(Failure) as stopped:
        home.keep("rotated")
    assert stopped.value.code == "token_unwritable"
    assert "No space left" in stopped.value.message
    assert written == [str(home.previous), str(home.token)]
    assert home.token.read_text() == OLD
    assert home.valid() == [OLD]


@pytest.mark.parametrize("state", ["prepared", "rotated"])
@pytest.mark.parametrize("overlap", [3600, 0])
def test_a_gate_that_cannot_be_written_leaves_the_token_of_everybody(
    home: Home, monkeypatch: pytest.MonkeyPatch, state: str, overlap: int
) -> None:
    home.put(OLD)
    home.keep()

    def read_only(path: str, *arguments: Any) -> None:
        if path == str(home.gate):
            raise OSError(30, "Read-only file system")
        replace.replace_file(path, *arguments)

    monkeypatch.setattr(token_files, "replace_file", read_only)
    before = home.files()
    with pytest.raises(Failure) as stopped:
        home.keep(state, overlap=overlap)
    assert stopped.value.code == "gate_unwritable"
    assert home.files() == before


def test_the_gate_takes_the_token_of_the_file_at_every_step(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks off where: the file's token is in the gate's file, before and after each file that is written."""
    home.put(OLD)
    home.keep()
    steps = []

    def watched(write: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: Any) -> None:
            write(*arguments)
            steps.append(home.token.read_text().strip() in home.valid())

        return step

    monkeypatch.setattr(token_files, "replace_file", watched(token_files.replace_file))
    for overlap in (3600, 0):
        home.keep("rotated", overlap=overlap)
        home.keep("prepared")
        home.keep("rotated", overlap=overlap)
    assert steps == [True] * len(steps)
    assert len(steps) >= 14


def test_a_rotation_in_two_steps(home: Home) -> None:
    home.put(OLD + "\n")
    home.keep()
    prepared = home.keep("prepared")
    new = home.next.read_text().strip()
    assert (home.token.read_text(), mode(home.next), home.valid()) == (OLD + "\n", 0o600, [new, OLD])
    assert prepared.as_result()["fingerprint"] == token.fingerprint(OLD)
    assert prepared.as_result()["next_fingerprint"] == token.fingerprint(new)
    assert prepared.as_result()["next_path"] == str(home.next)
    assert new not in str(prepared.as_result())
    rotated = home.keep("rotated")
    assert not rotated.gate_changed, "the gate knew both already"
    assert (home.token.read_text(), home.previous.read_text(), home.valid()) == (new + "\n", OLD + "\n", [new, OLD])
    assert not home.next.exists()
    assert not home.keep().as_result()["changed"]


def test_the_token_before_is_valid_until_a_second_rotation_is_done(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated")
    second = home.token.read_text().strip()
    home.keep("prepared")
    third = home.next.read_text().strip()
    assert home.valid() == [third, second, OLD]
    assert home.keep("rotated").gate_changed
    assert home.valid() == [third, second]


def test_a_rotation_that_was_only_prepared_is_taken_back(home: Home) -> None:
    home.put(OLD)
    home.keep()
    home.keep("prepared")
    assert home.keep(check_mode=True).as_result()["changed"]
    assert home.next.exists()
    kept = home.keep()
    assert (kept.changed, kept.gate_changed, home.valid(), home.next.exists()) == (True, True, [OLD], False)
    assert not home.keep().as_result()["changed"]


@pytest.mark.parametrize("spoil", ["nothing in it", "open to others", "the one of before"])
def test_what_was_prepared_is_not_taken_as_it_lies(home: Home, spoil: str) -> None:
    home.put(OLD)
    home.keep("prepared")
    lying = "" if spoil == "nothing in it" else OLD if spoil == "the one of before" else home.next.read_text().strip()
    home.next.write_text(lying)
    home.next.chmod(0o644 if spoil == "open to others" else 0o600)
    home.keep("rotated")
    assert home.token.read_text().strip() not in (lying, OLD)
    assert home.valid() == [home.token.read_text().strip(), OLD]
    assert not home.next.exists()


def test_check_mode_prepares_nothing(home: Home) -> None:
    home.put(OLD)
    home.keep()
    before = home.files()
    kept = home.keep("prepared", check_mode=True)
    assert (kept.as_result()["changed"], kept.gate_changed) == (True, True)
    assert kept.as_result()["fingerprint"] == token.fingerprint(OLD)
    assert kept.as_result()["next_fingerprint"] is None
    assert kept.after.endswith("next token: (a new one)\n")
    assert home.files() == before


def test_absent_removes_everything_once(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated")
    home.keep("prepared")
    assert home.keep("absent").as_result()["changed"]
    assert not home.files()
    assert not home.keep("absent").as_result()["changed"]


def test_whoever_comes_first_has_made_the_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """NemoClaw's own wizard writes the file between our look and our writing."""
    made = token.new_token()

    def new_token() -> str:
        home.put(OLD)
        return made

    monkeypatch.setattr(kept, "new_token", new_token)
    assert home.keep().token == OLD
    assert home.valid() == [OLD]
    assert made not in "".join(home.files().values())


def test_a_link_is_not_followed(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(OLD)
    home.token.parent.mkdir()
    home.token.symlink_to(elsewhere)
    with pytest.raises(Failure) as stopped:
        home.keep()
    assert stopped.value.code == "token_unreadable"


def test_a_folder_in_the_place_of_the_file(home: Home) -> None:
    home.token.mkdir(parents=True)
    with pytest.raises(Failure) as stopped:
        home.keep()
    assert stopped.value.code == "token_unreadable"


@pytest.mark.parametrize("place", ["/", "/tmp", "/var/tmp/."])
def test_a_home_that_others_share_is_refused(place: str) -> None:
    with pytest.raises(Failure) as stopped:
        bring(find_account()._replace(home=place), "present", hand=TokenFiles())
    assert stopped.value.code == "home_refused"


def test_the_group_has_to_be_there_except_in_check_mode(home: Home) -> None:
    assert home.keep(check_mode=True, gate_group="no-such-group").gate_changed
    with pytest.raises(Failure) as stopped:
        home.keep(gate_group="no-such-group")
    assert stopped.value.code == "group_unknown"
    assert not home.files(), "found out before anything was changed"


@pytest.mark.parametrize("spoil", ["content", "mode", "link"])
def test_the_gates_file_is_put_right(home: Home, tmp_path: Path, spoil: str) -> None:
    home.put(OLD)
    home.keep()
    if spoil == "content":
        home.gate.write_text("")
    elif spoil == "mode":
        home.gate.chmod(0o644)
    else:
        home.gate.rename(tmp_path / "elsewhere")
        home.gate.symlink_to(tmp_path / "elsewhere")
    kept = home.keep()
    assert kept.gate_changed
    assert (home.valid(), mode(home.gate), home.gate.is_symlink()) == ([OLD], 0o640, False)


def test_what_nginx_has_not_read_yet_is_told_again(home: Home, tmp_path: Path) -> None:
    """A run was broken off between writing and reloading: the files are right, and nginx does not know them."""
    stamp, config = tmp_path / "loaded", tmp_path / "nginx.conf"
    options: dict[str, Any] = {"gate_config": str(config), "gate_loaded": str(stamp)}
    home.keep(**options)
    assert not home.keep(**options).gate_changed, "nginx never ran"
    config.touch()

    def read_by_nginx() -> None:
        """Write what the unit does, with the same program."""
        said = subprocess.run(["sha256sum", config, home.gate], capture_output=True, text=True, check=True)
        stamp.write_text(said.stdout)

    stamp.touch()
    again = home.keep(**options)
    assert again.gate_changed
    assert not again.as_result()["changed"], "the files are as they have to be"
    read_by_nginx()
    assert not home.keep(**options).gate_changed
    config.write_text("# another\n")
    assert home.keep(**options).gate_changed
    read_by_nginx()
    assert not home.keep(**options).gate_changed
    # The clock is set back, and a run that drops a token is broken off before nginx is told.
    home.keep("rotated", **options)
    read_by_nginx()
    home.keep(overlap=0)
    os.utime(home.gate, (1, 1))
    assert home.keep(**options).gate_changed


def test_a_clock_that_is_set_back_does_not_prolong_an_overlap(home: Home) -> None:
    home.put(OLD)
    home.keep("rotated")
    later = time.time() + 7200
    os.utime(home.previous, (later, later))
    home.keep()
    assert OLD not in home.valid()


def test_two_rotations_at_once(home: Home) -> None:
    """The second one took the token of the first away from it, and both advised to run something else."""
    home.put(OLD)
    home.keep("prepared")
    before = home.files()
    for check_mode in (True, False):
        with pytest.raises(Failure) as stopped:
            home.keep("prepared", check_mode=check_mode)
        assert stopped.value.code == "rotation_running"
    assert home.files() == before
    long_ago = time.time() - 600
    os.utime(home.next, (long_ago, long_ago))
    home.keep("prepared")
    assert home.next.read_text() != before[".nemoclaw/ollama-proxy-token.next"]


def test_fingerprints_tell_apart_and_say_nothing() -> None:
    tokens = [token.new_token() for number in range(50)]
    prints = {token.fingerprint(one) for one in tokens}
    assert len(prints) == 50
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in prints)
    assert not any(one in token_ for one in prints for token_ in tokens)
