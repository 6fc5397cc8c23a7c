# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is logged in to a registry, by Docker's configuration and its helpers. No secret is in what may be shown."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import (
    Credential,
    Login,
    find_login,
    ngc_login,
)

CANARY = "canary-7f3d9b1e5a"
HELD = "nvcr.io"
# A helper as Docker's are: it reads the registry's name, and knows one.
HELPER = f"""read -r asked
case "$1-$asked" in
  get-{HELD}) echo '{{"ServerURL":"{HELD}","Username":"$oauthtoken","Secret":"{CANARY}"}}';;
  get-*) echo 'credentials not found in native keychain'; exit 1;;
  *) exit 64;;
esac"""

WriteCommand = Callable[[Path, str], Path]


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return find_account()._replace(home="/home/u")


def look(
    root: Path,
    account: Account,
    config: Any,
    registry: str = HELD,
    environ: dict[str, str] | None = None,
    limit: float = 5,
) -> Login:
    folder = (environ or {}).get("DOCKER_CONFIG", "/home/u/.docker")
    path = root / folder.lstrip("/") / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if config is not None:
        path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    machine = Machine(root=root, environ={"PATH": "/usr/bin", **(environ or {})})
    found = find_login(machine, account, registry, limit)
    assert CANARY not in str(found) + repr(found) + str(found.as_facts())
    return found


@pytest.mark.parametrize(
    ("config", "source"),
    [
        ({"auths": {"nvcr.io": {"auth": encoded(f"$oauthtoken:{CANARY}")}}}, "auths"),
        ({"auths": {"https://nvcr.io": {"auth": encoded(f"$oauthtoken:{CANARY}\0")}}}, "auths"),
        ({"auths": {"https://nvcr.io/": {"auth": encoded(f"$oauthtoken:{CANARY}")}}}, "auths"),
        ({"credHelpers": {"nvcr.io": "lab"}}, "credHelpers"),
        ({"credsStore": "lab"}, "credsStore"),
        ({"auths": {"nvcr.io": {}}, "credsStore": "lab"}, "credsStore"),
        ({"credHelpers": {"nvcr.io": "lab"}, "credsStore": "gone", "auths": {"nvcr.io": {"auth": "x"}}}, "credHelpers"),
        # The store holds another registry only: the file still counts, as it does for Docker.
        (
            {"credHelpers": {"ghcr.io": "lab"}, "auths": {"nvcr.io": {"auth": encoded(f"$oauthtoken:{CANARY}")}}},
            "auths",
        ),
    ],
)
@pytest.mark.parametrize("environ", [None, {"DOCKER_CONFIG": "/etc/other"}])
def test_logins(
    tmp_path: Path,
    account: Account,
    write_command: WriteCommand,
    config: Any,
    source: str,
    environ: dict[str, str] | None,
) -> None:
    write_command(tmp_path / "usr/bin/docker-credential-lab", HELPER)
    found = look(tmp_path, account, config, environ=environ)
    assert (found.source, found.credential) == (source, Credential("$oauthtoken", CANARY))
    assert found.as_facts()["logged_in"] is True
    assert found.path == ("/etc/other" if environ else "/home/u/.docker") + "/config.json"


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        {},
        {"auths": {}},
        {"auths": {"nvcr.io": {}}},
        {"auths": {"ghcr.io": {"auth": encoded("u:p")}}},
        {"auths": {"nvcr.io.evil.example": {"auth": encoded("u:p")}}},
        {"auths": None, "credHelpers": [], "credsStore": 7},
    ],
)
def test_nobody_is_logged_in(tmp_path: Path, account: Account, config: Any) -> None:
    found = look(tmp_path, account, config)
    assert (found.credential, found.source, found.problem) == (None, None, None)


def test_a_store_without_this_registry(tmp_path: Path, account: Account, write_command: WriteCommand) -> None:
    write_command(tmp_path / "usr/bin/docker-credential-lab", HELPER)
    found = look(tmp_path, account, {"credsStore": "lab"}, registry="ghcr.io")
    assert (found.credential, found.problem) == (None, None)


def test_a_refresh_token(tmp_path: Path, account: Account) -> None:
    found = look(tmp_path, account, {"auths": {"nvcr.io": {"identitytoken": CANARY}}})
    assert found.credential is not None
    assert found.credential.as_auth_config("nvcr.io") == {"identitytoken": CANARY, "serveraddress": "nvcr.io"}


def test_docker_hub_has_a_key_of_its_own(tmp_path: Path, account: Account) -> None:
    config = {"auths": {"https://index.docker.io/v1/": {"auth": encoded("u:p")}}}
    assert look(tmp_path, account, config, registry="docker.io").credential == Credential("u", "p")


@pytest.mark.parametrize(
    ("config", "helper", "words"),
    [
        ({"auths": {"nvcr.io": {"auth": "%%%"}}}, None, "not base64"),
        ({"auths": {"nvcr.io": {"auth": encoded("nobody")}}}, None, "without a password"),
        ({"credsStore": "lab"}, None, "not on the PATH"),
        ({"credsStore": "../../tmp/x"}, None, "not on the PATH"),
        ({"credsStore": "lab"}, "echo the keyring is locked >&2; exit 1", "the keyring is locked"),
        ({"credsStore": "lab"}, "echo hello", "no JSON"),
        ({"credsStore": "lab"}, "sleep 60", "did not end within"),
    ],
)
def test_logins_that_cannot_be_read(
    tmp_path: Path, account: Account, write_command: WriteCommand, config: Any, helper: str | None, words: str
) -> None:
    if helper:
        write_command(tmp_path / "usr/bin/docker-credential-lab", helper)
    start = time.monotonic()
    found = look(tmp_path, account, config, limit=0.5)
    assert found.credential is None
    assert words in (found.problem or "")
    assert time.monotonic() - start < 5


def test_a_helper_that_warns_and_does_not_read(tmp_path: Path, account: Account, write_command: WriteCommand) -> None:
    answer = json.dumps({"Username": "u", "Secret": CANARY})
    write_command(tmp_path / "usr/bin/docker-credential-lab", f"echo warning: old >&2\necho '{answer}'")
    assert look(tmp_path, account, {"credsStore": "lab"}).credential == Credential("u", CANARY)


@pytest.mark.parametrize("config", ["{", "[]", "nonsense"])
def test_a_broken_configuration(tmp_path: Path, account: Account, config: str) -> None:
    with pytest.raises(Failure) as failed:
        look(tmp_path, account, config)
    assert failed.value.code == "docker_config_invalid"
    assert "/home/u/.docker/config.json" in failed.value.message


def test_a_credential_shows_nothing() -> None:
    login = ngc_login(CANARY)
    assert CANARY not in f"{login} {login!r} {[login]}"
    assert login.as_auth_config("nvcr.io")["password"] == CANARY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_runs_a_helper_as_its_owner(write_command: WriteCommand) -> None:
    # pytest's own folders are closed to others, all the way up.
    with tempfile.TemporaryDirectory() as folder:
        path = write_command(
            Path(folder) / "usr/bin/docker-credential-lab", 'printf \'{"Username":"%s","Secret":"x"}\' "$(id -u)"'
        )
        for part in (path.parent, path.parent.parent, Path(folder)):
            part.chmod(0o755)
        nobody = Account("nobody", 65534, 65534, "/home/u", (65534,))
        found = look(Path(folder), nobody, {"credsStore": "lab"})
    assert found.credential == Credential("65534", "x")
