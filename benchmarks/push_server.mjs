// In the place of Apple (HTTP/2 in clear) and Google (HTTP/1.1): takes everything. Prints the two ports.
import http from "node:http";
import http2 from "node:http2";

const apple = http2.createServer({ settings: { maxConcurrentStreams: 1000 } });
apple.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  stream.on("end", () => stream.respond({ ":status": 200, "apns-id": headers["apns-id"] }, { endStream: true }));
  stream.resume();
});

const google = http.createServer((request, response) => {
  const token = request.url === "/token";
  const body = token ? { access_token: "bench", expires_in: 3600, token_type: "Bearer" } : { name: "projects/bench/messages/1" };
  request.on("end", () => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body)));
  request.resume();
});
google.keepAliveTimeout = 60_000;

apple.listen(0, "127.0.0.1", () =>
  google.listen(0, "127.0.0.1", () => console.log(`${apple.address().port} ${google.address().port}`)),
);
process.stdin.on("close", () => process.exit(0)).resume();
