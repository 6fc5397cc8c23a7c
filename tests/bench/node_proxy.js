// The peer: a Node http proxy of the usual shape, as NemoClaw's own is (upstream-facts N20): one process, the standard library,
// constant-time comparison of the token, pipes in both directions. Usage: node node_proxy.js PORT BACKEND_PORT, token on stdin.
const http = require("http");
const crypto = require("crypto");

const [port, backend] = process.argv.slice(2).map(Number);
const expected = Buffer.from(`Bearer ${require("fs").readFileSync(0, "utf8").trim()}`);

function allowed(header) {
  const given = Buffer.from(header || "");
  return given.length === expected.length && crypto.timingSafeEqual(given, expected);
}

http
  .createServer((request, response) => {
    if (!allowed(request.headers.authorization)) {
      response.writeHead(401, { "Content-Type": "text/plain" });
      response.end("Unauthorized");
      return;
    }
    const headers = { ...request.headers };
    delete headers.authorization;
    delete headers.host;
    const upstream = http.request(
      { host: "127.0.0.1", port: backend, path: request.url, method: request.method, headers },
      (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      },
    );
    upstream.on("error", (error) => {
      response.writeHead(502, { "Content-Type": "text/plain" });
      response.end(error.message);
    });
    request.pipe(upstream);
  })
  .listen(port, "127.0.0.1");
