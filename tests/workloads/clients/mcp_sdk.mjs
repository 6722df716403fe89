// The official MCP client. Plan: transport (stdio | http | sse), command [program, …] or url, calls [{id, tool, a, b}], wait.
// Line 1: {"ready": true, "pid", "server_pid"}, once it is connected and has listed the tools. Then a line per call:
// {"id", "text" or null, "error" or null}. With `wait`, each call consumes one line of stdin first; its end ends the client.
import readline from 'node:readline';
import { emit, requireSdk } from './common.mjs';

const plan = JSON.parse(process.argv[2]);
const { Client } = requireSdk('@modelcontextprotocol/sdk/client/index.js');

async function transport() {
  if (plan.transport === 'stdio') {
    const { StdioClientTransport } = requireSdk('@modelcontextprotocol/sdk/client/stdio.js');
    return new StdioClientTransport({ command: plan.command[0], args: plan.command.slice(1), stderr: 'inherit' });
  }
  if (plan.transport === 'sse') {
    const { SSEClientTransport } = requireSdk('@modelcontextprotocol/sdk/client/sse.js');
    return new SSEClientTransport(new URL(plan.url));
  }
  const { StreamableHTTPClientTransport } = requireSdk('@modelcontextprotocol/sdk/client/streamableHttp.js');
  return new StreamableHTTPClientTransport(new URL(plan.url));
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const client = new Client({ name: 'test', version: '1' });
if (plan.wait) {
  emit({ started: true, pid: process.pid });
  if ((await lines.next()).done) process.exit(0);
}
const used = await transport();
await client.connect(used);
await client.listTools();
emit({ ready: true, pid: process.pid, server_pid: used.pid ?? null });
for (const { id, tool, a, b } of plan.calls) {
  if (plan.wait && (await lines.next()).done) break;
  try {
    const result = await client.callTool({ name: tool, arguments: { a, b } }, undefined, { timeout: 120_000 });
    emit({ id, text: result.content[0].text, error: result.isError ? 'isError' : null });
  } catch (e) {
    emit({ id, text: null, error: e?.code ?? e?.cause?.code ?? e?.constructor?.name ?? 'Error' });
  }
}
await client.close();
process.exit(0);
