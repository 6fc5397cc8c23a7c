# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role variable is where nobody sets it, by nemoclaw_profile."""

from __future__ import annotations

DOCUMENTATION = """
name: profile
version_added: "0.2.0"
short_description: The default of a role variable by C(nemoclaw_profile)
description:
  - Returns the default that C(nemoclaw_profile) implies for a role variable. The defaults of the roles use it, so a variable that is set
    takes precedence.
  - C(nemoclaw_profile) is read as with P(nemoclaw.local_inference.setting#lookup), and refused with the same message.
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
options:
  _terms:
    description: The variable, V(proxy_listen) or V(ollama_windows_bind).
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: Show where the auth proxy listens where nothing else is set
  ansible.builtin.debug:
    msg: "{{ lookup('nemoclaw.local_inference.profile', 'proxy_listen') }}"
"""

RETURN = """
_raw:
  description: What each variable is by default.
  type: list
  elements: raw
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError

from ..module_utils.plan.settings import SETTINGS, default_of
from ..module_utils.profiles import BY_NAME
from . import setting


class LookupModule(setting.LookupModule):
    """See the documentation above."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the default of each variable."""
        self.set_options(var_options=variables, direct=kwargs)
        chosen = BY_NAME[self._value("nemoclaw_profile", variables or {}, {})]
        unknown = [one for one in terms if one not in SETTINGS or not SETTINGS[one].by_profile]
        if unknown:
            raise AnsibleLookupError(f"nemoclaw_profile says nothing of {', '.join(unknown)}.")
        return [default_of(SETTINGS[one], chosen) for one in terms]
