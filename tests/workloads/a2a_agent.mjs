// An A2A agent of the official SDK (JSON-RPC, v1.0). The text of each message that its code gets to see is appended to the file in
// the first argument, as it comes; it answers with the same text. The first line of stdout is {"port": N}.
import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../.deps/node/package.json', import.meta.url));
const express = require('express');
const { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } = require('@a2a-js/sdk/server');
const { UserBuilder, agentCardHandler, jsonRpcHandler } = require('@a2a-js/sdk/server/express');

const log = process.argv[2];
const executor = {
  async execute(context, bus) {
    const text = context.userMessage.parts[0].content.value;
    appendFileSync(log, JSON.stringify({ text }) + '\n');
    bus.publish(AgentEvent.message({ ...context.userMessage, messageId: `to-${context.userMessage.messageId}`, role: 2,
      contextId: context.contextId }));
    bus.finished();
  },
  async cancelTask() {},
};

const application = express();
const listener = application.listen(0, '127.0.0.1', () => {
  const { port } = listener.address();
  const card = { name: 'echo', description: 'says it again', version: '1', capabilities: { streaming: false }, skills: [],
    defaultInputModes: ['text'], defaultOutputModes: ['text'], securitySchemes: {}, securityRequirements: [], signatures: [],
    supportedInterfaces: [{ url: `http://127.0.0.1:${port}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '1.0', tenant: '' }] };
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), executor);
  application.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler }));
  application.use('/rpc', jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  process.stdout.write(JSON.stringify({ port }) + '\n');
});
