// The runtime's own fetch (Bun, Deno), which does not tell its sockets: port is 0, the provider's log has it.
import { body, headers, paths, plan, run } from './common.mjs';

await run(async (request, answer, result) => {
  const response = await fetch(plan.base + paths[plan.api], { method: 'POST', headers: headers(request),
    body: JSON.stringify(body(request)), signal: AbortSignal.timeout(plan.timeout_s * 1000) });
  result.status = response.status;
  if (plan.stream && response.status === 200) {
    const decoder = new TextDecoder();
    for await (const part of response.body) answer.bytes(decoder.decode(part, { stream: true }));
  } else answer.object(await response.json());
});
