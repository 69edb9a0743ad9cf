// OpenAI's own client at /v1/responses: its stream helper puts the events together by itself, so
// whatever is missing, doubled or out of order shows.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const url = process.env.HADAL_URL;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const fixed = { model, input: "What is 17 + 25?", temperature: 0, max_output_tokens: 48 };
const tools = [{
  type: "function",
  name: "add",
  description: "adds",
  parameters: { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } } },
  strict: false,
}];
// Models that always think get to the call in time.
const brief = { ...fixed, thinking_token_budget: 4, max_output_tokens: 200, tools };

// Ids differ from answer to answer, and the client adds what it parsed.
function bare(response) {
  return response.output.map(({ id, call_id, parsed_arguments, ...item }) => ({
    ...item,
    ...(item.content && { content: item.content.map(({ parsed, ...part }) => part) }),
  }));
}

// Every rule about order that a client may rely on.
function checkOrder(events) {
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
  assert.deepEqual(events.slice(0, 2).map((event) => event.type), ["response.created", "response.in_progress"]);
  let open = null;
  let items = 0;
  for (const event of events.slice(2, -1)) {
    if (event.type === "response.output_item.added") {
      assert.equal(open, null);
      assert.equal(event.output_index, items++);
      assert.equal(event.item.status, "in_progress");
      open = { id: event.item.id, type: event.item.type, text: "", part: null, done: false };
      continue;
    }
    assert.equal(event.output_index, items - 1);
    if (event.type === "response.output_item.done") {
      assert.equal(event.item.id, open.id);
      assert.ok(open.done);
      assert.ok(open.type === "function_call" || open.part === "done");
      open = null;
      continue;
    }
    assert.equal(event.item_id, open.id);
    if (event.type === "response.content_part.added") open.part = "open";
    if (event.type.endsWith(".delta")) {
      assert.ok(!open.done && (open.type === "function_call" || open.part === "open"));
      open.text += event.delta;
    }
    if (/(text|arguments)\.done$/.test(event.type)) {
      assert.equal(event.text ?? event.arguments, open.text);
      open.done = true;
    }
    if (event.type === "response.content_part.done") {
      assert.equal(event.part.text, open.text);
      open.part = "done";
    }
  }
  assert.equal(open, null);
  return items;
}

async function stream(request) {
  const running = client.responses.stream(request);
  const events = [];
  for await (const event of running) events.push(event);
  return { events, final: await running.finalResponse() };
}

test("an answer has what the client's types require", async () => {
  const asked = { ...fixed, instructions: "Be short.", metadata: { team: "a" }, user: "u", service_tier: "flex" };
  const answer = await client.responses.create(asked);
  assert.match(answer.id, /^resp_/);
  assert.equal(answer.object, "response");
  assert.equal(answer.model, model);
  assert.equal(answer.instructions, "Be short.");
  assert.deepEqual(answer.metadata, { team: "a" });
  assert.equal(answer.service_tier, "flex");
  assert.equal(answer.temperature, 0);
  assert.equal(answer.max_output_tokens, 48);
  assert.equal(answer.tool_choice, "auto");
  assert.deepEqual(answer.tools, []);
  assert.equal(answer.error, null);
  assert.equal(answer.store, false);
  const { usage } = answer;
  assert.equal(usage.total_tokens, usage.input_tokens + usage.output_tokens);
  assert.ok(usage.input_tokens_details.cached_tokens >= 0);
  assert.ok(usage.output_tokens_details.reasoning_tokens <= usage.output_tokens);
  assert.equal(answer.output_text, answer.output.filter((item) => item.type === "message")
    .flatMap((item) => item.content).map((part) => part.text).join(""));
});

for (const [name, request] of [
  ["thinking", fixed],
  ["no thinking", { ...fixed, reasoning: { effort: "none" } }],
  ["cut", { ...fixed, max_output_tokens: 3 }],
  ["a call", { ...brief, tool_choice: "required" }],
]) {
  test(`a stream is the whole answer in events: ${name}`, async () => {
    const whole = await client.responses.create(request);
    const { events, final } = await stream(request);
    assert.equal(checkOrder(events), whole.output.length);
    assert.equal(events.at(-1).type, `response.${whole.status}`);
    assert.equal(final.status, whole.status);
    assert.deepEqual(bare(final), bare(whole));
    assert.equal(final.output_text, whole.output_text);
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
    assert.deepEqual(final.incomplete_details, whole.incomplete_details);
  });
}

test("an answer that is cut says so", async () => {
  const answer = await client.responses.create({ ...fixed, max_output_tokens: 3 });
  assert.equal(answer.status, "incomplete");
  assert.deepEqual(answer.incomplete_details, { reason: "max_output_tokens" });
  assert.equal(answer.output.at(-1).status, "incomplete");
});

test("a tool's round trip, with everything the answer held sent back", async () => {
  const include = ["reasoning.encrypted_content"];
  const choice = { type: "function", name: "add" };
  const first = await client.responses.create({ ...brief, include, tool_choice: choice });
  const call = first.output.find((item) => item.type === "function_call");
  assert.equal(call.name, "add");
  assert.ok(call.call_id && call.id && call.call_id !== call.id);
  const result = { type: "function_call_output", call_id: call.call_id, output: "42" };
  const history = [{ role: "user", content: fixed.input }, ...first.output, result];
  const second = await client.responses.create({ ...fixed, input: history, tools });
  assert.equal(second.output.at(-1).type, "message");
  // Clients that store nothing keep the sealed form alone.
  const sealed = first.output.map(({ content, ...item }) =>
    (item.type === "reasoning" ? item : { ...item, ...(content && { content }) }));
  const again = await client.responses.create({ ...fixed, input: [history[0], ...sealed, result], tools });
  assert.deepEqual(bare(again), bare(second));
  assert.equal(again.usage.input_tokens, second.usage.input_tokens);
});

test("every tool choice", async () => {
  const other = { ...tools[0], name: "subtract" };
  const allowed = { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "subtract" }] };
  for (const [tool_choice, name] of [["none"], ["auto"], ["required", "add"], [allowed, "subtract"]]) {
    const offered = tool_choice === allowed ? [...tools, other] : tools;
    const answer = await client.responses.create({ ...brief, tools: offered, tool_choice });
    const calls = answer.output.filter((item) => item.type === "function_call");
    if (tool_choice === "none") assert.equal(calls.length, 0);
    if (name) assert.equal(calls[0].name, name);
    assert.deepEqual(answer.tool_choice, tool_choice);
  }
});

test("items as agents send them", async () => {
  const input = [
    { type: "message", role: "developer", content: [{ type: "input_text", text: "Answer in words." }] },
    { type: "message", role: "user", content: [{ type: "input_text", text: "What is" }, { type: "input_text", text: " 1 + 1?" }] },
    { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "easy" }] },
    { type: "message", id: "msg_1", role: "assistant", status: "completed",
      content: [{ type: "output_text", text: "Two.", annotations: [], logprobs: [] }] },
    { role: "user", content: "And 2 + 2?" },
  ];
  const agent = { instructions: "You are an agent.", store: false, parallel_tool_calls: false,
    reasoning: { effort: "medium", summary: "auto" }, prompt_cache_key: "session", text: { verbosity: "low" } };
  const answer = await client.responses.create({ ...fixed, ...agent, input, tools, tool_choice: "auto" });
  assert.equal(answer.parallel_tool_calls, false);
  assert.equal(answer.reasoning.effort, "medium");
  assert.equal(answer.prompt_cache_key, "session");
});

test("log-probabilities and JSON", async () => {
  const answer = await client.responses.create({ ...fixed, reasoning: { effort: "none" }, top_logprobs: 2,
    include: ["message.output_text.logprobs"] });
  const part = answer.output.find((item) => item.type === "message")?.content[0];
  if (part) assert.ok(part.logprobs.every((entry) => entry.top_logprobs.length === 2 && entry.logprob <= 0));
  const json = { ...fixed, thinking_token_budget: 2, text: { format: { type: "json_object" } } };
  const made = await client.responses.create(json).catch((error) => error);
  if (made instanceof Error) assert.equal(made.code, "json_validate_failed");
  else if (made.status === "completed") JSON.parse(made.output_text);
});

test("what is not here is refused by name", async () => {
  for (const [fields, param] of [
    [{ previous_response_id: "resp_1" }, "previous_response_id"],
    [{ conversation: "conv_1" }, "conversation"],
    [{ background: true }, "background"],
    [{ store: true }, "store"],
    [{ truncation: "auto" }, "truncation"],
    [{ tools: [{ type: "web_search" }] }, "tools[0].type"],
    [{ tools: [{ ...tools[0], strict: true }] }, "tools[0].strict"],
    [{ text: { format: { type: "json_schema", name: "x", schema: {} } } }, "text.format"],
    [{ include: ["file_search_call.results"] }, "include[0]"],
    [{ input: [{ type: "item_reference", id: "msg_1" }] }, "input[0].type"],
    [{ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, "input[0].content[0].type"],
    [{ reasoning: { summary: "detailed" } }, "reasoning.summary"],
  ]) {
    await assert.rejects(client.responses.create({ ...fixed, ...fields }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, String(error));
      assert.equal(error.param, param);
      return true;
    });
  }
  await assert.rejects(client.responses.create({ ...fixed, model: "no-such-model" }), OpenAI.NotFoundError);
  const long = "word ".repeat(3000);
  await assert.rejects(client.responses.create({ ...fixed, input: long }), (error) => {
    assert.equal(error.code, "context_length_exceeded");
    assert.equal(error.param, "input");
    return true;
  });
});

test("DeepSeek's address", async () => {
  const deepseek = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  assert.match((await deepseek.responses.create(fixed)).id, /^resp_/);
});
