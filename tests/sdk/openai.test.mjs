// OpenAI's own client, also at DeepSeek's addresses.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const url = process.env.HADAL_URL;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const question = [{ role: "user", content: "What is 17 + 25?" }];
const tools = [{
  type: "function",
  function: {
    name: "add",
    description: "adds",
    parameters: { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } } },
  },
}];
// Models that always think get to the call in time.
const brief = { thinking_token_budget: 4, max_tokens: 200 };
const fixed = { model, messages: question, temperature: 0, max_tokens: 24 };

test("models", async () => {
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
});

test("a stream is the whole answer in pieces", async () => {
  const whole = await client.chat.completions.create(fixed);
  const stream = client.chat.completions.stream({ ...fixed, stream_options: { include_usage: true } });
  const streamed = await stream.finalChatCompletion();
  assert.equal(streamed.choices[0].message.content ?? "", whole.choices[0].message.content);
  assert.equal(streamed.choices[0].finish_reason, whole.choices[0].finish_reason);
  assert.equal(streamed.usage.completion_tokens, whole.usage.completion_tokens);
});

test("a call that is asked for by name comes", async () => {
  const choice = { type: "function", function: { name: "add" } };
  const asked = { ...fixed, ...brief, tools, tool_choice: choice };
  const whole = await client.chat.completions.create(asked);
  const call = whole.choices[0].message.tool_calls[0];
  assert.equal(call.type, "function");
  assert.equal(call.function.name, "add");
  assert.ok(call.id.length > 0);
  const pieces = { name: "", arguments: "", ids: new Set() };
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    for (const delta of chunk.choices[0]?.delta.tool_calls ?? []) {
      if (delta.id) pieces.ids.add(delta.id);
      pieces.name += delta.function?.name ?? "";
      pieces.arguments += delta.function?.arguments ?? "";
    }
  }
  assert.equal(pieces.ids.size, 1);
  assert.equal(pieces.name, "add");
  assert.equal(pieces.arguments, call.function.arguments);
});

test("every tool choice and a history with calls", async () => {
  for (const tool_choice of ["none", "auto", "required"]) {
    const answer = await client.chat.completions.create({ ...fixed, ...brief, tools, tool_choice });
    const calls = answer.choices[0].message.tool_calls;
    if (tool_choice === "none") assert.equal(calls, undefined);
    if (tool_choice === "required") assert.equal(calls[0].function.name, "add");
  }
  const history = [
    ...question,
    {
      role: "assistant",
      content: null,
      reasoning_content: "I add.",
      tool_calls: [{ id: "c1", type: "function", function: { name: "add", arguments: "{\"a\": 17}" } }],
    },
    { role: "tool", tool_call_id: "c1", content: "42" },
  ];
  const answer = await client.chat.completions.create({ ...fixed, messages: history, tools });
  assert.equal(answer.choices.length, 1);
});

test("n, stop, seed, logprobs", async () => {
  const answer = await client.chat.completions.create({
    ...fixed, n: 2, seed: 7, stop: ["."], logprobs: true, top_logprobs: 3, max_completion_tokens: 5,
    user: "u", metadata: { a: "b" }, service_tier: "flex", reasoning_effort: "none",
  });
  assert.equal(answer.choices.length, 2);
  assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 3);
  assert.equal(answer.service_tier, "flex");
});

test("what cannot be done is refused by name", async () => {
  const wrong = { ...fixed, response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } } };
  await assert.rejects(client.chat.completions.create(wrong), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "response_format");
    return true;
  });
});

test("completions: best_of, echo, several prompts", async () => {
  const best = await client.completions.create({ model, prompt: "1 + 1 =", n: 1, best_of: 3, max_tokens: 4, temperature: 1 });
  assert.equal(best.choices.length, 1);
  const echo = await client.completions.create({ model, prompt: ["a", "b"], echo: true, max_tokens: 2 });
  assert.ok(echo.choices[0].text.startsWith("a") && echo.choices[1].text.startsWith("b"));
});

test("DeepSeek's addresses, prefix completion and usage", async () => {
  const deepseek = new OpenAI({ baseURL: `${url}/beta`, apiKey: "none", maxRetries: 0 });
  const messages = [...question, { role: "assistant", content: "The answer is", prefix: true }];
  const answer = await deepseek.chat.completions.create({
    ...fixed, messages, thinking: { type: "disabled" }, max_tokens: 384000,
    user_id: "team-1",
  });
  const usage = answer.usage;
  assert.equal(usage.prompt_tokens, usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens);
  assert.equal((await (await fetch(`${url}/user/balance`)).json()).is_available, true);
});
