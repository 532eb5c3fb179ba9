// A browser's half of web push, by RFC 8291, RFC 8188 and RFC 8292 alone, on node's own crypto.
// Reads one JSON: {private, secret, body, authorization}; prints {text, claims, good, key}.
import crypto from "node:crypto";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const given = JSON.parse(Buffer.concat(chunks));
const body = Buffer.from(given.body, "base64url");
const secret = Buffer.from(given.secret, "base64url");

const salt = body.subarray(0, 16);
const size = body.readUInt32BE(16);
const length = body.readUInt8(20);
const sender = body.subarray(21, 21 + length);
const record = body.subarray(21 + length);
if (record.length > size) throw new Error("more than one record");

const own = crypto.createECDH("prime256v1");
own.setPrivateKey(Buffer.from(given.private, "base64url"));
const shared = own.computeSecret(sender);
const info = Buffer.concat([Buffer.from("WebPush: info\0"), own.getPublicKey(), sender]);
const material = Buffer.from(crypto.hkdfSync("sha256", shared, secret, info, 32));
const key = Buffer.from(crypto.hkdfSync("sha256", material, salt, "Content-Encoding: aes128gcm\0", 16));
const nonce = Buffer.from(crypto.hkdfSync("sha256", material, salt, "Content-Encoding: nonce\0", 12));
const cipher = crypto.createDecipheriv("aes-128-gcm", key, nonce);
cipher.setAuthTag(record.subarray(-16));
const padded = Buffer.concat([cipher.update(record.subarray(0, -16)), cipher.final()]);
const end = padded.lastIndexOf(2);
if (end < 0 || padded.subarray(end + 1).some((byte) => byte !== 0)) throw new Error("no end of the last record");

const answer = { text: padded.subarray(0, end).toString() };
if (given.authorization) {
  const [, token, point] = /^vapid t=([^,]+), k=(\S+)$/.exec(given.authorization);
  const [head, claims, signature] = token.split(".");
  const bytes = Buffer.from(point, "base64url");
  const jwk = { kty: "EC", crv: "P-256", x: bytes.subarray(1, 33).toString("base64url"), y: bytes.subarray(33).toString("base64url") };
  answer.good = crypto.verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: crypto.createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  answer.head = JSON.parse(Buffer.from(head, "base64url"));
  answer.claims = JSON.parse(Buffer.from(claims, "base64url"));
  answer.key = point;
}
process.stdout.write(JSON.stringify(answer));
