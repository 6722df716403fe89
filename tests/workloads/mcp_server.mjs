// An MCP server of the official SDK with the tools `add` and `erase`, over standard input and output, or (with a second argument)
// over HTTP: streamable at /mcp, the older pair of a GET stream and POSTs at /sse and /messages. What its code gets to see of tool
// calls is appended to the file in the first argument, as it comes. Over HTTP the first line of stdout is {"port": N}.
import { appendFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../.deps/node/package.json', import.meta.url));
const { McpServer } = require('@modelcontextprotocol/sdk/server/mcp.js');
const z = require('zod');

const [log, over] = process.argv.slice(2);
const seen = (line) => appendFileSync(log, JSON.stringify({ pid: process.pid, ...line }) + '\n');

function server() {
  const made = new McpServer({ name: 'tools', version: '1' });
  for (const tool of ['add', 'erase']) {
    made.registerTool(tool, { description: tool, inputSchema: { a: z.number(), b: z.number() } }, async ({ a, b }) => {
      seen({ called: tool });
      return { content: [{ type: 'text', text: String(a + b) }] };
    });
  }
  return made;
}

if (!over) {
  const { StdioServerTransport } = require('@modelcontextprotocol/sdk/server/stdio.js');
  process.stdin.on('data', (bytes) => seen({ read: bytes.toString() }));
  await server().connect(new StdioServerTransport());
} else {
  const { SSEServerTransport } = require('@modelcontextprotocol/sdk/server/sse.js');
  const { StreamableHTTPServerTransport } = require('@modelcontextprotocol/sdk/server/streamableHttp.js');
  const sessions = new Map();
  const listener = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response);
      sessions.set(transport.sessionId, transport);
      return server().connect(transport);
    }
    if (url.pathname === '/messages') return sessions.get(url.searchParams.get('sessionId')).handlePostMessage(request, response);
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID,
        onsessioninitialized: (id) => sessions.set(id, transport) });
      await server().connect(transport);
    }
    return transport.handleRequest(request, response);
  });
  listener.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify({ port: listener.address().port }) + '\n'));
}
