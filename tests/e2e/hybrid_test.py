"""Routes between a model of the house and somebody else's cloud, which here writes down every byte
that it gets: what must not leave does not, and what was masked comes back."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import unicodedata
import unittest

from hadal_server import ConfigCase, Server, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


class Cloud:
    """Says again what it was told behind "ECHO:", in small pieces where it is to stream."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got, self.requests, self.lock = bytearray(), 0, threading.Lock()
        self.random = random.Random(5)
        self.tokens = 2
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        kept = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in kept:
                    data = connection.recv(65536)
                    if not data:
                        return
                    kept = self.keep(kept, data)
                head, kept = kept.split(b"\r\n\r\n", 1)
                length = int(re.search(rb"content-length: *(\d+)", head.lower())[1])
                while len(kept) < length:
                    kept = self.keep(kept, connection.recv(65536))
                body, kept = kept[:length], kept[length:]
                with self.lock:
                    self.requests += 1
                self.answer(connection, head.split()[1].decode(), json.loads(body))

    def keep(self, kept, data):
        with self.lock:
            self.got += data
        return kept + data

    def pieces(self, text):
        while text:
            length = self.random.randint(1, 5)
            yield text[:length]
            text = text[length:]

    def answer(self, connection, path, body):
        echo = max((text for text in strings(body) if "ECHO:" in text), key=len, default="")
        usage = {"prompt_tokens": 7, "completion_tokens": self.tokens, "total_tokens": 9}
        kind = path.split("/")[-1].split("?")[0]
        if body.get("stream"):
            forms = {"completions": lambda t: {"choices": [{"index": 0, "delta": {"content": t},
                                                             "text": t}]},
                     "responses": lambda t: {"type": "response.output_text.delta",
                                             "output_index": 0, "delta": t},
                     "messages": lambda t: {"type": "content_block_delta", "index": 0,
                                            "delta": {"type": "text_delta", "text": t}}}
            events = [forms[kind](piece) for piece in self.pieces(echo)] + [{"usage": usage}]
            text = "".join(f"data: {json.dumps(event, ensure_ascii=self.random.random() < 0.5)}\n\n"
                           for event in events) + "data: [DONE]\n\n"
            whole = text.encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            while whole:
                length = self.random.randint(1, 300)
                connection.sendall(b"%x\r\n%s\r\n" % (len(whole[:length]), whole[:length]))
                whole = whole[length:]
            connection.sendall(b"0\r\n\r\n")
            return
        message = {"choices": [{"index": 0, "message": {"role": "assistant", "content": echo},
                                "text": echo, "finish_reason": "stop"}],
                   "output": [{"content": [{"type": "output_text", "text": echo}]}],
                   "content": [{"type": "text", "text": echo}], "usage": usage}
        data = json.dumps(message, ensure_ascii=False).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n%s" % (len(data), data))


def luhn(digits):
    for last in range(10):
        number = digits + str(last)
        total = sum(int(c) if i % 2 == 0 else sum(divmod(2 * int(c), 10))
                    for i, c in enumerate(reversed(number)))
        if total % 10 == 0:
            return number


def id_card(dice):
    digits = f"{dice.randint(11, 65)}{dice.randint(0, 9999):04}{dice.randint(1940, 2019)}" \
             f"{dice.randint(1, 12):02}{dice.randint(1, 28):02}{dice.randint(0, 999):03}"
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return digits + "10X98765432"[sum(int(d) * w for d, w in zip(digits, weights)) % 11]


def secret(dice):
    """(label, text)"""
    digits = lambda n: "".join(dice.choice("0123456789") for _ in range(n))
    return dice.choice([
        lambda: ("email", f"user{digits(7)}@mail{digits(4)}.example.com"),
        lambda: ("phone", f"1{dice.choice('35789')}{digits(9)}"),
        lambda: ("bank_card", luhn("62" + digits(16))),
        lambda: ("id_card", id_card(dice)),
        lambda: ("key", "sk-" + digits(30)),
        lambda: ("project", "Falcon" + digits(8)),
    ])()


def disguise(dice, label, text):
    """Another way to write it, that anybody can read."""
    if label == "project":
        return text.upper() if dice.random() < 0.5 else text
    ways = ["plain", "plain", "wide"]
    if label not in ("email", "key"):
        ways += ["spaces", "dashes", "thin"]
    way = dice.choice(ways)
    if way == "wide":
        return "".join(chr(ord(c) + 0xfee0) if c.isalnum() or c in "@.-" else c for c in text)
    if way == "thin":
        return "\u200b".join(text)
    return {"plain": text, "spaces": " ".join(text), "dashes": "-".join(text)}[way]


def plain(data):
    """What is left of bytes when everything that only hides is gone."""
    text = data.decode("utf-8", "replace")
    for _ in range(4):
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[\s\u200b\-]", "", text).lower()


def escaped(dice, body):
    """JSON with some of its characters as escapes, also those of digits."""
    text = json.dumps(body, ensure_ascii=dice.random() < 0.5)
    if dice.random() < 0.5:
        return text
    # Not behind a backslash, where it may be part of an escape.
    return re.sub(r'(?<![\\0-9a-fA-Fu])[0-9](?=[^{}\[\]]*")',
                  lambda found: f"\\u{ord(found[0]):04x}" if dice.random() < 0.3 and
                  inside_string(text, found.start()) else found[0], text)


def inside_string(text, at):
    return len(re.findall(r'(?<!\\)(?:\\\\)*"', text[:at])) % 2 == 1


def request(dice, text, hidden):
    """(path, body): `text` is what is to be said again; `hidden` stands somewhere else."""
    other = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function",
         "function": {"name": "f", "arguments": json.dumps({"value": hidden})}}]}
    history = dice.choice([[], [{"role": "system", "content": hidden}], [other], [
        {"role": "user", "content": [{"type": "text", "text": hidden}]}]])
    user = {"role": "user", "content": dice.choice([text, [{"type": "text", "text": text}]])}
    stream = {"stream": True} if dice.random() < 0.5 else {}
    return dice.choice([
        lambda: (CHAT, {"model": "big", "messages": history + [user], "user": hidden, **stream}),
        lambda: ("/v1/completions", {"model": "big", "prompt": text, "suffix": hidden, **stream}),
        lambda: ("/v1/responses", {"model": "big", "instructions": hidden, "input": text, **stream}),
        lambda: ("/v1/messages", {"model": "big", "max_tokens": 9, "system": hidden, "messages": [
            {"role": "user", "content": [{"type": "text", "text": text}]}], **stream}),
    ])()


def said(answer):
    """The text of an answer of any of the protocols."""
    if "event-stream" not in answer.headers["Content-Type"]:
        return answer.json["output"][0]["content"][0]["text"]
    text = ""
    for line in answer.text.splitlines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        if "choices" in event:
            text += event["choices"][0]["text"]
        elif "delta" in event:
            delta = event["delta"]
            text += delta if isinstance(delta, str) else delta["text"]
    return text


class Fixture(ConfigCase):
    def write(self, text, keys=""):
        with open(self.config, "w") as file:
            file.write("server: {port: 0%s}\n" % keys + text)

    def serve(self, **more):
        return Server(BINARY, "--config", self.config, **more)


class Hybrid(Fixture):
    def test_no_secret_ever_leaves(self):
        dice = random.Random(2)
        secrets, refused, masked = [], 0, 0
        with Cloud() as cloud:
            self.write(f"""
backends: [{{name: cloud, url: 'http://127.0.0.1:{cloud.port}/v1', models: {{big: up}}}}]
sensitivity:
  mask: [email, phone]
  classes: {{project: {{patterns: ['falcon\\d+']}}}}
""")
            with self.serve() as server:
                for number in range(400):
                    planted = [secret(dice) for _ in range(dice.randint(0, 2))]
                    secrets += [one for _, one in planted]
                    shown = [disguise(dice, *one) for one in planted] + ["", ""]
                    text = f"ECHO: say “{shown[0]}” and {{\"n\": 1}} \\ again {shown[0]}."
                    path, body = request(dice, text, f"see {shown[1]} there")
                    answer = server.request("POST", path, escaped(dice, body).encode(),
                                            {"X-Note": shown[0].encode().hex()})
                    labels = {label for label, _ in planted}
                    if labels <= {"email", "phone"}:
                        self.assertEqual(answer.status, 200, (number, answer.text))
                        self.assertEqual(said(answer), text, number)
                        self.assertIn("backend=cloud", answer.headers["X-Hadal-Route"])
                        masked += bool(labels)
                    else:
                        self.assertEqual(answer.status, 503, (number, body))
                        self.assertEqual(answer.headers["Retry-After"], "5")
                        self.assertIn("no_trusted_backend" if path != "/v1/messages" else "leave",
                                      answer.text)
                        self.assertRegex(answer.headers["X-Hadal-Route"], "backend=none; reason=stays")
                        refused += 1
                self.assertGreater(server.metric("hadal_masked_fields_total"), masked)
                self.assertGreater(server.metric("hadal_sensitive_requests_total"), refused)
                broken = server.request("POST", CHAT, '{"model": "big", "messages": [')
                self.assertEqual(broken.status, 400)
            self.assertGreater(refused, 100)
            self.assertGreater(masked, 50)
            seen = plain(bytes(cloud.got))
            self.assertIn("echo:say", seen)
            for one in secrets:
                self.assertNotIn(plain(one.encode()), seen)

    def test_sensitive_requests_stay_here_and_others_overflow(self):
        with Cloud() as cloud:
            self.write(f"""
backends:
  - {{name: here, model: embedded, names: [tiny], overflow_at: 0.01, engine: {{threads: 1}}}}
  - {{name: cloud, url: 'http://127.0.0.1:{cloud.port}/v1', models: {{tiny: up}}}}
sensitivity: {{}}
""")
            ask = {"model": "tiny", "max_tokens": 4, "temperature": 0}
            clean = {**ask, "messages": [{"role": "user", "content": "ECHO: 17"}]}
            personal = {**ask, "messages": [{"role": "user", "content": "call 13912345678"}]}
            with self.serve() as server:
                answer = server.post(CHAT, clean)
                self.assertEqual(answer.headers["X-Hadal-Route"], "default; backend=here")
                for _ in range(100):  # until the long answer is still under way at the right time
                    long = server.stream(CHAT, {**clean, "max_tokens": 400, "ignore_eos": True})
                    answer, kept = server.post(CHAT, clean), server.post(CHAT, personal)
                    long.socket.close()
                    long.response.close()
                    self.assertEqual((kept.status, answer.status), (200, 200))
                    self.assertIn("backend=here; reason=stays: phone", kept.headers["X-Hadal-Route"])
                    if "backend=cloud" in answer.headers["X-Hadal-Route"]:
                        break
                self.assertIn("backend=cloud; reason=overflow", answer.headers["X-Hadal-Route"])
                self.assertEqual(said(answer), "ECHO: 17")
                self.assertGreaterEqual(server.metric("hadal_route_decisions_total"), 3)
            self.assertNotIn("13912345678", plain(bytes(cloud.got)))

    def test_the_cloud_helps_out_but_not_with_everything(self):
        with Cloud() as cloud, socket.create_server(("127.0.0.1", 0)) as silent:
            dead = silent.getsockname()[1]
            silent.close()
            self.write(f"""
backends:
  - {{name: rack, url: 'http://127.0.0.1:{dead}/v1', models: {{m: m}}, trusted: true}}
  - {{name: cloud, url: 'http://127.0.0.1:{cloud.port}/v1', models: {{m: up}}}}
sensitivity: {{mask: [email]}}
routes:
  - {{name: closed, models: [m], headers: {{x-class: top}}, refuse: true}}
  - {{name: house, headers: {{x-class: house}}, to: [rack]}}
""")
            body = {"model": "m", "messages": [{"role": "user", "content": "ECHO: a@b.example"}]}
            with self.serve() as server:
                for _ in range(12):  # also once the breaker is open
                    answer = server.post(CHAT, body)
                    self.assertEqual(answer.status, 200, answer.text)
                    self.assertIn("backend=cloud", answer.headers["X-Hadal-Route"])
                    self.assertEqual(said(answer), "ECHO: a@b.example")
                    kept = server.post(CHAT, {**body, "user": "11010519491231002X"})
                    self.assertEqual((kept.status, kept.error["code"]), (503, "no_trusted_backend"))
                    self.assertIn("Retry-After", kept.headers)
                before = cloud.requests
                refused = server.post(CHAT, body, {"X-Class": "Top"})
                self.assertEqual((refused.status, refused.error["code"]), (403, "no_route"))
                self.assertGreaterEqual(server.post(CHAT, body, {"X-Class": "house"}).status, 500)
                self.assertEqual(cloud.requests, before)
            seen = plain(bytes(cloud.got))
            self.assertNotIn("a@b.example", seen)
            self.assertNotIn("11010519491231002x", seen)

    def test_a_budget_is_not_exceeded_and_outlives_the_process(self):
        with Cloud() as cloud:
            self.write(keys=", keys_file: keys.txt", text=f"""
store: {{path: hadal.db}}
backends:
  - name: cloud
    url: http://127.0.0.1:{cloud.port}/v1
    models: {{m: up}}
    cost: {{prices: [{{output: 1000000}}], budget_per_month: 21, answer_max: 4}}
""")
            with open(os.path.join(self.folder, "keys.txt"), "w") as file:
                file.write("k\n")
            key = {"Authorization": "Bearer k"}
            body = {"model": "m", "messages": [{"role": "user", "content": "ECHO: x"}]}
            with self.serve() as server:
                answers, threads = [], []
                for _ in range(30):  # an answer costs 2, and could cost 4
                    thread = threading.Thread(
                        target=lambda: answers.append(server.post(CHAT, body, key)))
                    thread.start()
                    threads.append(thread)
                for thread in threads:
                    thread.join()
                served = [one for one in answers if one.status == 200]
                self.assertEqual(len(answers), 30)
                self.assertEqual(cloud.requests, len(served))
                self.assertLessEqual(2 * len(served), 21)
                while (answer := server.post(CHAT, body, key)).status == 200:
                    pass
                self.assertEqual((answer.status, answer.error["code"]), (429, "budget_exhausted"))
                self.assertGreater(int(answer.headers["Retry-After"]), 0)
                # 18 spent: another could cost 4.
                self.assertEqual(cloud.requests, 9)
                self.assertIn(b'"max_tokens":4', bytes(cloud.got))
                server.process.send_signal(signal.SIGKILL)
                server.wait_exit()
            with self.serve() as server:
                self.assertEqual(server.post(CHAT, body, key).status, 429)
            self.assertEqual(cloud.requests, 9)

    def test_the_example_of_the_documentation_is_good(self):
        with open(os.path.join(ROOT, "docs", "hybrid.md")) as page:
            example = re.search(r"```yaml\n(.*?)```", page.read(), re.S)[1]
        with open(self.config, "w") as file:
            file.write(example)
        with open(os.path.join(self.folder, "keys.txt"), "w") as file:
            file.write("k\n")
        checked = subprocess.run(
            [BINARY, "serve", "--config", self.config, "--check"], timeout=60, text=True,
            capture_output=True, env={**os.environ, "DEEPSEEK_API_KEY": "x"})
        self.assertEqual(checked.returncode, 0, checked.stderr)


if __name__ == "__main__":
    unittest.main()
