"""Write the auth proxy's configuration for nginx, as the module proxy_gate does, into a folder: for the linters that read such files."""

from __future__ import annotations

import sys
from pathlib import Path

# The linters run on a copy of the tree in a folder from where it can be imported.
sys.path.insert(0, str(Path(__file__).parents[5]))

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import (
    TOKENS,
    Gate,
    ProxySettings,
    render_config,
)

# Each way that the text can go: a proxy that passes on everything, and one that passes on some paths.
_GATES = [Gate("ollama", 11435, upstream_port=11434), Gate("vllm", 8001, upstream_port=8000, paths=("/v1/", "/health"))]


def write(folder: Path) -> Path:
    """Write the configuration and the file of tokens that it includes, and return the path of the first."""
    tokens = folder / "proxy.tokens"
    tokens.write_text(f'"Bearer {"0" * 48}" 1;\n', encoding="utf-8")
    config = folder / "nginx.conf"
    made = render_config(ProxySettings(_GATES, ["0.0.0.0", "[::]"]))
    config.write_text(made.replace(TOKENS, str(tokens)), encoding="utf-8")
    return config


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
