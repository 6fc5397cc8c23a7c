"""What a machine on the network sees of the gate: `client.py TEST HOST PORT`, with the tokens on standard input.

Ends with an error and a sentence for each thing that is not as it should be. Never prints a token.
"""

import http.client
import json
import socket
import sys

TEST, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
TOKEN, *OTHERS = sys.stdin.read().split()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
PATHS = (
    "/",
    "/api/tags",
    "/api/pull",
    "/v1/models",
    "/v1/chat/completions",
    "//api/tags",
    "/%61pi/tags",
    "/a/../api/tags",
    "/count",
)
WRONG = {
    "no header": None,
    "an empty one": "",
    "another token": f"Bearer {'0' * 48}",
    "all but the last digit": f"Bearer {TOKEN[:-1]}",
    "one digit more": f"Bearer {TOKEN}0",
    "the token alone": TOKEN,
    "another scheme": f"Basic {TOKEN}",
    "two spaces": f"Bearer  {TOKEN}",
    "no ASCII": f"Bearer {TOKEN[:-1]}\xe9",
}
faults = []


def expect(what, got, *wanted):
    if got not in wanted:
        faults.append(f"{what}: {got}, not {' or '.join(map(str, wanted))}")


def request(method, path, authorization=None, body=None, **headers):
    connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
    if authorization is not None:
        headers["Authorization"] = authorization
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def raw(*lines):
    """Send these lines as they are and return the status of the answer; 0 where there is none."""
    with socket.create_connection((HOST, PORT), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        answer = connection.makefile("rb").readline().split()
    return int(answer[1]) if answer and answer[0].startswith(b"HTTP/") else 401 if b'"unauthorized"}}' in answer else 0


def count():
    return json.loads(request("GET", "/count", f"Bearer {TOKEN}")[1])["count"]


def closed():
    """Nothing gets through without the token, by any method, on any path, in any spelling."""
    before = count()
    for method in METHODS:
        for path in PATHS:
            for name, value in WRONG.items():
                expect(f"{method} {path} with {name}", request(method, path, value)[0], 401)
    right = f"Authorization: Bearer {TOKEN}"
    wrong = "Authorization: Bearer 0"
    for name, lines in {
        "two headers, the wrong one first": ("GET / HTTP/1.1", "Host: a", wrong, right),
        "two headers, the right one first": ("GET / HTTP/1.1", "Host: a", right, wrong),
        "a length and chunks": ("POST / HTTP/1.1", "Host: a", right, "Content-Length: 4", "Transfer-Encoding: chunked"),
        "CONNECT to elsewhere": ("CONNECT a:80 HTTP/1.1", "Host: a", right),
    }.items():
        expect(name, raw(*lines), 400)
    # Two methods get through with no token at all, since nginx itself refuses them.
    for name, lines in {
        "TRACE without a token": ("TRACE / HTTP/1.1", "Host: a"),
        "TRACE": ("TRACE / HTTP/1.1", "Host: a", right),
        "CONNECT without a token": ("CONNECT / HTTP/1.1", "Host: a"),
        "CONNECT": ("CONNECT / HTTP/1.1", "Host: a", right),
    }.items():
        expect(name, raw(*lines), 401)
    for name, lines in {
        "an absolute URL": ("GET http://localhost:11434/api/tags HTTP/1.1", "Host: localhost:11434"),
        "HTTP/1.0": ("GET /api/tags HTTP/1.0",),
        "a body that waits": ("POST /api/pull HTTP/1.1", "Host: a", "Content-Length: 9", "Expect: 100-continue"),
        "the token in the URL": (f"GET /api/tags?token={TOKEN} HTTP/1.1", "Host: a"),
        "the token as a cookie": ("GET / HTTP/1.1", "Host: a", f"Cookie: Authorization=Bearer {TOKEN}"),
    }.items():
        expect(name, raw(*lines), 401)
    for name, line in (
        ("OPTIONS *", "OPTIONS * HTTP/1.1"),
        ("HTTP/0.9", "GET /api/tags"),
    ):
        expect(f"{name} without a token", raw(line, "Host: a"), 0, 400, 401)
    connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
    for number in range(10_000):
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {number:048x}"})
        response = connection.getresponse()
        response.read()
        if response.status != 401:
            expect("one of 10,000 wrong tokens", response.status, 401)
    expect("requests that reached the server behind the gate", count() - before, 0)


def opened():
    """With the token everything gets through as it was sent, except what the server must not see."""
    bearer = f"Bearer {TOKEN}"
    for method in METHODS:
        for path in ("/api/tags", "/v1/chat/completions?a=b%20c", "/%61pi//x"):
            status, data = request(
                method, path, bearer, b"{}" if method == "POST" else None, Origin="http://evil.example"
            )
            expect(f"{method} {path}", status, 200)
            if method != "HEAD" and status == 200:
                got = json.loads(data)
                expect(f"{method} {path} arrives as", (got["method"], got["path"]), (method, path))
                expect("the Host header", got["headers"].get("host"), "localhost:11434")
                expect("headers that had to go", {"authorization", "origin", "upgrade"} & set(got["headers"]), set())
    # nginx compares plain strings without regard to case: said in docs/proxy.md, and nothing is lost with hexadecimal digits.
    expect("the token in capitals", request("GET", "/", f"bearer {TOKEN.upper()}")[0], 200)
    size = 100 * 1024 * 1024
    for name, body in (
        ("with a length", b"x" * size),
        ("in chunks", (b"x" * 65536 for number in range(size // 65536))),
    ):
        status, data = request("POST", "/v1/big", bearer, body)
        expect(f"100 MiB {name}", (status, json.loads(data)["bytes"] if status == 200 else None), (200, size))


def paths():
    """A gate with a list of paths passes on those alone, and says so only to whoever has the token."""
    bearer = f"Bearer {TOKEN}"
    for path in ("/v1/models", "/v1/", "/v1/a/b", "/health"):
        expect(f"{path} with the token", request("GET", path, bearer)[0], 200)
    for path in (
        "/",
        "/api/tags",
        "/api/pull",
        "/v1",
        "/healthy",
        "/health/",
        "/v1/../api/pull",
        "/v1/%2e%2e/api/pull",
        "/V1/models",
    ):
        expect(f"{path} with the token", request("GET", path, bearer)[0], 404)
        expect(f"{path} without", request("GET", path)[0], 401)
    expect(
        "a path is passed on as it was compared", json.loads(request("GET", "/api/../v1/x", bearer)[1])["path"], "/v1/x"
    )


def valid():
    """The first token opens the gate, the others do not."""
    expect("the token", request("GET", "/v1/models", f"Bearer {TOKEN}")[0], 200)
    for token in OTHERS:
        expect("a token of the past", request("GET", "/v1/models", f"Bearer {token}")[0], 401)


def both():
    """All the tokens open the gate."""
    for token in (TOKEN, *OTHERS):
        expect("one of the tokens", request("GET", "/v1/models", f"Bearer {token}")[0], 200)


def down():
    """The gate says that the server behind it is down, to whoever has the token."""
    status, data = request("GET", "/v1/models", f"Bearer {TOKEN}")
    expect("with the token", status, 502)
    expect("the reason", b"backend_down" in data, True)
    expect("without", request("GET", "/v1/models")[0], 401)


{test.__name__: test for test in (closed, opened, paths, valid, both, down)}[TEST]()
print("\n".join(faults) or "as it should be")
sys.exit(1 if faults else 0)
