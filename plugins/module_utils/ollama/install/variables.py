# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the options of ollama_install are called in the role, for the sentences of its failures: who runs site.yml knows no options."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

_SOURCE = ("ollama_install_url", "ollama_install_checksum")
# By the codes whose remedy is one of the options.
VARIABLES: dict[str, tuple[str, ...]] = {
    "archive_not_found": ("ollama_version", "ollama_install_url"),
    "archive_unreadable": ("ollama_install_url",),
    "archive_invalid": _SOURCE,
    "checksum_invalid": ("ollama_install_checksum",),
    "checksum_mismatch": ("ollama_install_checksum",),
    "checksum_missing": ("ollama_install_checksum", "ollama_install_jetpack_checksum"),
    "download_interrupted": ("ollama_install_url",),
    "download_refused": ("ollama_install_url",),
    "download_stalled": ("ollama_install_url",),
    "download_unreachable": ("ollama_install_url",),
    "install_unwritable": ("ollama_install_mode",),
    "method_invalid": ("ollama_install_method", "ollama_install_mode"),
    "ollama_unusable": _SOURCE,
    "redirect_refused": ("ollama_install_url",),
    "script_failed": ("ollama_install_method",),
    "url_credentials": ("ollama_install_url",),
    "url_invalid": ("ollama_install_url",),
    "version_invalid": ("ollama_version", "ollama_minimum_version"),
    "version_mismatch": ("ollama_version", *_SOURCE),
}


def name_variables(failure: Failure) -> Failure:
    """Return the failure with the role's variables in its sentence, where its remedy is an option that they set."""
    names = VARIABLES.get(failure.code)
    if not names:
        return failure
    return Failure(failure.code, f"{failure.message} Variables of the role: {', '.join(names)}.", **failure.details)
