"""What users of an auth proxy have of a rotation: `streams.py HOST PORT`, with the token on standard input.

32 streams run until somebody releases them, and all the while new requests are made with the same token, which ends at some time. Ends with
an error and a sentence for each thing that is not as it should be. Never prints the token.
"""

import http.client
import sys
import threading
import time

HOST, PORT = sys.argv[1], int(sys.argv[2])
HEADERS = {"Authorization": f"Bearer {sys.stdin.read().strip()}"}
STREAMS = 32
faults, delays, ended, answers = [], [], [], []


def follow():
    connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
    try:
        connection.request("GET", "/stream", headers=HEADERS)
        for line in connection.getresponse():
            if line == b"data: [DONE]\n":
                ended.append(1)
            elif line.strip():
                # Both clocks are this machine's: the hosts are containers on it.
                delays.append(time.time() - float(line.split()[2]))
    except (OSError, http.client.HTTPException, IndexError, ValueError) as error:
        faults.append(f"a stream broke: {type(error).__name__}")


def ask():
    """Each request has a connection of its own, as one of a new client."""
    connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
    try:
        connection.request("GET", "/v1/models", headers=HEADERS)
        answers.append(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        faults.append(f"a new request got no answer: {type(error).__name__}")
    finally:
        connection.close()


followers = [threading.Thread(target=follow) for number in range(STREAMS)]
for thread in followers:
    thread.start()
while any(thread.is_alive() for thread in followers):
    ask()
    time.sleep(0.2)

if len(ended) != STREAMS:
    faults.append(f"{len(ended)} of {STREAMS} streams came to their end")
# The token is valid until the end of the overlap, and never again.
valid = answers.index(401) if 401 in answers else len(answers)
if not valid or set(answers[:valid]) != {200} or set(answers[valid:]) - {401}:
    faults.append(f"new requests were answered {answers}")
# A proxy that buffers keeps most of them for seconds; a machine that is busy, some of them for a moment.
for share, limit_s in ((0.5, 0.5), (0.99, 5)):
    late = sorted(delays)[int(len(delays) * share)] if delays else 60
    if late >= limit_s:
        faults.append(f"{1 - share:.0%} of {len(delays)} events took more than {late:.3f} s, and not {limit_s}")
print(
    "\n".join(faults)
    or f"{len(delays)} events, {valid} new requests with the token and {len(answers) - valid} after its end"
)
sys.exit(1 if faults else 0)
