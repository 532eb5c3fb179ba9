// A server that behaves like Apple's, on node's http2: checks what Apple checks, and misbehaves on command.
//
// Started with one argument, JSON: {tls: {key, cert} | null, publicKey, keyId, team, topics, settings}.
// Prints {"port": n}, then one line of JSON for each request and session. Reads one command a line:
//   {"script": [step, …]}   what the next requests get, one each; then all is well again
//   {"settings": {…}}       SETTINGS for every session
//   {"goaway": {code, last}} GOAWAY on every session
//   {"release": true}       answers those that were held back
//   {"expire": true}        provider tokens seen so far have expired
//   {"destroy": true}       cuts every session
// A step: {"status", "reason", "timestamp", "headers", "bare"} | {"reset": code} | {"hang": true} | {"hold": true}
//   | {"cut": true} | {"goaway": {code, last}, then: step} | {"big": bytes} | {"delay": ms}
import crypto from "node:crypto";
import http2 from "node:http2";
import readline from "node:readline";

const options = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
let script = [];
let held = [];
const sessions = new Set();
const seenTokens = new Set();
const expired = new Set();

function refusal(headers, body) {
  const [scheme, token] = (headers.authorization ?? "").split(" ");
  if (scheme !== "bearer" || !token) return [403, "MissingProviderToken"];
  const [head, claims, signature] = token.split(".");
  const good = crypto.verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: options.publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  const { alg, kid } = JSON.parse(Buffer.from(head, "base64url"));
  const { iss, iat } = JSON.parse(Buffer.from(claims, "base64url"));
  if (!good || alg !== "ES256" || kid !== options.keyId || iss !== options.team) return [403, "InvalidProviderToken"];
  seenTokens.add(token);
  if (expired.has(token) || Math.abs(Date.now() / 1000 - iat) > 3600) return [403, "ExpiredProviderToken"];
  if (headers[":method"] !== "POST") return [405, "MethodNotAllowed"];
  const path = /^\/3\/device\/([0-9a-fA-F]+)$/.exec(headers[":path"]);
  if (!path) return [404, "BadPath"];
  if (path[1].length < 64) return [400, "BadDeviceToken"];
  if (!headers["apns-topic"]) return [400, "MissingTopic"];
  if (!options.topics.includes(headers["apns-topic"])) return [400, "TopicDisallowed"];
  if (!["alert", "background"].includes(headers["apns-push-type"])) return [400, "InvalidPushType"];
  if (!["1", "5", "10"].includes(headers["apns-priority"] ?? "10")) return [400, "BadPriority"];
  if (headers["apns-push-type"] === "background" && headers["apns-priority"] !== "5") return [400, "BadPriority"];
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(headers["apns-id"] ?? "")) return [400, "BadMessageId"];
  if (Buffer.byteLength(headers["apns-collapse-id"] ?? "") > 64) return [400, "BadCollapseId"];
  if (!/^\d+$/.test(headers["apns-expiration"] ?? "0")) return [400, "BadExpirationDate"];
  if (body.length === 0) return [400, "PayloadEmpty"];
  if (body.length > 4096) return [413, "PayloadTooLarge"];
  try {
    if (typeof JSON.parse(body).aps !== "object") return [400, "PayloadEmpty"];
  } catch {
    return [400, "PayloadEmpty"];
  }
  return null;
}

function play(stream, headers, body, step) {
  if (stream.destroyed) return;
  const session = stream.session;
  if (step.goaway) {
    session.goaway(step.goaway.code ?? 0, step.goaway.last ?? stream.id);
    if (step.then) setTimeout(() => play(stream, headers, body, step.then), 20);
    return;
  }
  if (step.delay) {
    setTimeout(() => play(stream, headers, body, { ...step, delay: 0 }), step.delay);
    return;
  }
  if (step.reset !== undefined) return stream.close(step.reset);
  if (step.hang) return;
  if (step.hold) return void held.push(() => play(stream, headers, body, {}));
  if (step.cut) return raw.get(session).destroy();
  if (step.big) {
    stream.respond({ ":status": 400 });
    return stream.end("x".repeat(step.big));
  }
  const [status, reason] = step.status ? [step.status, step.reason] : refusal(headers, body) ?? [200, null];
  const answer = { ":status": status, ...(headers["apns-id"] && { "apns-id": headers["apns-id"] }), ...step.headers };
  if (!reason) {
    stream.respond(answer, { endStream: true });
  } else {
    stream.respond(answer);
    stream.end(JSON.stringify({ reason, ...(step.timestamp && { timestamp: step.timestamp }) }));
  }
}

const settings = options.settings ?? {};
const server = options.tls
  ? http2.createSecureServer({ ...options.tls, settings, ALPNProtocols: ["h2"] })
  : http2.createServer({ settings });
// http2 gives no way to cut a connection, so the socket itself is kept
const raw = new Map();
let newest;
server.prependListener(options.tls ? "secureConnection" : "connection", (socket) => (newest = socket));
server.on("session", (session) => {
  sessions.add(session);
  raw.set(session, newest);
  say({ session: "open" });
  newest.on("close", () => (sessions.delete(session), say({ session: "closed" })));
  session.on("error", () => {});
});
server.on("stream", (stream, headers) => {
  const parts = [];
  const all = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  const step = script.shift() ?? {};
  const open = stream.session.state?.openStreams ?? 0;
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => {
    const body = Buffer.concat(parts);
    say({ headers: all, body: body.toString(), stream: stream.id, session: [...sessions].indexOf(stream.session) });
    play(stream, headers, body, step);
  });
});
server.on("sessionError", () => {});
server.on("error", () => {});
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.script) script = command.script;
  if (command.settings) for (const session of sessions) session.settings(command.settings);
  if (command.goaway) for (const session of sessions) session.goaway(command.goaway.code ?? 0, command.goaway.last ?? 0);
  if (command.destroy) for (const session of sessions) raw.get(session).destroy();
  if (command.expire) for (const token of seenTokens) expired.add(token);
  if (command.release) {
    const waiting = held;
    held = [];
    for (const go of waiting) go();
  }
  say({ done: true });
}).on("close", () => process.exit(0));
