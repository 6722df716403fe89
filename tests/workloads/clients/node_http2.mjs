// node:http2, one session per worker; with `sessions: 1` in the plan all workers share one: many streams on a connection.
import http2 from 'node:http2';
import { body, headers, paths, plan, run } from './common.mjs';

const sessions = new Map();
const sessionOf = (worker) => {
  const key = plan.sessions ? worker % plan.sessions : worker;
  let session = sessions.get(key);
  if (!session || session.closed || session.destroyed) {
    session = http2.connect(plan.base);
    session.on('error', () => {});  // its streams tell
    session.setMaxListeners(0);  // one per stream that waits for the connection
    sessions.set(key, session);
  }
  return session;
};

await run((request, answer, result, worker) => new Promise((resolve, reject) => {
  const session = sessionOf(worker);
  const stream = session.request({ ':method': 'POST', ':path': paths[plan.api], ...headers(request) });
  stream.setTimeout(plan.timeout_s * 1000, () => stream.close(http2.constants.NGHTTP2_CANCEL));
  stream.setEncoding('utf8');
  let whole = '';
  stream.on('response', (fields) => { result.status = fields[':status']; });
  stream.on('data', (text) => { if (plan.stream && result.status === 200) answer.bytes(text); else whole += text; });
  stream.on('end', () => {
    try {
      if (whole) answer.object(JSON.parse(whole));
    } catch (e) { return reject(e); }
    if (result.status) resolve(); else reject(new Error('no answer'));
  });
  stream.on('error', reject);
  stream.on('close', () => { if (stream.rstCode) reject(new Error(`reset ${stream.rstCode}`)); });
  const known = () => { result.port = session.socket?.localPort ?? 0; };
  if (session.connecting) session.once('connect', known); else known();
  stream.end(JSON.stringify(body(request)));
}));
