# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A setting of the wizard: from the inventory, the environment or its default."""

from __future__ import annotations

DOCUMENTATION = """
name: setting
version_added: "0.2.0"
short_description: A setting of the wizard, from the inventory, the environment or its default
description:
  - Returns the value of the host's variable, for example C(nemoclaw_model). If it is not set, the variable of the controller's environment
    with the same name in upper case is used, E(NEMOCLAW_MODEL). If that is not set either, it returns the default.
  - Empty or blank values count as not set.
  - Numbers, booleans, choices and the host of a URL are returned as such, also from the environment, where everything is text. An invalid
    value is refused under the name that the user wrote, with the valid values. Secrets are not repeated in the message.
  - The defaults of the roles use this lookup, and M(nemoclaw.local_inference.inference_plan) reads settings with the same code.
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
options:
  _terms:
    description:
      - Names of settings, as listed in the documentation of the collection.
      - V(VLLM_API_KEY), in upper case, exists only in the environment.
    type: list
    elements: str
    required: true
  default:
    description:
      - The value to return if the setting is not set, instead of the setting's own default.
    type: raw
  of_host:
    description:
      - Look only at the variables of the host, not at those of the play, for a variable of the play with that name that is derived from the
        host's.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Show which model is asked for
  ansible.builtin.debug:
    msg: "{{ lookup('nemoclaw.local_inference.setting', 'nemoclaw_model', default='auto') }}"

- name: Use the port that the roles use
  ansible.builtin.wait_for:
    port: "{{ lookup('nemoclaw.local_inference.setting', 'nemoclaw_ollama_port') }}"
"""

RETURN = """
_raw:
  description: The value of each setting.
  type: list
  elements: raw
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils.plan.settings import WIZARD, clean, default_of, refuse
from ..module_utils.plan.sources import find


class LookupModule(LookupBase):
    """See the documentation above."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the value of each setting."""
        self.set_options(var_options=variables, direct=kwargs)
        inventory = variables or {}
        if self.get_option("of_host"):
            inventory = inventory["hostvars"].raw_get(inventory["inventory_hostname"])
        return [self._value(term, inventory, kwargs) for term in terms]

    def _value(self, term: str, inventory: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        if term not in WIZARD:
            near = difflib.get_close_matches(term, WIZARD, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise AnsibleLookupError(f"There is no setting {term}.{meant}")
        one = WIZARD[term]
        value, variable = find(one, inventory, os.environ, lambda _name, raw: self._templar.template(raw))
        if not variable:
            return given.get("default", default_of(one))
        try:
            return clean(one, value)
        except ValueError as error:
            failure = refuse(one, variable, value, error)
            raise AnsibleLookupError(f"{failure.message} ({failure.code})") from None
