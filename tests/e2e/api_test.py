"""Every endpoint and its errors, over the wire."""

import json
import os
import shutil
import subprocess
import sys
import unittest

from hadal_server import Server, join_chat

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]


def chat(**fields):
    return {"messages": QUESTION, "max_tokens": 24, "temperature": 0, **fields}


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARY, "--context", "512", "--max-sequences", "8")
        cls.model = cls.server.get("/v1/models").json["data"][0]["id"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, **fields):
        answer = self.server.post(CHAT, chat(**fields))
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json

    def complete(self, **fields):
        answer = self.server.post(COMPLETION, {"max_tokens": 12, "temperature": 0, **fields})
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json

    def test_models(self):
        card = self.server.get("/v1/models").json["data"][0]
        self.assertEqual(card["object"], "model")
        self.assertEqual(card["max_model_len"], 512)
        self.assertEqual(self.server.get(f"/v1/models/{self.model}").json, card)
        self.assertEqual(self.server.get("/v1/models/other").status, 404)

    def test_small_pages(self):
        self.assertEqual(self.server.get("/health").json, {"status": "ok"})
        self.assertRegex(self.server.get("/version").json["version"], r"^\d+\.\d+")
        self.assertIn(self.model, self.server.get("/").text)
        self.assertEqual(self.server.request("HEAD", "/health").status, 200)

    def test_chat_has_openai_form(self):
        answer = self.ask(model=self.model)
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["model"], self.model)
        self.assertTrue(answer["id"].startswith("chatcmpl-"))
        choice, = answer["choices"]
        self.assertEqual(choice["index"], 0)
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        self.assertIsNone(choice["logprobs"])
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertEqual(usage["prompt_tokens"],
                         usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"])
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"],
                         usage["prompt_cache_hit_tokens"])
        self.assertGreaterEqual(usage["completion_tokens"],
                                usage["completion_tokens_details"]["reasoning_tokens"])

    def test_stream_says_the_same(self):
        whole = self.ask(max_tokens=60)
        stream = self.server.stream(CHAT, chat(max_tokens=60, stream_options={"include_usage": True}))
        events = list(stream.events())
        self.assertTrue(stream.done)
        choices, usage = join_chat(events)
        message = whole["choices"][0]["message"]
        self.assertEqual(choices[0]["role"], "assistant")
        self.assertEqual(choices[0]["content"], message["content"])
        self.assertEqual(choices[0]["reasoning_content"], message.get("reasoning_content", ""))
        self.assertEqual(choices[0]["finish_reason"], whole["choices"][0]["finish_reason"])
        self.assertEqual(usage["completion_tokens"], whole["usage"]["completion_tokens"])
        self.assertEqual(events[-1]["choices"], [])
        self.assertIn("role", events[0]["choices"][0]["delta"])
        self.assertTrue(all(event["usage"] is None for event in events[:-1]))
        self.assertTrue(all(event["object"] == "chat.completion.chunk" for event in events))
        self.assertEqual(len({event["id"] for event in events}), 1)

    def test_no_usage_unless_asked(self):
        events = list(self.server.stream(CHAT, chat()).events())
        self.assertTrue(all("usage" not in event for event in events))
        self.assertTrue(all(event["choices"] for event in events))

    def test_choices(self):
        answer = self.ask(n=3, temperature=1.5, seed=7, max_tokens=16, ignore_eos=True)
        self.assertEqual([choice["index"] for choice in answer["choices"]], [0, 1, 2])
        self.assertEqual(answer["usage"]["completion_tokens"], 48)
        again = self.ask(n=3, temperature=1.5, seed=7, max_tokens=16, ignore_eos=True)
        self.assertEqual([c["message"] for c in answer["choices"]],
                         [c["message"] for c in again["choices"]])
        second = self.ask(temperature=1.5, seed=8, max_tokens=16, ignore_eos=True)
        self.assertEqual(second["choices"][0]["message"], answer["choices"][1]["message"])
        streamed, _ = join_chat(self.server.stream(
            CHAT, chat(n=3, temperature=1.5, seed=7, max_tokens=16, ignore_eos=True)).events())
        for i, choice in enumerate(answer["choices"]):
            self.assertEqual(streamed[i]["content"], choice["message"]["content"])

    def test_logprobs(self):
        answer = self.ask(logprobs=True, top_logprobs=3, max_tokens=5, ignore_eos=True)
        entries = answer["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(entries), 5)
        for entry in entries:
            self.assertLessEqual(entry["logprob"], 0)
            self.assertEqual(len(entry["top_logprobs"]), 3)
            self.assertEqual(entry["top_logprobs"][0]["logprob"], entry["logprob"])  # greedy
            self.assertEqual(entry["token"], bytes(entry["bytes"]).decode(errors="replace"))
        streamed, _ = join_chat(self.server.stream(
            CHAT, chat(logprobs=True, top_logprobs=3, max_tokens=5, ignore_eos=True)).events())
        self.assertEqual([e["token"] for e in streamed[0]["logprobs"]],
                         [e["token"] for e in entries])

    def test_limits_of_length(self):
        answer = self.ask(max_tokens=3, ignore_eos=True)
        self.assertEqual(answer["usage"]["completion_tokens"], 3)
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        answer = self.ask(max_completion_tokens=2, max_tokens=9, ignore_eos=True)
        self.assertEqual(answer["usage"]["completion_tokens"], 2)
        answer = self.ask(max_tokens=256000, ignore_eos=True)  # clamped, not refused
        self.assertEqual(answer["usage"]["total_tokens"], 512)

    def test_stop_strings(self):
        full = self.complete(prompt="Hello", max_tokens=40, ignore_eos=True)["choices"][0]["text"]
        self.assertGreater(len(full), 8, full)
        stop = full[5:8]
        answer = self.complete(prompt="Hello", max_tokens=40, ignore_eos=True, stop=[stop])
        choice = answer["choices"][0]
        self.assertEqual(choice["text"], full[:full.index(stop)])
        self.assertEqual(choice["finish_reason"], "stop")
        self.assertEqual(choice["stop_reason"], stop)

    def test_unicode(self):
        for text in ("你好，世界", "🙂🇩🇪é", "a\u0000b", "\U0010ffff", "<｜User｜>"):
            tokens = self.server.post("/tokenize", {"prompt": text, "add_special_tokens": False}).json
            self.assertEqual(tokens["count"], len(tokens["tokens"]))
            back = self.server.post("/detokenize", {"tokens": tokens["tokens"]}).json
            self.assertEqual(back["prompt"], text)
            answer = self.server.post(CHAT, chat(messages=[{"role": "user", "content": text}],
                                                 max_tokens=2))
            self.assertEqual(answer.status, 200, answer.text)

    def test_user_text_never_becomes_a_special_token(self):
        template = self.server.post("/tokenize", {"messages": QUESTION}).json["tokens"]
        typed = self.server.post("/tokenize", {
            "messages": [{"role": "user", "content": "<｜Assistant｜>"}]}).json["tokens"]
        plain = self.server.post("/tokenize", {"messages": [{"role": "user", "content": "x"}]}).json
        assistant = [t for t in plain["tokens"] if t in template]
        for token in set(assistant):
            self.assertEqual(typed.count(token), plain["tokens"].count(token), token)

    def test_tokenize(self):
        answer = self.server.post("/tokenize", {"model": self.model, "prompt": "Hello world",
                                                "return_token_strs": True}).json
        self.assertEqual(answer["max_model_len"], 512)
        self.assertEqual(len(answer["token_strs"]), answer["count"])
        with_chat = self.server.post("/tokenize", {"messages": QUESTION}).json
        usage = self.ask()["usage"]
        self.assertEqual(with_chat["count"], usage["prompt_tokens"])

    def test_completions_take_every_form_of_prompt(self):
        ids = self.server.post("/tokenize", {"prompt": "Hello"}).json["tokens"]
        text = self.complete(prompt="Hello")["choices"][0]["text"]
        self.assertEqual(self.complete(prompt=ids)["choices"][0]["text"], text)
        several = self.complete(prompt=["Hello", "Hello"])["choices"]
        self.assertEqual([c["text"] for c in several], [text, text])
        several = self.complete(prompt=[ids, ids], n=2)["choices"]
        self.assertEqual([c["index"] for c in several], [0, 1, 2, 3])
        self.assertEqual([c["text"] for c in several], [text] * 4)
        streamed = {}
        for event in self.server.stream(COMPLETION, {"prompt": ["Hello", "Hello"], "max_tokens": 12,
                                                     "temperature": 0}).events():
            for choice in event["choices"]:
                streamed[choice["index"]] = streamed.get(choice["index"], "") + choice["text"]
        self.assertEqual(streamed, {0: text, 1: text})

    def test_completion_logprobs_and_echo(self):
        answer = self.complete(prompt="Hello world", logprobs=2, ignore_eos=True, max_tokens=4)
        found = answer["choices"][0]["logprobs"]
        self.assertEqual(len(found["tokens"]), 4)
        self.assertEqual(found["text_offset"][0], 0)
        self.assertTrue(all(len(top) <= 2 for top in found["top_logprobs"]))
        echoed = self.complete(prompt="Hello world", echo=True, ignore_eos=True, max_tokens=4)
        self.assertEqual(echoed["choices"][0]["text"],
                         "Hello world" + answer["choices"][0]["text"])

    def test_echo_scores_the_prompt(self):
        ids = self.server.post("/tokenize", {"prompt": "Hello world"}).json["tokens"]
        scored = self.complete(prompt=ids, echo=True, max_tokens=0, logprobs=1)
        found = scored["choices"][0]["logprobs"]
        self.assertEqual(len(found["tokens"]), len(ids))
        self.assertIsNone(found["token_logprobs"][0])
        self.assertTrue(all(score <= 0 for score in found["token_logprobs"][1:]))
        self.assertEqual(scored["usage"]["completion_tokens"], 0)

    def test_thinking(self):
        thought = self.ask(max_tokens=400)
        self.assertNotIn("<think>", thought["choices"][0]["message"]["content"])
        hidden = self.ask(max_tokens=400, include_reasoning=False)
        self.assertNotIn("reasoning_content", hidden["choices"][0]["message"])
        self.assertEqual(hidden["choices"][0]["message"]["content"],
                         thought["choices"][0]["message"]["content"])
        for off in ({"chat_template_kwargs": {"thinking": False}},
                    {"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}):
            answer = self.ask(max_tokens=16, **off)
            self.assertEqual(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 0)

    def test_repeated_prompt_hits_the_cache(self):
        messages = [{"role": "user", "content": "cached " * 40}]
        first = self.ask(messages=messages, max_tokens=1)["usage"]
        second = self.ask(messages=messages, max_tokens=1)["usage"]
        self.assertGreater(second["prompt_cache_hit_tokens"], first["prompt_cache_hit_tokens"])
        apart = self.ask(messages=messages, max_tokens=1, cache_salt="other tenant")["usage"]
        self.assertEqual(apart["prompt_cache_hit_tokens"], 0)

    def test_errors(self):
        deep = "[" * 1000 + "]" * 1000
        long = [{"role": "user", "content": "word " * 3000}]
        cases = [
            # body, status, fragment of the message, param
            (chat(model="gpt-4"), 404, f"'gpt-4' is not served here; served: {self.model}", "model"),
            (chat(temperature="hot"), 400, "temperature: found string, expected number 0 to 2",
             "temperature"),
            (chat(temperature=-1), 400, "temperature: found -1, expected number 0 to 2", "temperature"),
            (chat(top_p=0), 400, "top_p: found 0, expected number above 0 to 1", "top_p"),
            (chat(top_k=-2), 400, "top_k: found -2", "top_k"),
            (chat(min_p=1.5), 400, "min_p", "min_p"),
            (chat(n=0), 400, "n: found 0, expected integer 1 to 128", "n"),
            (chat(max_tokens=-5), 400, "max_tokens: found -5", "max_tokens"),
            (chat(max_tokens=1.5), 400, "max_tokens: found", "max_tokens"),
            (chat(repetition_penalty=0), 400, "repetition_penalty", "repetition_penalty"),
            (chat(presence_penalty=3), 400, "presence_penalty: found 3", "presence_penalty"),
            (chat(logit_bias={"x": 1}), 400, "token id", "logit_bias"),
            (chat(logit_bias={"5": 101}), 400, "-100 to 100", "logit_bias.5"),
            (chat(logit_bias={"99999999": 1}), 400, "logit_bias", None),
            (chat(stop=[""]), 400, "stop[0]: is empty", "stop[0]"),
            (chat(stop=["x"] * 17), 400, "at most 16", "stop"),
            (chat(top_logprobs=2), 400, "needs \"logprobs\": true", "top_logprobs"),
            (chat(messages=[]), 400, "messages: found array of 0", "messages"),
            ({}, 400, "messages: is missing", "messages"),
            (chat(messages=[{"role": "robot", "content": "x"}]), 400, "found 'robot'",
             "messages[0].role"),
            (chat(messages=[{"role": "user"}]), 400, "messages[0].content: is missing",
             "messages[0].content"),
            (chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400,
             "only text", "messages[0].content[0].type"),
            (chat(tools=[{"type": "function"}]), 400, "tools[0].function: is missing",
             "tools[0].function"),
            (chat(response_format={"type": "json_schema"}), 400, "'json_schema' is not supported",
             "response_format"),
            (chat(temprature=1), 400, "did you mean 'temperature'?", "temprature"),
            (chat(messages=long), 400, "maximum context length is 512 tokens", "messages"),
            ('{"messages": [], "temperature": NaN}', 400, "NaN", None),
            ('{"messages": [], "temperature": -Infinity}', 400, "Infinity", None),
            ('{"temperature": 1e999}', 400, "", None),
            ("", 400, "is empty", None),
            ("[]", 400, "expected an object", None),
            ('{"messages": [}', 400, "not valid JSON at byte", None),
            ('{"a": 1} {', 400, "goes on at byte", None),
            (f'{{"messages": {deep}}}', 400, "deeper than 64", None),
            (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', 400, "UTF-8", None),
            ('{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "not valid JSON", None),
        ]
        for body, status, fragment, param in cases:
            with self.subTest(str(body)[:80]):
                answer = self.server.post(CHAT, body)
                self.assertEqual(answer.status, status, answer.text)
                error = answer.error
                self.assertIn(fragment, error["message"])
                self.assertEqual(set(error), {"message", "type", "param", "code"})
                if param:
                    self.assertEqual(error["param"], param)
                self.assertNotRegex(error["message"], r"0x[0-9a-f]{6}|/src/|/home/|/tmp/|/build/")
        overflow = self.server.post(CHAT, chat(messages=long)).error
        self.assertEqual(overflow["code"], "context_length_exceeded")
        self.assertRegex(overflow["message"], r"too long: \d{4,} tokens > 511 maximum")

    def test_errors_of_other_endpoints(self):
        cases = [
            (COMPLETION, {}, "prompt: is missing"),
            (COMPLETION, {"prompt": 5}, "prompt: found 5"),
            (COMPLETION, {"prompt": []}, "prompt: found array of 0"),
            (COMPLETION, {"prompt": [[1, -1]]}, "prompt[0][1]: found -1"),
            (COMPLETION, {"prompt": [1, 2**31]}, "prompt[1]"),
            (COMPLETION, {"prompt": [10**8]}, "the vocabulary ends at"),
            (COMPLETION, {"prompt": "x", "suffix": "y"}, "suffix: this model has no tokens"),
            (COMPLETION, {"prompt": "x", "n": 3, "best_of": 2}, "best_of: found 2"),
            (COMPLETION, {"prompt": ["x"] * 2048, "n": 2}, "more than 2048 answers"),
            ("/tokenize", {}, "exactly one of prompt and messages"),
            ("/detokenize", {"tokens": [10**8]}, "the vocabulary ends at"),
            ("/detokenize", {"tokens": "abc"}, "tokens: found string"),
        ]
        for path, body, fragment in cases:
            with self.subTest(f"{path} {str(body)[:60]}"):
                answer = self.server.post(path, body)
                self.assertEqual(answer.status, 400, answer.text)
                self.assertIn(fragment, answer.error["message"])
        self.assertEqual(self.server.get("/nothing").status, 404)
        wrong = self.server.get(CHAT)
        self.assertEqual((wrong.status, wrong.headers["Allow"]), (405, "POST"))

    def test_oversized_body(self):
        answer = self.server.request("POST", CHAT, b"x", {"Content-Length": str(33 << 20)})
        self.assertEqual(answer.status, 413)
        self.assertIn(str(32 << 20), answer.error["message"])

    def test_metrics(self):
        self.ask(max_tokens=2)
        text = self.server.get("/metrics").text
        for name in ("vllm:num_requests_running", "vllm:num_requests_waiting",
                     "vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total",
                     "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_count",
                     "vllm:inter_token_latency_seconds_count",
                     "vllm:e2e_request_latency_seconds_count", "vllm:request_success_total",
                     "hadal_http_requests_total"):
            self.assertIn(f"\n{name}{{", text)
        before = self.server.metric("vllm:generation_tokens_total")
        self.ask(max_tokens=5, ignore_eos=True)
        self.assertEqual(self.server.metric("vllm:generation_tokens_total"), before + 5)
        if shutil.which("promtool"):
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                     capture_output=True)
            # vLLM's names have colons, and a histogram that ends in _total: promtool dislikes both,
            # every board expects them.
            left = [line for line in (checked.stdout + checked.stderr).splitlines()
                    if "should not contain ':'" not in line
                    and not line.startswith("vllm:iteration_tokens_total non-counter")]
            self.assertEqual(left, [])


class Keys(unittest.TestCase):
    def test_keys_protect_everything_but_health(self):
        with Server(BINARY, "--api-key", "alpha,beta") as server:
            for path in ("/v1/models", "/metrics", "/version", "/", "/nothing"):
                self.assertEqual(server.get(path).status, 401, path)
            self.assertEqual(server.get("/health").status, 200)
            for value in ("Bearer wrong", "Bearer alph", "Bearer alphaa", "Bearer ", "alpha", ""):
                answer = server.post(CHAT, chat(), {"Authorization": value})
                self.assertEqual(answer.status, 401, value)
                self.assertEqual(answer.error["code"], "invalid_api_key")
                self.assertNotIn("alpha", answer.text)
            for key in ("alpha", "beta"):
                answer = server.get("/v1/models", {"Authorization": f"Bearer {key}"})
                self.assertEqual(answer.status, 200)


class Aliases(unittest.TestCase):
    def test_alias(self):
        with Server(BINARY, "--alias", "one,two") as server:
            ids = [card["id"] for card in server.get("/v1/models").json["data"]]
            self.assertEqual(ids, ["one", "two"])
            self.assertEqual(server.post(CHAT, chat(model="two")).json["model"], "two")
            self.assertEqual(server.post(CHAT, chat(model="hadal-tiny")).status, 404)


if __name__ == "__main__":
    unittest.main()
