// An SMSC on npm's smpp that takes every message and keeps none: `node npm_smsc.js PORT`. It writes `mesg=N` and a carriage
// return whenever the count has grown, at most a hundred times a second, as smtp_sink.py does.
'use strict';
const fs = require('fs');
const smpp = require('smpp');

let count = 0;
let told = 0;
setInterval(() => {
  if (count !== told) fs.writeSync(1, `mesg=${(told = count)}\r`);
}, 10);
const server = smpp.createServer((session) => {
  session.on('error', () => {});
  for (const kind of ['transceiver', 'transmitter', 'receiver', '']) {
    session.on(kind ? 'bind_' + kind : 'enquire_link', (pdu) => session.send(pdu.response({ system_id: 'smsc' })));
  }
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    const id = ++count;
    session.send(pdu.response({ message_id: id.toString(16).toUpperCase().padStart(8, '0') }));
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
