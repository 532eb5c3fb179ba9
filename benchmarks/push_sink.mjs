// Push services that take every notification and keep none, on node's http2 and http: `node push_sink.mjs apns PORT`, or
// `fcm`. They write `mesg=N` and a carriage return whenever the count has grown, at most a hundred times a second, as
// smtp_sink.py does. Tokens are not looked at; `/token` gives one.
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";

const [kind, port] = process.argv.slice(2);
let count = 0;
let told = 0;
setInterval(() => {
  if (count !== told) fs.writeSync(1, `mesg=${(told = count)}\r`);
}, 10);

function apns() {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 500 } });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.on("end", () => {
      count++;
      stream.respond({ ":status": 200, "apns-id": headers["apns-id"] }, { endStream: true });
    });
    stream.resume();
  });
  return server;
}

function fcm() {
  const server = http.createServer((request, response) => {
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/token")
        return response.end(JSON.stringify({ access_token: "ya29.bench", expires_in: 3600, token_type: "Bearer" }));
      count++;
      response.end(JSON.stringify({ name: `projects/bench/messages/${count}` }));
    });
    request.resume();
  });
  server.keepAliveTimeout = 60000;
  return server;
}

(kind === "apns" ? apns() : fcm()).listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
