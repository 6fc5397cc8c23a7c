# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a play that does something once: the first is one that the playbook is for."""

from __future__ import annotations

DOCUMENTATION = """
name: asked_first
version_added: "0.2.0"
short_description: A host pattern that starts with the hosts for which a playbook was not skipped
description:
  - Ansible decides about a C(run_once) task by the condition of the play's first host. If a playbook is imported with a C(when) that only
    some hosts meet, the first host must be one that meets it.
  - It fails if no host is meant, because a name in the pattern is not in the inventory.
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
options:
  _terms:
    description: The pattern, or a list of them.
    type: list
    elements: raw
    required: true
  playbook:
    description: The name of the playbook, without the collection's.
    type: str
    required: true
"""

EXAMPLES = """
- name: End the rollout
  hosts: "{{ query('nemoclaw.local_inference.asked_first', 'lab', playbook='rollout') }}"
"""

RETURN = """
_raw:
  description:
    - The patterns as they are, if no host was skipped before one that was not.
    - Otherwise the names of those that were not skipped, followed by the patterns.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

from ..module_utils.failure import Failure
from ..plugin_utils.outcome import began_with
from ..plugin_utils.rollout import is_plain_name, refuse_nobody


class LookupModule(LookupBase):
    """See the documentation above."""

    def run(self, terms: list[Any], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the patterns."""
        self.set_options(var_options=variables, direct=kwargs)
        patterns = [one for term in terms for one in ([term] if isinstance(term, str) else term)]
        groups = (variables or {})["groups"]
        named = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        hosts = named.run(patterns, variables)
        try:
            refuse_nobody(patterns, hosts, groups)
        except Failure as failure:
            raise AnsibleLookupError(failure.message) from None
        known: Any = (variables or {}).get("hostvars")
        if not hasattr(known, "raw_get"):
            return patterns  # no play has had a host yet, or a check of the syntax
        name = began_with(self.get_option("playbook"))
        return [*asked_first({host: known.raw_get(host).get(name) or {} for host in hosts}, groups), *patterns]


def asked_first(begun: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the hosts that the playbook was not passed over for, none where one of them is first anyway.

    Args:
        begun: By the name of the host, in their order: what it began with, empty where it has not.
        groups: Of the inventory.

    """
    asked, passed_over = [], False
    for host, one in begun.items():
        passed_over = passed_over or bool(one.get("skipped"))
        if one and not one.get("skipped"):
            if not passed_over:
                return []
            if is_plain_name(host, groups):
                asked.append(host)
    return asked
