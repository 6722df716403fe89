// Shared by the Node clients; the plan and the answer lines are described in common.py.
import { createRequire } from 'node:module';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import readline from 'node:readline';

const argument = process.argv[2];
export const plan = { stream: false, concurrency: 1, wait: false, prompt_bytes: 64, max_tokens: 64, timeout_s: 60,
  ...JSON.parse(argument.startsWith('@') ? readFileSync(argument.slice(1), 'utf8') : argument) };
export const paths = { chat: '/v1/chat/completions', responses: '/v1/responses', messages: '/v1/messages' };

// The SDKs live outside this folder (scripts/setup); their CommonJS builds can be required from anywhere.
export const requireSdk = createRequire(new URL('../../../.deps/node/package.json', import.meta.url));

export const emit = (fields) => process.stdout.write(JSON.stringify(fields) + '\n');

function prompt(request) {
  const text = `marker-${request.id} `;
  return text + 'lorem ipsum '.repeat(Math.max(0, Math.floor((plan.prompt_bytes - text.length) / 12) + 1));
}

export function body(request) {
  const out = { model: request.model ?? plan.model, stream: plan.stream };
  if (plan.api === 'responses') Object.assign(out, { input: prompt(request), max_output_tokens: plan.max_tokens });
  else Object.assign(out, { messages: [{ role: 'user', content: prompt(request) }], max_tokens: plan.max_tokens });
  if (plan.api === 'chat' && plan.stream) out.stream_options = { include_usage: true };
  return out;
}

const sha256 = (request) => createHash('sha256').update(JSON.stringify(body(request))).digest('hex');

export const scriptOf = (request) => `id=${request.id};${request.script ?? ''}`;

export function headers(request) {
  const out = { 'content-type': 'application/json', 'x-fake': scriptOf(request) };
  if (plan.api === 'messages') Object.assign(out, { 'x-api-key': 'sk-test', 'anthropic-version': '2023-06-01' });
  else out.authorization = 'Bearer sk-test';
  return out;
}

// What a client sees of one answer; `object` takes each JSON value (whole body, SSE data, or an SDK's event).
export class AnswerReader {
  model = null;
  usage = {};
  textBytes = 0;
  error = null;
  #rest = '';

  bytes(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) if (line.startsWith('data: ') && line !== 'data: [DONE]') this.object(JSON.parse(line.slice(6)));
  }

  object(value) {
    if (value.error) this.error = value.error.type ?? 'error';
    for (const holder of [value, value.response ?? {}, value.message ?? {}]) {
      this.model = holder.model ?? this.model;
      for (const [k, v] of Object.entries(holder.usage ?? {})) if (v !== null) this.usage[k] = v;
    }
    const texts = [];
    if (typeof value.delta === 'string' && value.type === 'response.output_text.delta') texts.push(value.delta);
    if (value.delta?.text) texts.push(value.delta.text);
    for (const choice of value.choices ?? []) texts.push((choice.delta ?? choice.message)?.content);
    for (const block of Array.isArray(value.content) ? value.content : []) texts.push(block.text);
    for (const item of value.output ?? []) for (const part of item.content ?? []) texts.push(part.text);
    for (const text of texts) this.textBytes += text?.length ?? 0;
  }

  fields() {
    const u = this.usage;
    let usage = null;
    if (u.prompt_tokens !== undefined) usage = { in: u.prompt_tokens, out: u.completion_tokens };
    else if (u.input_tokens !== undefined)
      usage = { in: u.input_tokens + (u.cache_read_input_tokens ?? 0) + (u.cache_creation_input_tokens ?? 0), out: u.output_tokens };
    return { model: this.model, usage, text_bytes: this.textBytes, error: this.error };
  }
}

export const errorClass = (e) => e?.cause?.code ?? e?.code ?? e?.cause?.cause?.code ?? e?.constructor?.name ?? 'Error';

// Runs every request: send(request, answer, result) fills status and port; what it throws becomes the error class.
export async function run(send) {
  emit({ ready: true, pid: process.pid });
  const lines = plan.wait ? readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]() : null;
  let turn = Promise.resolve();
  const line = () => (turn = turn.then(() => lines.next()));  // done: stdin ended
  const count = Math.max(1, Math.min(plan.concurrency, plan.requests.length));
  await Promise.all([...Array(count).keys()].map(async (w) => {
    for (let i = w; i < plan.requests.length; i += count) {
      const request = plan.requests[i];
      if (lines && (await line()).done) break;
      const start = performance.now();
      const result = { id: request.id, sha256: sha256(request), status: 0, port: 0 };
      const answer = new AnswerReader();
      let error = null;
      try {
        await send(request, answer, result, w);
      } catch (e) {
        error = errorClass(e);
        if (e?.status) result.status = e.status;
      }
      const elapsed = performance.now() - start;
      const fields = answer.fields();
      // fetch resolves before its connection is back in the pool; a turn of the loop keeps a worker on one connection.
      await new Promise((resolve) => setImmediate(resolve));
      emit({ ...result, ...fields, error: error ?? fields.error, elapsed_ms: elapsed, pid: process.pid });
    }
  }));
  process.exit(0);  // pooled keep-alive connections would keep the loop alive
}
