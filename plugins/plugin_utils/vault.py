# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Settings that Ansible Vault has encrypted, and that this run cannot decrypt: known before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping

from ..module_utils.failure import Failure

# ansible-core 2.19 to 2.21: an error of the vault becomes one of the template engine's own, which nobody may import, and begins with this.
_OF_A_TEMPLATE = "UndecryptableVaultError"
_BEGINNING = "Attempt to use undecryptable variable: "


def why_locked(error: BaseException | None) -> str:
    """Return why a value could not be decrypted, empty where the error is another one."""
    while error is not None:
        if type(error).__name__ == _OF_A_TEMPLATE:
            return " ".join(str(error).removeprefix(_BEGINNING).split()).rstrip(".")
        error = error.__cause__ or error.__context__
    return ""


def refuse_locked(locked: Mapping[str, str]) -> list[Failure]:
    """Return a refusal for the variables that could not be decrypted, given with the reasons; nothing where there is none."""
    if not locked:
        return []
    names = ", ".join(sorted(locked))
    verb = "is" if len(locked) == 1 else "are"
    return [
        Failure(
            "vault_locked",
            f"{names} {verb} encrypted by Ansible Vault and cannot be decrypted: {next(iter(locked.values()))}. "
            "Give the password of the vault, by --vault-password-file or --ask-vault-pass.",
            variables=sorted(locked),
        )
    ]
