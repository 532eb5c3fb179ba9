// npm's soap, from the served WSDL: prints one JSON object with what it read.
const soap = require("soap");

const [, , url] = process.argv;
const wsdl = (schema) => `${url}/nl/jsp/schemawsdl.jsp?schema=${schema}`;

async function main() {
  const session = await soap.createClientAsync(wsdl("xtk:session"));
  const [logon] = await session.LogonAsync({ sessiontoken: "", strLogin: "mc", strPassword: "demo" });
  // an id has more digits than a JavaScript number holds, so it is read as text
  const events = await soap.createClientAsync(wsdl("nms:rtEvent"), { customDeserializer: { long: String } });
  const [pushed] = await events.PushEventAsync({
    sessiontoken: logon.pstrSessionToken,
    domEvent: { $xml: '<rtEvent xmlns="" type="welcome" email="alex@example.com"><ctx><title>Alex</title></ctx></rtEvent>' },
  });
  const batch = await soap.createClientAsync(wsdl("nms:batchEvent"));
  const [many] = await batch.PushEventsAsync({
    sessiontoken: "mc/demo",
    domEventCollection: { $xml: '<Events xmlns=""><batchEvent type="welcome" externalId="A"/></Events>' },
  });
  let fault = null;
  try {
    await events.PushEventAsync({ sessiontoken: "wrong", domEvent: { $xml: "<rtEvent/>" } });
  } catch (error) {
    fault = error.root.Envelope.Body.Fault;
  }
  await session.LogoffAsync({ sessiontoken: logon.pstrSessionToken });
  return { logon, pushed, many, fault };
}

main().then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
