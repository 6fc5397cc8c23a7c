# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The files of the auth proxy, as controller and host call them."""

from __future__ import annotations

from ..proxy.names import UNIT

# As roles/proxy/vars/main.yml has them; a test compares.
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
TOKENS = "/etc/nemoclaw-ollama-proxy.tokens"
RUN = "/run/nemoclaw-ollama-proxy"
LOADED = f"{RUN}/loaded"
PID = f"{RUN}/nginx.pid"
TEMP = "/var/lib/nemoclaw-ollama-proxy/temp"
# Takes the place of the path of nginx in the files that the controller renders, which does not know it before the look.
NGINX = "@nginx@"


def variant(role: str, with_ollama: bool) -> str:
    """Return which of the controller's files a host gets."""
    return "ollama" if role == "ollama" else f"{role} beside ollama" if with_ollama else role
