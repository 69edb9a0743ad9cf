// Anthropic's own client.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";

const url = process.env.HADAL_URL;
const model = (await (await fetch(`${url}/v1/models`)).json()).data[0].id;
const messages = [{ role: "user", content: "What is 17 + 25?" }];
// Room for a thinking that is not shown.
const fixed = { model, max_tokens: 120, temperature: 0, messages };
const tools = [{
  name: "add",
  description: "adds",
  input_schema: { type: "object", properties: { a: { type: "integer" } } },
}];

for (const base of [url, `${url}/anthropic`]) {
  const client = new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0 });

  test(`${base === url ? "" : "/anthropic"}: a stream is the whole message in pieces`, async () => {
    const whole = await client.messages.create({ ...fixed, system: "Be short." });
    assert.equal(whole.type, "message");
    assert.equal(whole.role, "assistant");
    const streamed = await client.messages.stream({ ...fixed, system: "Be short." }).finalMessage();
    assert.deepEqual(streamed.content, whole.content);
    assert.equal(streamed.stop_reason, whole.stop_reason);
    assert.equal(streamed.usage.output_tokens, whole.usage.output_tokens);
  });
}

const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });

test("events come in the protocol's order", async () => {
  const kinds = [];
  for await (const event of await client.messages.create({ ...fixed, stream: true })) {
    if (kinds.at(-1) !== event.type) kinds.push(event.type);
  }
  assert.equal(kinds[0], "message_start");
  assert.deepEqual(kinds.slice(-2), ["message_delta", "message_stop"]);
});

test("a tool that must be used is", async () => {
  // A model that always thinks gets to the call in time.
  const thinking = { type: "enabled", budget_tokens: 4 };
  const asked = { ...fixed, max_tokens: 200, thinking, tools, tool_choice: { type: "tool", name: "add" } };
  const whole = await client.messages.create(asked);
  const block = whole.content.find((entry) => entry.type === "tool_use");
  assert.equal(block.name, "add");
  let begun = null;
  for await (const event of await client.messages.create({ ...asked, stream: true })) {
    if (event.type === "content_block_start" && event.content_block.type === "tool_use") begun = event;
  }
  assert.equal(begun.content_block.name, "add");
});

test("a tool's result in the history", async () => {
  const history = [
    ...messages,
    { role: "assistant", content: [
      { type: "thinking", thinking: "I add.", signature: "" },
      { type: "tool_use", id: "t1", name: "add", input: { a: 17 } }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "t1", content: "42" }] },
  ];
  const answer = await client.messages.create({ ...fixed, messages: history, tools });
  assert.equal(answer.type, "message");
});

test("without a word on thinking none is shown, and a model that needs it thinks all the same", async () => {
  const answer = await client.messages.create(fixed);
  assert.deepEqual(answer.content.map((block) => block.type), ["text"]);
  assert.match(answer.content[0].text, /42/);
});

test("stop sequences and counting", async () => {
  const long = await client.messages.create(fixed);
  const text = long.content.find((block) => block.type === "text").text;
  const stop = text.slice(1, 3);
  if (stop.trim().length > 0) {
    const short = await client.messages.create({ ...fixed, stop_sequences: [stop] });
    assert.equal(short.stop_reason, "stop_sequence");
    assert.equal(short.stop_sequence, stop);
  }
  const count = await client.messages.countTokens({ model, messages });
  const usage = long.usage;
  assert.equal(count.input_tokens,
    usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens);
});

test("errors have the protocol's form", async () => {
  await assert.rejects(client.messages.create({ ...fixed, model: "no-such-model" }), Anthropic.NotFoundError);
  await assert.rejects(client.messages.create({ ...fixed, mcp_servers: [{}] }), Anthropic.BadRequestError);
});
