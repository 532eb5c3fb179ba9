// An SMSC on npm's smpp. `node smsc.js FILE ORDERS`: what it takes and tells is written into FILE, one JSON a line. It
// prints its port and takes further orders from standard input, JSON, one a line; it ends with it.
//   window    submit_sms that a session may have unanswered; so many, and more, are noted
//   latency   milliseconds before a response
//   lose      of so many submit_sms one is taken and never answered
//   cut       a session that has so many unanswered loses its connection, `cuts` times; all of them are taken
//   rate      submit_sms that are taken in a second; what is more is refused as ESME_RTHROTTLED
//   receipts  none without; of so many messages one `bounce`s, one is told `early`, before its response, one `twice`;
//             `delay` in milliseconds; `elsewhere`: on another session than the message came by
//   ids       'hex': hexadecimal in responses, decimal in receipts
//   reference false: receipts do not give user_message_reference back
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const file = fs.openSync(process.argv[2], 'a');
const orders = { cuts: 1, ...JSON.parse(process.argv[3] || '{}') };
const hearing = [];
const owed = new Set();
let last = 1000000 + (process.pid % 1000) * 1000000;
let submitted = 0;
let second = 0;
let taken = 0;

function note(what) {
  fs.writeSync(file, JSON.stringify({ ...what, at: Date.now() / 1000 }) + '\n');
}

function falls(every, number) {
  return Boolean(every) && number % every === 0;
}

// Every receipt is told until it is acknowledged, however often a connection ends before that.
function pump() {
  const now = Date.now();
  for (const one of owed) {
    if (one.under_way || one.due > now) continue;
    const others = hearing.filter((session) => session !== one.home);
    const session = orders.receipts.elsewhere && others.length ? others[one.number % others.length] : one.home;
    const by = hearing.includes(session) ? session : hearing[0];
    if (!by) continue;
    one.under_way = by;
    by.deliver_sm(one.fields, (answer) => {
      if (answer.command_status === 0) {
        owed.delete(one);
        note({ told: one.key, state: one.state });
      } else {
        one.under_way = null;
        one.due = Date.now() + 300;
      }
    });
  }
}
setInterval(pump, 10);

function owe(pdu, key, id, number, home) {
  const { bounce, early, twice, delay } = orders.receipts;
  const state = falls(bounce, number) ? 'UNDELIV' : 'DELIVRD';
  const fields = {
    esm_class: 4, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr,
    short_message: `id:${id} sub:001 dlvrd:001 submit date:2611251200 done date:2611251201 stat:${state} err:000 text:`,
  };
  if (orders.reference !== false) fields.user_message_reference = pdu.user_message_reference;
  const isEarly = falls(early, number);
  for (let copy = 0; copy < (falls(twice, number) ? 2 : 1); copy++) {
    note({ owed: key, state });
    owed.add({ key, state, fields, number, home, due: isEarly ? 0 : Date.now() + (delay || 0), under_way: null });
  }
  if (isEarly) pump();
  return isEarly;
}

const server = smpp.createServer((session) => {
  let outstanding = 0;
  session.on('error', () => {});
  session.on('close', () => {
    if (hearing.includes(session)) hearing.splice(hearing.indexOf(session), 1);
    for (const one of owed) if (one.under_way === session) one.under_way = null;
  });
  for (const kind of ['transceiver', 'transmitter', 'receiver']) {
    session.on('bind_' + kind, (pdu) => {
      session.send(pdu.response({ system_id: 'smsc' }));
      if (kind !== 'transmitter') hearing.push(session);
    });
  }
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    outstanding++;
    const number = ++submitted;
    if (orders.window && outstanding > orders.window) note({ over: outstanding });
    if (outstanding === orders.window) note({ full: outstanding });
    const answer = (fields) => {
      outstanding--;
      session.send(pdu.response(fields));
    };
    const now = Math.floor(Date.now() / 1000);
    if (now !== second) [second, taken] = [now, 0];
    if (orders.rate && ++taken > orders.rate) {
      note({ throttled: number });
      answer({ command_status: smpp.ESME_RTHROTTLED });
      return;
    }
    const id = ++last;
    const message = pdu.short_message;
    const text = message.message;
    const key = /number (\S+)\./.exec(text);
    const part = message.udh && message.udh.length ? message.udh[0][message.udh[0].length - 1] : 1;
    note({ key: key ? key[1] : text, part });
    const early = orders.receipts ? owe(pdu, key ? key[1] : text, id, number, session) : false;
    if (orders.cut && orders.cuts > 0 && outstanding >= orders.cut) {
      orders.cuts--;
      note({ cut: outstanding });
      session.destroy();
      return;
    }
    if (falls(orders.lose, number)) {
      note({ unanswered: key ? key[1] : text });
      return;
    }
    const fields = { message_id: orders.ids === 'hex' ? id.toString(16).toUpperCase().padStart(8, '0') : String(id) };
    const wait = early ? 300 : orders.latency || 0;
    if (wait) setTimeout(answer, wait, fields);
    else answer(fields);
  });
});

server.listen(0, '127.0.0.1', () => process.stdout.write(server.address().port + '\n'));
require('readline').createInterface({ input: process.stdin })
  .on('line', (line) => Object.assign(orders, JSON.parse(line)))
  .on('close', () => process.exit(0));
