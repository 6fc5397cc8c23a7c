# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of images, as Docker reads them."""

from __future__ import annotations

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import parse_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "registry", "repository", "version", "again"),
    [
        ("debian", "docker.io", "library/debian", "latest", "library/debian:latest"),
        ("vllm/vllm-openai:v0.22.0", "docker.io", "vllm/vllm-openai", "v0.22.0", "vllm/vllm-openai:v0.22.0"),
        ("nvcr.io/nim/meta/llama:1.2", "nvcr.io", "nim/meta/llama", "1.2", "nvcr.io/nim/meta/llama:1.2"),
        ("localhost/a", "localhost", "a", "latest", "localhost/a:latest"),
        ("localhost:5000/a/b", "localhost:5000", "a/b", "latest", "localhost:5000/a/b:latest"),
        ("[::1]:5000/a:b", "[::1]:5000", "a", "b", "[::1]:5000/a:b"),
        (f"nvcr.io/nvidia/vllm@{DIGEST}", "nvcr.io", "nvidia/vllm", DIGEST, f"nvcr.io/nvidia/vllm@{DIGEST}"),
        (f"nvcr.io/nvidia/vllm:1@{DIGEST}", "nvcr.io", "nvidia/vllm", DIGEST, f"nvcr.io/nvidia/vllm@{DIGEST}"),
        ("index.docker.io/a/b", "docker.io", "a/b", "latest", "a/b:latest"),
        ("my_team/a__b.c-d", "docker.io", "my_team/a__b.c-d", "latest", "my_team/a__b.c-d:latest"),
        (" nvcr.io/a:1\n", "nvcr.io", "a", "1", "nvcr.io/a:1"),
    ],
)
def test_names(text: str, registry: str, repository: str, version: str, again: str) -> None:
    found = parse_reference(text)
    assert (found.registry, found.repository, found.version, str(found)) == (registry, repository, version, again)
    assert parse_reference(again)[:2] == (registry, repository)


@pytest.mark.parametrize(
    "text",
    ["", "Upper/case", "a b", "a@sha256:12", "http://nvcr.io/a", "nvcr.io/", "a:", "-a", "a//b", "a:b:c", "$(id)"],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_reference(text)
    assert failed.value.code == "image_name_invalid"
