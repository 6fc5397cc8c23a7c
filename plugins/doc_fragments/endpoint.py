# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that talk to a model server."""

from __future__ import annotations


class ModuleDocFragment:
    """See plugins/module_utils/base.py, ENDPOINT_OPTIONS, for the same as code."""

    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - The key of the server, sent as a Bearer token, or as C(x-api-key) for V(anthropic-messages).
      - Leave it out, or give any word such as V(dummy), for a server that needs none.
      - It is sent in a header only; it never appears in an argument list, a log or a result.
    type: str
  ca_path:
    description: File on the target with the certificates to trust instead of the system's.
    type: path
  validate_certs:
    description: Whether the server's certificate must be valid and issued for its name.
    type: bool
    default: true
  trusted_users:
    description:
      - Users of the target whose servers on loopback may receive O(api_key), besides root, the user that the module runs as, and service
        accounts.
      - Not needed for a server with HTTPS and O(validate_certs=true).
    type: list
    elements: str
    default: []
"""
