# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Waits on the controller for the work of the module of this name, and shows how far it is."""

from __future__ import annotations

from ..plugin_utils.long_work import LongWork


class ActionModule(LongWork):
    """See the documentation of the module."""
