// Node's built-in fetch (undici).
import { body, headers, paths, plan, run } from './common.mjs';
import { portOf } from './ports.mjs';

await run(async (request, answer, result) => {
  try {
    const response = await fetch(plan.base + paths[plan.api], { method: 'POST', headers: headers(request),
      body: JSON.stringify(body(request)), signal: AbortSignal.timeout(plan.timeout_s * 1000) });
    result.status = response.status;
    if (plan.stream && response.status === 200) {
      const decoder = new TextDecoder();
      for await (const part of response.body) answer.bytes(decoder.decode(part, { stream: true }));
    } else answer.object(await response.json());
  } finally {
    result.port = portOf(request.id);
  }
});
