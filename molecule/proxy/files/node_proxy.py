"""Stands where NemoClaw's own proxy stands, C(node .../ollama-auth-proxy.js), started as the user and named like it.

Not NemoClaw's program: it is not to be had here, and neither is Node in the image of the host. The role looks at nothing but
the process: its program, its argument, its owner and its socket, which are those of the real one.
"""

import os
import socket
import sys
import time
from pathlib import Path

if len(sys.argv) < 3:
    script = Path.home() / "ollama-auth-proxy.js"
    script.write_text(Path(__file__).read_text())
    if os.fork() == 0:
        os.setsid()
        for number in range(3):
            os.dup2(os.open("/dev/null", os.O_RDWR), number)
        os.execv(sys.executable, ["node", str(script), sys.argv[1], "serve"])  # noqa: S606 - no shell is the point
else:
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))  # noqa: S104 - as the real one does
    (Path.home() / ".nemoclaw" / "ollama-auth-proxy.pid").write_text(f"{os.getpid()}\n")
    time.sleep(3600)
