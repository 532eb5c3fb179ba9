// Adobe's own client: prints one JSON object with what it read.
const sdk = require("@adobe/acc-js-sdk");

const [, , url, how] = process.argv;

const parameters = {
  password: () => sdk.ConnectionParameters.ofUserAndPassword(url, "mc", "demo"),
  wrong: () => sdk.ConnectionParameters.ofUserAndPassword(url, "mc", "nonsense"),
  token: () => sdk.ConnectionParameters.ofSessionToken(url, "mc/demo"),
  expired: () => sdk.ConnectionParameters.ofSessionToken(url, "___old"),
}[how]();

const shown = (error) => ({
  error: { status: error.statusCode, code: error.errorCode, text: error.faultString, detail: error.detail },
});

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    return shown(error);
  }
}

async function main() {
  const client = await sdk.init(parameters);
  await client.logon();
  const NLWS = client.NLWS;
  const result = { info: client.getSessionInfo && how === "password" ? client.getSessionInfo() : null };
  const id = await NLWS.nmsRtEvent.pushEvent({
    wishedChannel: 0,
    type: "welcome",
    email: "alex@example.com",
    ctx: { $title: "Alex" },
  });
  result.id = id;
  result.batch = await NLWS.xml.nmsBatchEvent.pushEvents(
    sdk.DomUtil.parse(
      `<Events>
        <batchEvent type="account_statement" email="a@example.com" externalId="A"/>
        <batchEvent type="account_statement" email="b@example.com"/>
      </Events>`
    )
  ).then((dom) => sdk.DomUtil.toXMLString(dom));

  const key = Number(BigInt(id) & BigInt("0xFFFFFFFFFFFFFF"));
  const query = (operation, expr) => ({
    schema: "nms:rtEvent",
    operation,
    select: {
      node: [
        { expr: "@id" },
        { expr: "@status" },
        { expr: "@created" },
        { expr: "@processing" },
        { expr: "@processed" },
      ],
    },
    where: { condition: [{ expr }] },
  });
  const ask = (operation, expr) => attempt(() => NLWS.xtkQueryDef.create(query(operation, expr)).executeQuery());
  result.event = await ask("get", `@id=${key}`);
  result.list = await ask("select", sdk.escapeXtk`@email=${"alex@example.com"}`);
  result.none = await ask("select", "@id=999999");
  result.missing = await ask("getIfExists", "@id=999999");
  result.absent = await ask("get", "@id=999999");
  result.count = await ask("count", "@status in (0, 2)");
  result.odd = await ask("select", "Upper(@email)='A'");
  result.refused = await attempt(() => NLWS.nmsRtEvent.pushEvent({ type: "nonsense", ctx: {} }));
  result.schema = (await client.application.getSchema("nms:rtEvent")).root.children.map((child) => child.name);
  result.test = (await client.test()).status;
  result.ping = await client.ping();
  result.mcPing = await client.mcPing();
  await client.logoff();
  result.after = client.isLogged();
  return result;
}

attempt(main).then((result) => console.log(JSON.stringify(result)));
