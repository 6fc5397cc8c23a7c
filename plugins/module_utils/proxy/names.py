# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the gate's parts are called on a host; the role proxy gives them the same names (roles/proxy/vars)."""

from __future__ import annotations

# The system account that nginx runs as, and its group.
GATE_USER = "nemoclaw-proxy"
# As docs/proxy.md has it.
UNIT = "nemoclaw-ollama-proxy.service"
# What nginx is started with.
CONFIG = "/etc/nemoclaw-ollama-proxy.conf"
# How the gate says that an answer is its own and not the backend's.
REALM = "nemoclaw.local_inference"
