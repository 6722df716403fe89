// The official `openai` package, unmodified: chat completions and Responses.
import { body, plan, requireSdk, run, scriptOf } from './common.mjs';
import { portOf } from './ports.mjs';

const OpenAI = requireSdk('openai').default;
const client = new OpenAI({ apiKey: 'sk-test', baseURL: plan.base + '/v1', maxRetries: plan.retries ?? 0, timeout: plan.timeout_s * 1000 });

await run(async (request, answer, result) => {
  const options = { headers: { 'x-fake': scriptOf(request) } };
  const create = plan.api === 'responses' ? client.responses : client.chat.completions;
  try {
    const { data, response } = await create.create(body(request), options).withResponse();
    result.status = response.status;
    if (plan.stream) for await (const event of data) answer.object(event);
    else answer.object(data);
  } finally {
    result.port = portOf(request.id);
  }
});
