# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether the Hugging Face hub takes a token for a model: asked before an image of 9 GB is pulled, which has the program that downloads."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ..failure import Failure

HUB = "https://huggingface.co"
# Seconds: where a host reaches the hub by its containers alone, the question must not hold the play up.
LIMIT_S = 5.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: urllib would show the token there."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Return no further request."""


def check_access(endpoint: str, model: str, token: str) -> None:
    """Refuse a token that the hub refuses for this model. No answer, and any other one, is no reason to stop.

    The question is that of C(huggingface_hub.HfApi.auth_check); no file is asked for.

    Args:
        endpoint: The hub; empty for huggingface.co.
        model: Its id.
        token: The token.

    Raises:
        Failure: C(weights_unauthorized).

    """
    hub = (endpoint or HUB).rstrip("/")
    if not hub.startswith(("http://", "https://")):
        return
    url = f"{hub}/api/models/{urllib.parse.quote(model)}/auth-check"
    try:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - http(s) only
        with urllib.request.build_opener(_Stay).open(request, timeout=LIMIT_S):
            status = http.client.OK
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    except (OSError, ValueError, http.client.HTTPException):
        return
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise Failure(
            "weights_unauthorized",
            f"Asked {hub} whether the token may read {model}, and it answered with HTTP status {status}. Nothing was downloaded. Correct "
            f"HF_TOKEN (hf_token in the inventory, vault-encrypted), and accept the model's licence at {hub}/{model}.",
            model=model,
            status=status,
        )
