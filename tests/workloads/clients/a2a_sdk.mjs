// The official A2A client. Plan: url, messages [text]. Line 1: {"ready": true, "pid"}. Then a line per message: {"id": text,
// "text" or null, "error" or null}.
import { emit, requireSdk } from './common.mjs';

const plan = JSON.parse(process.argv[2]);
const { ClientFactory } = requireSdk('@a2a-js/sdk/client');
const { Role } = requireSdk('@a2a-js/sdk');

const client = await new ClientFactory().createFromUrl(plan.url);
emit({ ready: true, pid: process.pid });
for (const text of plan.messages) {
  try {
    const part = { content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: 'text/plain' };
    const message = { messageId: text, contextId: '', taskId: '', role: Role.ROLE_USER, parts: [part], metadata: undefined,
      extensions: [], referenceTaskIds: [] };
    const answer = await client.sendMessage({ message, tenant: '', configuration: undefined, metadata: undefined });
    emit({ id: text, text: answer.parts[0].content.value, error: null });
  } catch (e) {
    emit({ id: text, text: null, error: e?.cause?.code ?? e?.code ?? e?.constructor?.name ?? 'Error' });
  }
}
process.exit(0);
