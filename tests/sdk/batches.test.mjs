// OpenAI's own client keeps files and runs batches.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.HADAL_URL}/v1`, apiKey: "none", maxRetries: 0 });
const body = (question) => ({ messages: [{ role: "user", content: question }], temperature: 0, max_tokens: 8 });
const line = (id, question, more) => JSON.stringify({
  custom_id: id, method: "POST", url: "/v1/chat/completions", body: { ...body(question), ...more } });
const ended = ["completed", "failed", "expired", "cancelled"];

async function finished(id) {
  for (const until = Date.now() + 120_000; Date.now() < until;) {
    const batch = await client.batches.retrieve(id);
    if (ended.includes(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the batch does not end");
}
const create = (file, more) => client.batches.create({
  input_file_id: file, endpoint: "/v1/chat/completions", completion_window: "24h", ...more });
const results = async (file) =>
  Object.fromEntries((await (await client.files.content(file)).text()).trimEnd().split("\n")
    .map((text) => JSON.parse(text)).map((one) => [one.custom_id, one]));

test("a file from the disk becomes a batch and its results", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "hadal-"));
  const name = path.join(folder, "requests \"é\".jsonl");
  const text = [line("a", "What is 17 + 25?"), line("b", "你好"), line("wrong", "x", { temperature: 9 })].join("\n") + "\n";
  fs.writeFileSync(name, text);
  const file = await client.files.create({ file: fs.createReadStream(name), purpose: "batch",
    expires_after: { anchor: "created_at", seconds: 7200 } });
  fs.rmSync(folder, { recursive: true });
  assert.deepEqual([file.object, file.bytes, file.purpose], ["file", Buffer.byteLength(text), "batch"]);
  assert.equal(file.expires_at - file.created_at, 7200);
  assert.equal(await (await client.files.content(file.id)).text(), text);
  assert.deepEqual(await client.files.retrieve(file.id), file);

  const batch = await create(file.id, { metadata: { project: "x" } });
  assert.equal(batch.object, "batch");
  assert.equal(batch.status, "validating");
  const done = await finished(batch.id);
  assert.equal(done.status, "completed");
  assert.deepEqual(done.request_counts, { total: 3, completed: 2, failed: 1 });
  assert.deepEqual(done.metadata, { project: "x" });
  const good = await results(done.output_file_id);
  assert.deepEqual(Object.keys(good), ["a", "b"]);
  const live = await client.chat.completions.create({ model: "any", ...body("What is 17 + 25?") }).catch(() => null);
  assert.equal(live, null, "a name that nobody serves");
  const models = (await client.models.list()).data;
  const same = await client.chat.completions.create({ model: models[0].id, ...body("What is 17 + 25?") });
  assert.equal(good.a.response.status_code, 200);
  assert.equal(good.a.error, null);
  assert.deepEqual(good.a.response.body.choices, same.choices);
  const bad = await results(done.error_file_id);
  assert.equal(bad.wrong.response.status_code, 400);
  assert.equal(bad.wrong.response.body.error.param, "temperature");

  assert.deepEqual(await client.files.delete(file.id), { id: file.id, object: "file", deleted: true });
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
});

test("lists come page by page", async () => {
  const made = [];
  for (let i = 0; i < 3; ++i) {
    made.push((await client.files.create({ file: await toFile(Buffer.from(line("a", "1")), `${i}.jsonl`), purpose: "batch" })).id);
  }
  const seen = [];
  for await (const file of client.files.list({ limit: 2, purpose: "batch" })) seen.push(file.id);
  assert.deepEqual(seen.slice(0, 3), [...made].reverse());
  const up = await client.files.list({ limit: 1, order: "asc" });
  assert.equal(up.data.length, 1);
  const batches = [];
  for (const file of made) batches.push((await create(file)).id);
  const listed = [];
  for await (const batch of client.batches.list({ limit: 2 })) listed.push(batch.id);
  assert.deepEqual(listed.slice(0, 3), [...batches].reverse());
  for (const batch of batches) assert.equal((await finished(batch)).status, "completed");
});

test("a wrong file fails with its lines", async () => {
  const file = await client.files.create({ file: await toFile(Buffer.from(`${line("a", "x")}\nnot json\n`), "x.jsonl"), purpose: "batch" });
  const batch = await finished((await create(file.id)).id);
  assert.equal(batch.status, "failed");
  assert.equal(batch.errors.data[0].line, 2);
  assert.equal(batch.errors.data[0].code, "invalid_json_line");
});

test("a batch is cancelled", async () => {
  const lines = Array.from({ length: 60 }, (_, i) => line(`c${i}`, "Count to a hundred.", { max_tokens: 200, ignore_eos: true }));
  const file = await client.files.create({ file: await toFile(Buffer.from(lines.join("\n")), "long.jsonl"), purpose: "batch" });
  const batch = await create(file.id);
  assert.ok(["cancelling", "cancelled"].includes((await client.batches.cancel(batch.id)).status));
  const done = await finished(batch.id);
  assert.equal(done.status, "cancelled");
  await assert.rejects(client.batches.cancel(batch.id), OpenAI.BadRequestError);
});

test("what is wrong is refused by name", async () => {
  const file = await toFile(Buffer.from("x"), "x");
  for (const [ask, param] of [
    [() => client.files.create({ file, purpose: "assistants" }), "purpose"],
    [() => create("file-none"), "input_file_id"],
    [() => create("file-none", { endpoint: "/v1/moderations" }), "endpoint"],
    [() => create("file-none", { completion_window: "later" }), "completion_window"],
  ]) {
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.equal(error.param, param);
      return true;
    });
  }
});
