// node:https (node:http for a cleartext address) with one keep-alive agent per worker.
import http from 'node:http';
import https from 'node:https';
import { body, headers, paths, plan, run } from './common.mjs';

const { Agent, request: open } = plan.base.startsWith('https:') ? https : http;
const agents = new Map();
const agentOf = (worker) => {
  if (!agents.has(worker)) agents.set(worker, new Agent({ keepAlive: true, maxSockets: 1 }));
  return agents.get(worker);
};

await run((request, answer, result, worker) => new Promise((resolve, reject) => {
  const data = Buffer.from(JSON.stringify(body(request)));
  const req = open(plan.base + paths[plan.api], { method: 'POST', agent: agentOf(worker), timeout: plan.timeout_s * 1000,
    headers: { ...headers(request), 'content-length': data.length } }, (response) => {
    result.status = response.statusCode;
    result.port = response.socket.localPort;
    response.setEncoding('utf8');
    let whole = '';
    const streamed = plan.stream && response.statusCode === 200;
    response.on('data', (text) => { if (streamed) answer.bytes(text); else whole += text; });
    response.on('end', () => { if (!streamed) answer.object(JSON.parse(whole)); resolve(); });
    response.on('error', reject);
  });
  req.on('socket', (socket) => {
    if (socket.connecting) socket.once('connect', () => { result.port = socket.localPort; });
    else result.port = socket.localPort;
  });
  req.on('timeout', () => req.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
  req.on('error', reject);
  req.end(data);
}));
