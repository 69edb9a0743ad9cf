"""A model that writes nonsense, markers among it, under eight clients with tools: whole answers and streams
hold the same message, nothing hangs, and the server is as it was before."""

import json
import os
import pathlib
import random
import struct
import sys
import tempfile
import threading
import unittest

from hadal_server import Server

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
MODEL = pathlib.Path(__file__).resolve().parents[2] / "models" / "tiny" / "hadal-tiny.gguf"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
CLIENTS, ROUNDS = 8, 10
WORDS = "Answer the question with one call of the tool, then think again about 北京 and 🦙".split()
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of GGUF values
TOOLS = [{"type": "function", "function": {
    "name": name, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}
    for name in ("get", "put")]


class Gguf:
    """As much of a GGUF as leads to its tensors' bytes."""

    def __init__(self, data):
        self.data, self.at, self.alignment = data, 8, 32
        tensors, keys = self.take("<QQ")
        for _ in range(keys):
            key, (kind,) = self.text(), self.take("<I")
            if key == "general.alignment":
                self.alignment = struct.unpack_from("<I", data, self.at)[0]
            self.skip(kind)
        self.tensors = {}
        for _ in range(tensors):
            name, (dims,) = self.text(), self.take("<I")
            self.tensors[name] = (self.take(f"<{dims}Q"), *self.take("<IQ"))
        self.start = -(-self.at // self.alignment) * self.alignment

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        size, = self.take("<Q")
        self.at += size
        return bytes(self.data[self.at - size:self.at]).decode()

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            element, count = self.take("<IQ")
            if element == 8:
                for _ in range(count):
                    self.text()
            else:
                self.at += SIZES[element] * count
        else:
            self.at += SIZES[kind]

    def bytes_of(self, name):
        """Begin and end, the end by the next tensor's begin."""
        begins = sorted(offset for _, _, offset in self.tensors.values())
        begin = self.tensors[name][2]
        later = [offset for offset in begins if offset > begin]
        return self.start + begin, self.start + later[0] if later else len(self.data)


def mixed_up_model(path):
    """The embedded model with the rows of its output matrix in another order: what it means to say
    comes out as other tokens, special ones too."""
    data = bytearray(MODEL.read_bytes())
    gguf = Gguf(data)
    name = "output.weight" if "output.weight" in gguf.tensors else "token_embd.weight"
    rows = gguf.tensors[name][0][-1]
    begin, end = gguf.bytes_of(name)
    size = (end - begin) // rows
    matrix = [bytes(data[begin + i * size:begin + (i + 1) * size]) for i in range(rows)]
    random.Random(7).shuffle(matrix)
    data[begin:begin + rows * size] = b"".join(matrix)
    path.write_bytes(data)
    return str(path)


def body_of(rng):
    body = {"messages": [{"role": "user", "content": " ".join(rng.choices(WORDS, k=8))}],
            "max_tokens": rng.randint(1, 120), "temperature": rng.choice((0, 1, 2)),
            "seed": rng.randrange(1000), "tools": TOOLS}
    if rng.random() < 0.3:
        body["tool_choice"] = rng.choice(("required", {"type": "function", "function": {"name": "put"}}))
        body["thinking"] = {"type": rng.choice(("enabled", "disabled"))}
    elif rng.random() < 0.3:
        body["parallel_tool_calls"] = False
    elif rng.random() < 0.2:
        body["response_format"] = {"type": "json_object"}
    if rng.random() < 0.3:
        body["ignore_eos"] = True
    if rng.random() < 0.3:
        body["n"] = 2
    if rng.random() < 0.2:
        body["skip_special_tokens"] = False
    return body


def message_of(choice):
    message = choice["message"]
    calls = [(call["function"]["name"], call["function"]["arguments"])
             for call in message.get("tool_calls") or []]
    return (message["content"] or "", message.get("reasoning_content") or "", calls,
            choice["finish_reason"])


def joined(events):
    choices = {}
    for event in events:
        if "error" in event:
            return event["error"]["code"]
        for chunk in event["choices"]:
            found = choices.setdefault(chunk["index"], ["", "", [], None])
            delta = chunk["delta"]
            found[0] += delta.get("content") or ""
            found[1] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or []:
                if call.get("id"):
                    found[2].append([call["function"]["name"], ""])
                found[2][call["index"]][1] += call["function"].get("arguments") or ""
            found[3] = chunk["finish_reason"] or found[3]
    return [(content, reasoning, [tuple(call) for call in calls], finish)
            for _, (content, reasoning, calls, finish) in sorted(choices.items())]


class OddOutput(unittest.TestCase):
    def compare(self, server, body):
        answer = server.post(CHAT, body)
        stream = server.stream(CHAT, body)
        streamed = joined(stream.events())
        if answer.status != 200:
            self.assertEqual(answer.error["code"], "json_validate_failed", answer.text)
            self.assertEqual(streamed, "json_validate_failed")
            return
        self.assertTrue(stream.done)
        self.assertEqual([message_of(choice) for choice in answer.json["choices"]], streamed)
        answer.body.decode()  # well-formed

    def test_nonsense_is_only_an_answer(self):
        with tempfile.TemporaryDirectory() as folder:
            model = mixed_up_model(pathlib.Path(folder) / "mixed.gguf")
            for arguments in ([], ["--model", model]):
                with self.subTest(arguments), Server(BINARY, "--max-sequences", "8", *arguments) as server:
                    self.drive(server)

    def drive(self, server):
        fixed = {"messages": [{"role": "user", "content": "What is 17 + 25?"}], "temperature": 0,
                 "max_tokens": 30, "cache_salt": "fixed"}
        before = message_of(server.post(CHAT, fixed).json["choices"][0])
        failures = []

        def client(number):
            rng = random.Random(number)
            for i in range(ROUNDS):
                body = body_of(rng)
                try:
                    if i % 3 == 2:
                        self.messages(server, body)
                    else:
                        self.compare(server, body)
                except Exception as error:  # every fault belongs in the report
                    failures.append(f"{json.dumps(body)}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertIsNone(server.process.poll())
        self.assertEqual(message_of(server.post(CHAT, fixed).json["choices"][0]), before)
        server.wait_metric("vllm:num_requests_running", 0)
        server.wait_metric("vllm:num_requests_waiting", 0)
        server.wait_metric("vllm:kv_cache_usage_perc", 0)

    def messages(self, server, body):
        tools = [{"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]}
                 for tool in body["tools"]]
        answer = server.post(MESSAGES, {"messages": body["messages"], "max_tokens": body["max_tokens"],
                                        "temperature": 1, "tools": tools})
        self.assertEqual(answer.status, 200, answer.text)
        self.assertIn(answer.json["stop_reason"], ("end_turn", "max_tokens", "tool_use"))


if __name__ == "__main__":
    unittest.main()
