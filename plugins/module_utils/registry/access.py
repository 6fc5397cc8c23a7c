# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a run shows to registries: the key that it was given, or the login of the user; looked up and checked once each."""

from __future__ import annotations

from typing import Any

from ..host.machine import Account, Machine
from .image import (
    EngineApi,
    RemoteImage,
    inspect_image,
    log_in,
)
from .logins import (
    Credential,
    Login,
    find_login,
    ngc_login,
)
from .reference import Reference

# NVIDIA's own. A mirror of it has accounts of its own, so there the user's login comes first.
NGC_REGISTRY = "nvcr.io"


class Access:
    """The way of one run to registries.

    Args:
        api: The Docker SDK's client.
        machine: This host.
        account: Whose logins count.
        key: An NGC key, None where none was given.
        key_registry: The registry that the key is for: NVIDIA's or a mirror of it.

    """

    def __init__(
        self,
        api: EngineApi,
        machine: Machine,
        account: Account,
        key: str | None = None,
        key_registry: str = NGC_REGISTRY,
    ) -> None:
        self._api = api
        self._machine = machine
        self._account = account
        self._key = key
        self._key_registry = key_registry
        self._logins: dict[str, Login] = {}

    def login(self, registry: str) -> Login:
        """Return what this run shows to a registry; a key is checked there first.

        At NVIDIA's own registry a key that was given wins over a login from an earlier day; elsewhere Docker's own login wins,
        and the key is tried where there is none.

        Raises:
            Failure: C(registry_unauthorized) and the others of registry/image.py for the key, C(docker_config_invalid).

        """
        if registry not in self._logins:
            self._logins[registry] = self._find(registry)
        return self._logins[registry]

    def credential(self, registry: str) -> Credential | None:
        """Return the credential of login()."""
        return self.login(registry).credential

    def inspect(self, reference: Reference) -> RemoteImage:
        """Return what the registry says of an image.

        Raises:
            Failure: As for login() and inspect_image().

        """
        login = self.login(reference.registry)
        return inspect_image(self._api, reference, login.credential, login.problem)

    def secrets(self) -> list[str]:
        """Return the secrets that were found, to mask them."""
        return [login.credential.secret for login in self._logins.values() if login.credential]

    def as_facts(self, registry: str) -> dict[str, Any]:
        """Return what may be shown of login()."""
        return {"registry": registry, **self.login(registry).as_facts()}

    def _find(self, registry: str) -> Login:
        usable = self._key if registry == self._key_registry else None
        found = Login(None, None, "")
        if usable is None or registry != NGC_REGISTRY:
            found = find_login(self._machine, self._account, registry)
        if usable is None or found.credential is not None:
            return found
        credential = ngc_login(usable)
        log_in(self._api, registry, credential, found.problem)
        return Login(credential, "key", "", found.problem)
