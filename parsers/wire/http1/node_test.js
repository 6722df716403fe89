// Node's HTTP parser against ours on random requests, many of them wrong in the ways that smuggling uses:
//   node --no-deprecation node_test.js DUMP [SEED [COUNT]]
'use strict';
const { spawnSync } = require('child_process');
const { HTTPParser } = process.binding('http_parser');

let state = Number(process.argv[3] || 1);
const count = Number(process.argv[4] || 4000);
function pick(list) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return list[(state >>> 8) % list.length];
}
const usually = (value, ...others) => (pick([...Array(40).keys()]) ? value : pick(others));

const names = ['Host', 'X-A', 'Accept', 'Content-Type', 'x_y', 'User-Agent'];
const values = ['a', '', 'a b', '  padded\t ', 'text/plain; q="1"', '\x80\xff', 'a,b', 'chunked', '5'];
function field() {
  return usually(pick(names), 'Bad Name', '', 'A\x01', 'Trailing ') + usually(':', ' :', '') +
    usually(' ', '', '\t') + usually(pick(values), 'a\x00b', 'a\rb', 'a\x07b', 'a\x7fb') + usually('\r\n', '\n', '\r');
}
function chunk(body) {
  const size = usually(body.length.toString(16), body.length.toString(16).toUpperCase(), '0' + body.length.toString(16),
    (body.length + 1).toString(16), '', 'g', '-1', '+1', '0x1', 'fffffffffffffffff', ' 1');
  const extension = usually('', ';a', ';a=b', ';a="b;c"', ';', ';a="b', ';a=', ' ', ';a b', ';\x01');
  return size + extension + usually('\r\n', '\n', '\r', '\r\r\n') + body + usually('\r\n', '\n', '', 'xx', '\r');
}
function message() {
  let text = usually('', '\r\n', '\n', ' ') + pick(['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH']) +
    usually(' ', '  ', '\t', '') + usually(pick(['/', '/a?b=c', '*', 'http://h/x', '/%20']), '', '/a b', 'x', '/\x01') +
    usually(' ', '  ') + usually('HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.', 'HTTX/1.1') +
    usually('\r\n', '\n', ' \r\n', '\r');
  for (let n = pick([0, 1, 2, 3]); n > 0; n--) text += field();
  let body = '';
  const kind = pick(['none', 'length', 'length', 'chunked', 'chunked', 'both']);
  if (kind === 'length' || kind === 'both') {
    body = pick(['', 'hello', 'GET / HTTP/1.1\r\n\r\n']);
    text += 'Content-Length: ' + usually(String(body.length), '+5', '5, 5', '5 5', '0x5', '', '-1', '1e1', '99999999999999999999', ' 5') + '\r\n';
    if (pick([0, 0, 0, 0, 0, 0, 1])) text += 'Content-Length: ' + pick([String(body.length), '7']) + '\r\n';
  }
  if (kind === 'chunked' || kind === 'both') {
    text += pick(['Transfer-Encoding', 'transfer-encoding']) + usually(':', ' :') + usually(' chunked', ' gzip, chunked', ' chunked, gzip',
      ' xchunked', ' chunked, chunked', ' Chunked', ' "chunked"', ' identity', ' chunked;a=b') + '\r\n';
    if (kind === 'chunked') {
      body = '';
      for (let n = pick([0, 1, 2]); n > 0; n--) body += chunk(pick(['a', 'hello', '\r\n', '0\r\n\r\n']));
      body += usually('0\r\n', '00\r\n', '0;a\r\n', '0\n') + usually('', 'X-T: 1\r\n', 'Content-Length: 5\r\n', 'bad\r\n') + usually('\r\n', '\n', '');
    }
  }
  if (pick([0, 0, 0, 0, 0, 1])) text += 'Connection: ' + pick(['close', 'keep-alive', 'x, close']) + '\r\n';
  return text + usually('\r\n', '\n', '') + body;
}
function input() {
  let text = '';
  for (let n = pick([1, 1, 2, 3]); n > 0; n--) text += message();
  return Buffer.from(text, 'latin1');
}

const hex = (text) => Buffer.from(text, 'latin1').toString('hex');
// Values without the white space around them, which is not part of them.
const fields = (list) => {
  const out = [];
  for (let i = 0; i < list.length; i += 2) {
    out.push(hex(list[i].toLowerCase()) + ':' + hex(list[i + 1].replace(/^[ \t]+|[ \t]+$/g, '')));
  }
  return out.join(',');
};

function node(buffer) {
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  let messages = '', start = '', body = '', headers = [], head = null, flushed = [], target = '';
  parser[HTTPParser.kOnHeaders | 0] = (list, url) => {
    flushed = flushed.concat(list);
    target += url || '';
  };
  let old = false;  // HTTP/0.9, which is not HTTP/1
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, list, method, url) => {
    old ||= major !== 1;
    headers = flushed.concat(list || []);
    flushed = [];
    start = HTTPParser.methods ? HTTPParser.methods[method] : method;
    head = start + ' ' + hex(target + (url || '')) + ' ' + fields(headers);
    body = target = '';
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (piece) => { body += piece.toString('latin1'); };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    if (!old) messages += head + ' ' + hex(body) + ' ' + fields(flushed) + ';';
    flushed = [];
    target = '';
  };
  const result = parser.execute(buffer);
  return { messages, refused: old || result instanceof Error, reason: result instanceof Error ? result.code + ' ' + result.reason : '' };
}

const methods = require('_http_common').methods;
HTTPParser.methods = methods;
const inputs = [];
for (let i = 0; i < count; i++) inputs.push(input());
// Ours decides about a head when it ends: where Node has refused, let it end.
const expected = inputs.map(node);
const records = inputs.map((buffer, i) => {
  const whole = expected[i].refused ? Buffer.concat([buffer, Buffer.from('\r\n\r\n')]) : buffer;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(whole.length);
  return Buffer.concat([length, whole]);
});
const run = spawnSync(process.argv[2], [], { input: Buffer.concat(records), maxBuffer: 1 << 30 });
const ours = run.stdout.toString('latin1').split('\n');
let bad = 0;
for (let i = 0; i < count; i++) {
  const theirs = expected[i].messages + (expected[i].refused ? 'refused' : '');
  if (ours[i] === theirs) continue;
  // Continuation lines: Node refuses all of them, we only those that could hide a field.
  if (/\r\n[ \t]/.test(inputs[i].toString('latin1')) && expected[i].reason.includes('HPE_INVALID_HEADER_TOKEN')) continue;
  if (++bad > 20) break;
  console.log(JSON.stringify(inputs[i].toString('latin1')));
  console.log('  node:', theirs, expected[i].reason);
  console.log('  ours:', ours[i]);
}
console.log(`${count} inputs, ${expected.filter((e) => e.refused).length} refused by Node, ${bad} differences`);
process.exit(bad === 0 && run.status === 0 ? 0 : 1);
