"""Makes a token as NemoClaw's wizard does, and a copy of it to compare with later."""

import os
import secrets
from pathlib import Path

os.umask(0o077)
token = secrets.token_hex(24) + "\n"
state = Path.home() / ".nemoclaw"
state.mkdir(exist_ok=True)
(state / "ollama-proxy-token").write_text(token)
(Path.home() / "token-of-nemoclaw").write_text(token)
