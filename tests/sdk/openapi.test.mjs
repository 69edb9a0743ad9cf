// /openapi.json beside the server that tells it: the document is valid, answers are as it says, and of
// some thousand requests, each a good one with one thing changed, the server refuses all that the
// document forbids and none that it allows, but for what depends on other fields.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv2020 from "ajv/dist/2020.js";

const url = process.env.HADAL_URL;
const contract = await (await fetch(`${url}/openapi.json`)).json();

function compiler(document) {
  const ajv = new Ajv2020({ strict: false, allErrors: false });
  ajv.addSchema(document, "contract");
  return (name) => ajv.getSchema(`contract#/components/schemas/${name}`);
}
const asked = compiler(contract);

// What the document does not name may come in a later version, but not unnoticed.
function close(node) {
  if (node === null || typeof node !== "object") return;
  if (node.properties && node.additionalProperties === undefined) node.additionalProperties = false;
  Object.values(node).forEach(close);
}
const closed = structuredClone(contract);
close(closed.components.schemas);
const answered = compiler(closed);

function check(name, value) {
  const validate = answered(name);
  assert.ok(validate(value), `${name}: ${JSON.stringify(validate.errors)} of ${JSON.stringify(value)}`);
}
const post = (path, body, signal) =>
  fetch(url + path, { method: "POST", body: JSON.stringify(body), signal, headers: { "Content-Type": "application/json" } });

test("the document is valid", async () => {
  const result = await new Validator().validate(structuredClone(contract));
  assert.deepEqual(result.errors ?? [], []);
  assert.ok(result.valid);
});

const messages = [{ role: "user", content: "What is 17 + 25?" }];
const short = { temperature: 0, thinking_token_budget: 3 };
const add = { name: "add", description: "adds", parameters: { type: "object", properties: {} } };
const flat = { type: "function", ...add };
const called = [
  { role: "system", content: "s" },
  { role: "user", content: [{ type: "text", text: "a" }] },
  { role: "assistant", content: null, reasoning_content: "r",
    tool_calls: [{ id: "c", type: "function", function: { name: "add", arguments: "{}" } }] },
  { role: "tool", tool_call_id: "c", content: "42" },
];

test("answers are as the document says", async () => {
  const requests = [
    ["/v1/chat/completions", { messages, ...short, max_tokens: 24, logprobs: true, top_logprobs: 2, n: 2, service_tier: "flex" }],
    ["/v1/chat/completions", { messages, ...short, max_tokens: 200, tools: [{ type: "function", function: add }], tool_choice: "required", stream_options: { include_usage: true } }],
    ["/v1/completions", { prompt: ["a", "b"], max_tokens: 4, echo: true, logprobs: 2, stop: "e", stream_options: { include_usage: true } }],
    ["/v1/responses", { input: "hi", ...short, max_output_tokens: 24, user: "u", metadata: { a: "b" }, include: ["message.output_text.logprobs", "reasoning.encrypted_content"], top_logprobs: 1 }],
    ["/v1/responses", { input: "hi", ...short, max_output_tokens: 200, tools: [flat], tool_choice: { type: "function", name: "add" } }],
    ["/v1/responses", { input: "hi", ...short, max_output_tokens: 2, text: { format: { type: "text" } } }],
    ["/v1/messages", { messages, max_tokens: 24, thinking: { type: "enabled", budget_tokens: 4 }, stop_sequences: ["3"] }],
    ["/v1/messages", { messages, max_tokens: 200, thinking: { type: "enabled", budget_tokens: 4 }, tools: [{ name: "add", input_schema: {} }], tool_choice: { type: "any" } }],
    ["/v1/messages/count_tokens", { messages }],
    ["/tokenize", { prompt: "hi", return_token_strs: true }],
    ["/tokenize", { messages }],
    ["/detokenize", { tokens: [1, 2, 3] }],
    ["/v1/chat/completions", { messages: 5 }, "Error"],
    ["/v1/messages", { messages: 5 }, "MessagesError"],
    ["/v1/chat/completions", { messages, model: "no-such-model" }, "Error"],
  ];
  for (const [path, body, error] of requests) {
    const content = contract.paths[path].post.responses[200].content;
    const name = (type) => content[type].schema.$ref.split("/").at(-1);
    const answer = await post(path, body);
    assert.equal(answer.ok, !error, path);
    check(error ?? name("application/json"), await answer.json());
    if (error || !content["text/event-stream"]) continue;
    const stream = await (await post(path, { ...body, stream: true })).text();
    const data = stream.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
    assert.ok(data.length > 2, path);
    for (const line of data) if (line !== "[DONE]") check(name("text/event-stream"), JSON.parse(line));
  }
  const upload = async () => {
    const form = new FormData();
    form.append("purpose", "batch");
    form.append("file", new Blob(["{\n"]), "in.jsonl");
    return (await fetch(`${url}/v1/files`, { method: "POST", body: form })).json();
  };
  const file = await upload();
  check("File", file);
  const batch = { input_file_id: file.id, endpoint: "/v1/responses", completion_window: "24h" };
  check("Batch", await (await post("/v1/batches", batch)).json());
  check("FileRemoved", await (await fetch(`${url}/v1/files/${(await upload()).id}`, { method: "DELETE" })).json());
  for (const [path, operations] of Object.entries(contract.paths)) {
    if (!operations.get) continue;
    // What there is one of, in the list of the same address; a batch brings files with it.
    const list = path.includes("{id}") ? (await (await fetch(url + path.split("/{id}")[0])).json()).data : [];
    const answer = await fetch(url + path.replace("{id}", list[0]?.id));
    assert.equal(answer.status, 200, path);
    const { content } = operations.get.responses[200];
    const type = answer.headers.get("content-type").split(";")[0];
    assert.ok(content[type], `${path} answers ${type}`);
    if (type === "application/json") check(content[type].schema.$ref.split("/").at(-1), await answer.json());
  }
});

// Good requests that between them use every object of the protocol.
const samples = [
  ["/v1/chat/completions", {
    messages: called, stream: true, max_tokens: 1, max_completion_tokens: 1, temperature: 0, top_p: 0.5, top_k: 4,
    min_p: 0.1, repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0, logit_bias: { 5: 1 }, seed: 1,
    stop: ["x"], stop_token_ids: [1], include_stop_str_in_output: false, min_tokens: 0, ignore_eos: false, n: 1,
    stream_options: { include_usage: true }, logprobs: true, top_logprobs: 2, priority: 0, cache_salt: "s",
    user_id: "u", skip_special_tokens: true, service_tier: "auto", chat_template_kwargs: { thinking: true },
    thinking: { type: "enabled", budget_tokens: 9 }, reasoning_effort: "low", include_reasoning: true,
    thinking_token_budget: 4, add_generation_prompt: true, continue_final_message: false,
    response_format: { type: "text" }, tools: [{ type: "function", function: add }], parallel_tool_calls: true,
    modalities: ["text"],
    tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [{ type: "function", function: { name: "add" } }] } },
  }],
  ["/v1/chat/completions", { messages, stream: true, max_tokens: 1, tools: [{ type: "function", function: add }],
    tool_choice: { type: "function", function: { name: "add" } } }],
  ["/v1/completions", { prompt: ["a"], stream: true, max_tokens: 1, logprobs: 1, echo: true, best_of: 1, n: 1,
    add_special_tokens: true, response_format: { type: "text" } }],
  ["/v1/completions", { prompt: [[1, 2]], stream: true, max_tokens: 1 }],
  ["/v1/responses", {
    input: [
      { role: "user", content: [{ type: "input_text", text: "a" }] },
      { type: "reasoning", summary: [], content: [{ type: "reasoning_text", text: "r" }], encrypted_content: "x" },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "b" }] },
      { type: "function_call", call_id: "c", name: "add", arguments: "{}" },
      { type: "function_call_output", call_id: "c", output: "x" },
      { type: "function_call_output", call_id: "c", output: [{ type: "input_text", text: "x" }] },
    ],
    stream: true, instructions: "s", max_output_tokens: 1, top_logprobs: 1, parallel_tool_calls: true,
    include: ["message.output_text.logprobs"], text: { format: { type: "text" } }, metadata: { a: "b" },
    reasoning: { effort: "low", summary: "auto", context: "auto", mode: "standard" }, truncation: "disabled",
    thinking_token_budget: 1, tools: [flat],
    tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "add" }] },
  }],
  ["/v1/responses", { input: "x", stream: true, max_output_tokens: 1, tools: [flat], tool_choice: { type: "function", name: "add" } }],
  ["/v1/messages", {
    messages: [
      { role: "user", content: [{ type: "text", text: "a" }] },
      { role: "assistant", content: [{ type: "thinking", thinking: "r", signature: "" },
        { type: "tool_use", id: "t", name: "add", input: {} }] },
      { role: "user", content: [{ type: "tool_result", tool_use_id: "t", is_error: false, content: [{ type: "text", text: "x" }] }] },
    ],
    system: [{ type: "text", text: "s" }], max_tokens: 1, stream: true, stop_sequences: ["x"], temperature: 0, top_p: 0.5,
    top_k: 2, tools: [{ type: "custom", name: "add", description: "d", input_schema: {} }],
    tool_choice: { type: "tool", name: "add", disable_parallel_tool_use: true },
    thinking: { type: "enabled", budget_tokens: 1 }, output_config: { effort: "low" }, metadata: { user_id: "u" },
    service_tier: "auto",
  }],
  ["/v1/messages/count_tokens", { messages }],
  ["/tokenize", { prompt: "a", add_special_tokens: true, return_token_strs: true }],
  ["/tokenize", { messages: called, tools: [{ type: "function", function: add }], add_generation_prompt: true,
    thinking: { type: "disabled" }, reasoning_effort: "none", chat_template_kwargs: { enable_thinking: true } }],
  ["/detokenize", { tokens: [1] }],
];
const odd = [null, true, false, 0, 1, -1, 1.5, 2.5, -101, 129, 2 ** 31, 1e300, "", "x", "none", "y".repeat(2000), [], {}, [1], ["x"],
  [null], [[]], [{}], { x: 1 }, { type: "x" }];

// Rules that join several fields, or ask the model, which no schema of one field can tell.
const joined = [
  /needs "?(logprobs|include|echo)/, /asks for a call/, /names '/, /no (assistant's message|function_call)/, /is missing/,
  /only an assistant's message/, /only the last message/, /cannot be (gone on|forced|ranked)/, /the last message is not/,
  /expected n or more/, /has no tokens/, /holds no message/, /the vocabulary ends/, /exactly one of/, /is false where/,
  /does not go with/, /has no tool_result/, /keys of at most/, /token id, written as a number/, /the role (user|assistant)/,
  /at most max_tokens/, /is empty, expected/, /goes with neither/, /more than \d+ answers/, /needs a prompt/,
  /the prompt|prompt is too long/, /is not served/, /no tokens for/,
];

function* mutants(node, path = []) {
  if (path.length > 0) for (const value of odd) yield [path, value];
  if (node === null || typeof node !== "object") return;
  if (!Array.isArray(node)) yield [[...path, "unknown_field"], 1];
  for (const key of Object.keys(node)) {
    yield [[...path, key], undefined];
    yield* mutants(node[key], [...path, Array.isArray(node) ? Number(key) : key]);
  }
}
function changed(sample, path, value) {
  const copy = structuredClone(sample);
  const place = path.slice(0, -1).reduce((at, key) => at[key], copy);
  const key = path.at(-1);
  if (value !== undefined) place[key] = value;
  else if (Array.isArray(place)) place.splice(key, 1);
  else delete place[key];
  return copy;
}

for (const [path, sample] of samples) {
  test(`requests: ${path} ${Object.keys(sample).length}`, async () => {
    const name = contract.paths[path].post.requestBody.content["application/json"].schema.$ref.split("/").at(-1);
    const validate = asked(name);
    assert.ok(validate(sample), JSON.stringify(validate.errors));
    const wrong = [];
    const cases = [...mutants(sample)];
    const next = async () => {
      for (let one = cases.pop(); one; one = cases.pop()) {
        const body = changed(sample, ...one);
        const abort = new AbortController();
        const answer = await post(path, body, abort.signal);
        const told = `${one[0].join(".")} = ${JSON.stringify(one[1])?.slice(0, 40)}`;
        const allowed = validate(body);
        if (answer.status === 400) {
          const { error } = await answer.json();
          if (allowed && !joined.some((rule) => rule.test(error.message))) wrong.push(`${told} is refused: ${error.message}`);
        } else {
          abort.abort();
          if (answer.status !== 200) wrong.push(`${told}: status ${answer.status}`);
          else if (!allowed) wrong.push(`${told} passes, but ${JSON.stringify(validate.errors).slice(0, 200)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: 4 }, next));
    assert.deepEqual(wrong, []);
  });
}
