// Servers that behave like Apple's and Google's push services, on node's http2 and http: `node push.mjs apns FILE ORDERS`
// or `fcm`. What they take and refuse is written into FILE, one JSON a line. They print their port and take further
// orders from standard input, JSON, one a line; they end with it.
//   key       apns: the public key that provider tokens must be signed with
//   streams   apns: SETTINGS_MAX_CONCURRENT_STREAMS
//   latency   milliseconds before an answer
//   every, do of so many requests one is harmed: {status, reason, wait} an answer with Retry-After, {reset: code} with the
//             notification not taken, {lose: true} taken and reset, {silent: true} taken and never answered,
//             {goaway: true} the session takes no more; `most` times
//   refuse    {status, reason, wait}: every request, until it is null again
//   expire    tokens seen so far are no longer taken; `expires` does so once, after so many requests
// A device token that begins with `dead` is gone, one with `5a1e` is called so at first and was registered after that,
// one with `bad0` is of another app.
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import readline from "node:readline";

const [kind, path, first] = process.argv.slice(2);
const file = fs.openSync(path, "a");
const orders = { most: Infinity, ...JSON.parse(first || "{}") };
const note = (what) => fs.writeSync(file, JSON.stringify({ ...what, at: Date.now() / 1000 }) + "\n");
const sessions = new Set();
const good = new Set();
const expired = new Set();
const asked = new Map();
let requests = 0;
let issued = 0;

function signed(token) {
  if (!good.has(token)) {
    const [head, claims, signature] = token.split(".");
    const options = { key: orders.key, dsaEncoding: "ieee-p1363" };
    if (!crypto.verify("sha256", Buffer.from(`${head}.${claims}`), options, Buffer.from(signature ?? "", "base64url")))
      return false;
    good.add(token);
    note({ token: good.size });
  }
  return true;
}

// What stands against a request: a status and a word for it, or null.
function refusal(authorization, device) {
  const token = (authorization ?? "").replace(/^bearer /i, "");
  if (kind === "apns" ? !signed(token) : !good.has(token) && !expired.has(token))
    return kind === "apns" ? { status: 403, reason: "InvalidProviderToken" } : { status: 401, reason: "UNAUTHENTICATED" };
  if (expired.has(token))
    return kind === "apns" ? { status: 403, reason: "ExpiredProviderToken" } : { status: 401, reason: "UNAUTHENTICATED" };
  if (orders.refuse) return orders.refuse;
  const times = (asked.get(device) ?? 0) + 1;
  asked.set(device, times);
  const ago = (minutes) => Date.now() - minutes * 60000;
  if (device.startsWith("dead"))
    return kind === "apns" ? { status: 410, reason: "Unregistered", timestamp: ago(30) } : { status: 404, reason: "UNREGISTERED" };
  if (device.startsWith("5a1e") && times === 1 && kind === "apns")
    return { status: 410, reason: "Unregistered", timestamp: ago(30) };
  if (device.startsWith("bad0"))
    return kind === "apns" ? { status: 400, reason: "BadDeviceToken" } : { status: 403, reason: "SENDER_ID_MISMATCH" };
  return null;
}

// How one request goes: `answer(status, headers, body)`, `reset(code)` and `goaway()` are the protocol's own.
function serve(device, authorization, id, text, { answer, reset, goaway }) {
  requests++;
  if (orders.expires && requests > orders.expires) [orders.expires, orders.expire] = [0, true];
  if (orders.expire) {
    for (const token of good) expired.add(token);
    if (kind === "fcm") good.clear();
    note({ expired: expired.size });
    orders.expire = false;
  }
  const key = /number ([\w-]+)\./.exec(text)?.[1] ?? text;
  const no = refusal(authorization, device);
  const harmed = !no && orders.every && requests % orders.every === 0 && orders.most > 0;
  const deed = harmed ? orders.do : {};
  if (harmed) {
    orders.most--;
    note({ harmed: key, ...deed });
  }
  const refused = no ?? (deed.status ? deed : null);
  if (refused) {
    if (device.startsWith("dead")) note({ dead: device });
    else note({ refused: key, reason: refused.reason });
    const headers = refused.wait ? { "retry-after": String(refused.wait) } : {};
    const body =
      kind === "apns"
        ? { reason: refused.reason, ...(refused.timestamp && { timestamp: refused.timestamp }) }
        : { error: { code: refused.status, status: refused.reason, message: "no", details: [{ errorCode: refused.reason }] } };
    return answer(refused.status, headers, body);
  }
  if (deed.reset !== undefined) return reset(deed.reset);
  if (deed.goaway) goaway();
  note({ key, id });
  if (deed.lose) return reset(8);
  if (deed.silent) return;
  answer(200, id ? { "apns-id": id } : {}, kind === "apns" ? null : { name: `projects/rig/messages/${requests}` });
}

function later(what) {
  return (...words) => (orders.latency ? setTimeout(what, orders.latency, ...words) : what(...words));
}

function apns() {
  const server = http2.createServer({ settings: { maxConcurrentStreams: orders.streams } });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  // what comes beyond the streams there may be is no stream: node ends the session
  server.on("sessionError", (error) => note({ over: error.message }));
  server.on("stream", (stream, headers) => {
    const session = stream.session;
    session.open = (session.open ?? 0) + 1;
    if (session.open === orders.streams) note({ full: session.open });
    if (session.open > orders.streams) note({ over: session.open });
    stream.on("close", () => session.open--);
    stream.on("error", () => {});
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => {
      const text = JSON.parse(Buffer.concat(parts)).aps.alert.body;
      serve(headers[":path"].slice("/3/device/".length), headers.authorization, headers["apns-id"], text, {
        answer: later((status, more, body) => {
          if (stream.destroyed) return;
          stream.respond({ ":status": status, ...more }, { endStream: !body });
          if (body) stream.end(JSON.stringify(body));
        }),
        reset: (code) => stream.close(code),
        goaway: () => session.close(),
      });
    });
  });
  return server;
}

function fcm() {
  return http.createServer((request, response) => {
    const parts = [];
    const answer = later((status, more, body) => {
      response.writeHead(status, { "content-type": "application/json", ...more });
      response.end(JSON.stringify(body));
    });
    request.on("data", (part) => parts.push(part));
    request.on("error", () => {});
    request.on("end", () => {
      const content = Buffer.concat(parts).toString();
      if (request.url === "/token") {
        const token = `ya29.${++issued}.${crypto.randomUUID()}`;
        good.add(token);
        note({ token: issued });
        return answer(200, {}, { access_token: token, expires_in: 3600, token_type: "Bearer" });
      }
      const { token, notification } = JSON.parse(content).message;
      serve(token, request.headers.authorization, "", notification.body, {
        answer,
        reset: () => request.socket.destroy(),
        goaway: () => response.setHeader("connection", "close"),
      });
    });
  });
}

const server = kind === "apns" ? apns() : fcm();
server.on("error", () => {});
server.listen(0, "127.0.0.1", () => process.stdout.write(server.address().port + "\n"));
readline.createInterface({ input: process.stdin })
  .on("line", (line) => Object.assign(orders, JSON.parse(line)))
  .on("close", () => process.exit(0));
