// An SMSC on npm's smpp. It reads its orders as JSON from the first argument and tells what it sees, one JSON a line.
//   window   submit_sms that one session may have unanswered; more are counted
//   latency  milliseconds before a submit_sm_resp
//   refuse   {destination: command_status}
//   mute     destinations that get no response at all
//   throttle how many submit_sms are refused as ESME_RTHROTTLED, from the first on
//   cut      after so many submit_sms the connection is closed, once
//   ids      hex or decimal: how responses spell identifiers; receipts do it the other way round with `swap`
//   receipts {form: "text" | "tlv", states: {destination: state}, early, twice, delay, reference}; `reference` gives the user_message_reference back
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const orders = JSON.parse(process.argv[2] || '{}');
const receipts = orders.receipts;
const codes = { ENROUTE: 1, DELIVRD: 2, EXPIRED: 3, DELETED: 4, UNDELIV: 5, ACCEPTD: 6, UNKNOWN: 7, REJECTD: 8 };
const hearing = [];
let last = orders.first || 1000000;
let throttled = 0;
let submitted = 0;
let cut = false;

function tell(what) {
  process.stdout.write(JSON.stringify(what) + '\n');
}

function spelling(id, hex) {
  return hex ? id.toString(16).toUpperCase().padStart(8, '0') : String(id);
}

function receive(pdu, id) {
  const state = (receipts.states || {})[pdu.destination_addr] || 'DELIVRD';
  const named = spelling(id, orders.swap ? orders.ids !== 'hex' : orders.ids === 'hex');
  const fields = { esm_class: 4, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr };
  if (receipts.form === 'tlv') {
    fields.receipted_message_id = named;
    fields.message_state = codes[state];
    fields.short_message = '';
  } else {
    fields.short_message = `id:${named} sub:001 dlvrd:001 submit date:2611251200 done date:261125120130 stat:${state} err:00B text:`;
  }
  if (receipts.reference) {
    fields.user_message_reference = pdu.user_message_reference;
  }
  for (let n = 0; n < (receipts.twice ? 2 : 1); n++) {
    const session = hearing[hearing.length - 1];
    if (!session) return;
    session.deliver_sm(fields, (answer) => tell({ acknowledged: named, status: answer.command_status }));
  }
}

function listener(session) {
  let outstanding = 0;
  session.on('error', (error) => tell({ error: error.message }));
  for (const kind of ['transceiver', 'transmitter', 'receiver']) {
    session.on('bind_' + kind, (pdu) => {
      const known = !orders.password || pdu.password === orders.password;
      tell({ bind: kind, system_id: pdu.system_id, known, interface_version: pdu.interface_version });
      session.send(pdu.response({ command_status: known ? 0 : smpp.ESME_RINVPASWD, system_id: 'smsc' }));
      if (known && kind !== 'transmitter') hearing.push(session);
    });
  }
  session.on('enquire_link', (pdu) => {
    tell({ enquire_link: true });
    session.send(pdu.response());
  });
  session.on('unbind', (pdu) => {
    tell({ unbind: true, outstanding });
    session.send(pdu.response());
    session.close();
  });
  session.on('close', () => {
    if (hearing.includes(session)) hearing.splice(hearing.indexOf(session), 1);
    tell({ closed: true });
  });
  session.on('submit_sm', (pdu) => {
    outstanding++;
    submitted++;
    const message = pdu.short_message || {};
    const payload = pdu.message_payload || {};
    const id = ++last;
    tell({
      submit: pdu.destination_addr,
      outstanding,
      over: orders.window !== undefined && outstanding > orders.window,
      source: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      destination: [pdu.dest_addr_ton, pdu.dest_addr_npi],
      text: payload.message === undefined ? message.message : payload.message,
      udh: message.udh ? message.udh.map((one) => one.toString('hex')) : null,
      sar: [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
      payload: pdu.message_payload !== undefined,
      data_coding: pdu.data_coding,
      registered_delivery: pdu.registered_delivery,
      validity_period: pdu.validity_period,
    });
    if (orders.cut && submitted >= orders.cut && !cut) {
      cut = true;
      session.destroy();
      return;
    }
    const muted = (orders.mute || []).includes(pdu.destination_addr);
    let status = (orders.refuse || {})[pdu.destination_addr] || 0;
    if (!status && !muted && throttled < (orders.throttle || 0)) {
      throttled++;
      status = smpp.ESME_RTHROTTLED;
    }
    const answer = () => {
      outstanding--;
      const fields = status ? { command_status: status } : { message_id: spelling(id, orders.ids === 'hex') };
      session.send(pdu.response(fields));
    };
    const answering = () => {
      if (muted) return;
      if (orders.latency) setTimeout(answer, orders.latency);
      else answer();
    };
    if (receipts && receipts.early && !status) receive(pdu, id);
    answering();
    if (receipts && !receipts.early && !status) setTimeout(() => receive(pdu, id), receipts.delay || 5);
  });
}

const tls = orders.tls && { key: fs.readFileSync(orders.tls.key), cert: fs.readFileSync(orders.tls.cert) };
const server = tls ? smpp.createServer(tls, listener) : smpp.createServer(listener);
server.listen(0, '127.0.0.1', () => tell({ port: server.address().port }));
// whoever started it is gone
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
