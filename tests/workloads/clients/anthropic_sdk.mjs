// The official `@anthropic-ai/sdk` package, unmodified.
import { body, plan, requireSdk, run, scriptOf } from './common.mjs';
import { portOf } from './ports.mjs';

const Anthropic = requireSdk('@anthropic-ai/sdk').default;
const client = new Anthropic({ apiKey: 'sk-test', baseURL: plan.base, maxRetries: plan.retries ?? 0, timeout: plan.timeout_s * 1000 });

await run(async (request, answer, result) => {
  try {
    const { data, response } = await client.messages.create(body(request), { headers: { 'x-fake': scriptOf(request) } }).withResponse();
    result.status = response.status;
    if (plan.stream) for await (const event of data) answer.object(event);
    else answer.object(data);
  } finally {
    result.port = portOf(request.id);
  }
});
