"""The audit record of a running server: what is in it, and that no kill -9 and no full disk breaks it."""

import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from hadal_server import AdminServer, ConfigCase, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
ENV = {"HADAL_TEST_ADMIN_KEY": "operator-key"}
KILLS = int(os.environ.get("HADAL_KILLS", "20"))
BASE = """
server: {port: 0, trusted_proxies: [127.0.0.0/8]}
backends:
  - {name: here, model: embedded, names: [tiny], engine: {threads: 1, max_sequences: 8}}
aliases: {small: tiny}
store: {path: hadal.db}
admin: {port: 0, key_env: HADAL_TEST_ADMIN_KEY}
prices: {tiny: {input_hit: 1, input_miss: 10, output: 100}}
tenants:
  open: {audit_content: full}
  plain: {limits: {requests_per_second: 0.001}}
  secret: {audit_content: none}
  narrow: {models: [small]}
"""


def bearer(key, **more):
    return {"Authorization": f"Bearer {key}", **more}


def ask(text="What is 17 + 25?", **fields):
    return {"model": "tiny", "messages": [{"role": "user", "content": text}],
            "temperature": 0, "max_tokens": 8, "ignore_eos": True, **fields}


class Service(AdminServer):
    def __init__(self, config, **args):
        super().__init__(BINARY, config, ENV, **args)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.wait_exit()

    def stop(self):
        self.terminate()
        assert self.wait_exit() == 0


class Fixture(ConfigCase):
    def setUp(self):
        super().setUp()
        self.log = os.path.join(self.folder, "audit")

    def write(self, audit="audit: {path: audit}"):
        with open(self.config, "w") as file:
            file.write(BASE + audit + "\n")

    def run_hadal(self, *args):
        return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=120,
                              env={**os.environ, **ENV})

    def key(self, tenant):
        made = self.run_hadal("keys", "create", "--tenant", tenant, "--config", self.config)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def verify(self, *args):
        return self.run_hadal("audit", "verify", self.log, *args)

    def assert_whole(self, *args):
        done = self.verify(*args)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def records(self, *args):
        done = self.run_hadal("audit", "show", self.log, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


class Content(Fixture):
    def test_every_decision_is_there(self):
        self.write()
        keys = {name: self.key(name) for name in ("open", "plain", "secret", "narrow")}
        with Service(self.config) as server:
            answer = server.post(CHAT, ask(), bearer(keys["open"], **{"X-Forwarded-For": "192.0.2.9"}))
            self.assertEqual(answer.status, 200)
            stream = server.stream(CHAT, ask("Stream this", max_tokens=4), bearer(keys["open"]))
            self.assertTrue(list(stream.events()))
            self.assertEqual(server.post(CHAT, ask("confidential"), bearer(keys["secret"])).status, 200)
            self.assertEqual(server.post(CHAT, ask("hash me"), bearer(keys["plain"])).status, 200)
            self.assertEqual(server.post(CHAT, ask(), bearer(keys["plain"])).status, 429)
            self.assertEqual(server.post(CHAT, ask(), bearer(keys["narrow"])).status, 403)
            self.assertEqual(server.post(CHAT, ask(), bearer("wrong")).status, 401)
            self.assertEqual(server.post(CHAT, "{", bearer(keys["open"])).status, 400)
            self.assertEqual(server.get("/v1/models", bearer(keys["open"])).status, 200)
            made = server.admin("POST", "/admin/v1/keys", {"tenant": "open", "name": "ci"})
            self.assertEqual(made.status, 201)
            self.assertEqual(server.admin("DELETE", "/admin/v1/keys/" + made.json["id"]).status, 200)
            self.assertEqual(server.admin("DELETE", "/admin/v1/keys/x", key="wrong").status, 401)
            self.assertEqual(server.admin("POST", "/admin/v1/reload").status, 202)
            metrics = server.admin("GET", "/metrics").text
            for line in ("hadal_audit_refused_keys_total 1", "hadal_audit_up 1"):
                self.assertIn(line, metrics.splitlines())
            server.stop()
        said = self.assert_whole()
        self.assertNotIn("no end", said)
        records = self.records()
        kinds = [record["kind"] for record in records]
        self.assertEqual(kinds[:2], ["segment", "start"])
        self.assertEqual(kinds[-1], "stop")
        self.assertNotIn("refused", kinds)
        begins = {record["request"]: record for record in records if record["kind"] == "begin"}
        ends = [record for record in records if record["kind"] == "end"]
        self.assertEqual(len(begins), 7)
        self.assertEqual([end["status"] for end in ends], [200, 200, 200, 200, 429, 403, 400])
        first, begin = ends[0], begins[ends[0]["request"]]
        self.assertEqual((begin["tenant"], begin["peer"], begin["path"], begin["asked"]),
                         ("open", "192.0.2.9", CHAT, "tiny"))
        self.assertRegex(begin["key"], "^[0-9a-f]{12}$")
        self.assertIn("What is 17 + 25?", begin["request_text"])
        usage = answer.json["usage"]
        self.assertEqual(first["input_hit"] + first["input_miss"], usage["prompt_tokens"])
        self.assertEqual(first["output"], usage["completion_tokens"])
        self.assertAlmostEqual(first["cost"], (first["input_hit"] + 10 * first["input_miss"] +
                                               100 * first["output"]) / 1e6)
        self.assertEqual((first["model"], first["backend"], first["whole"]), ("tiny", "local", True))
        self.assertIn(answer.json["choices"][0]["message"]["content"].strip()[:5] or "choices",
                      first["answer_text"])
        self.assertIn("data: [DONE]", ends[1]["answer_text"])
        hidden = begins[ends[2]["request"]]
        self.assertFalse([name for name in hidden if name.startswith("request_")])
        self.assertFalse([name for name in ends[2] if name.startswith("answer")])
        hashed = begins[ends[3]["request"]]
        self.assertEqual(len(hashed["request_sha256"]), 64)
        self.assertNotIn("request_text", hashed)
        self.assertNotIn("confidential", json.dumps(records))
        self.assertNotIn("hash me", json.dumps(records))
        self.assertEqual(ends[4]["limit"], "requests_per_second")
        self.assertEqual(len({b["parameters_sha256"] for b in begins.values() if
                              b.get("asked") == "tiny" and not b.get("stream")}), 1)
        admin = [record for record in records if record["kind"] == "admin"]
        self.assertEqual([(one["method"], one["path"].split("/")[3]) for one in admin],
                         [("POST", "keys"), ("DELETE", "keys"), ("POST", "reload")])
        done = [record for record in records if record["kind"] == "admin_end"]
        self.assertEqual([(one["status"], one.get("id")) for one in done[:2]],
                         [(201, made.json["id"]), (200, made.json["id"])])
        for key in [*keys.values(), made.json["key"]]:
            self.assertNotIn(key[16:], json.dumps(records))
        self.assertEqual({r["tenant"] for r in self.records("--tenant", "open", "--kind", "begin")},
                         {"open"})
        self.assertEqual(self.records("--since", "2100-01-01T00:00:00Z"), [])

    def test_keys_that_may_not_ask_one_by_one(self):
        self.write("audit: {path: audit, refused_keys: record, content: none}")
        with Service(self.config) as server:
            self.assertEqual(server.post(CHAT, ask(), bearer("wrong")).status, 401)
            server.stop()
        refused = self.records("--kind", "refused")
        self.assertEqual([(one["status"], one["path"]) for one in refused], [(401, CHAT)])
        self.assertIn("key", refused[0]["why"])


class Damage(Fixture):
    def test_verify_says_where(self):
        self.write()
        key = self.key("open")
        with Service(self.config) as server:
            for number in range(3):
                server.post(CHAT, ask(f"number {number}"), bearer(key))
            server.stop()
        head = json.loads(self.verify("--json").stdout)["head"]
        self.assert_whole("--head", head)
        self.assertEqual(self.verify("--head", "0" * 64).returncode, 1)
        self.assertEqual(self.run_hadal("audit", "verify", "--config", self.config).returncode, 0)
        self.assertEqual(self.run_hadal("audit", "verify").returncode, 2)
        self.assertEqual(self.run_hadal("audit", "verify", self.folder + "/none").returncode, 1)
        [path] = glob.glob(self.log + "/*.jsonl")
        with open(path) as file:
            good = file.read()
        lines = good.splitlines(keepends=True)
        cases = [(good.replace("number 1", "number 9", 1), "changed"),
                 ("".join(lines[:3] + lines[4:]), "1 removed"),
                 ("".join(lines[:3] + [lines[4], lines[3]] + lines[5:]), "removed"),
                 ("".join(lines[:4] + lines[3:]), "there twice"),
                 ("".join(lines[:-1]), "missing at the end"),
                 (good[:len(good) // 2], "missing at the end"),
                 (good[:200] + good[300:], "changed")]
        for damaged, expected in cases:
            with open(path, "w") as file:
                file.write(damaged)
            bad = self.verify()
            self.assertEqual(bad.returncode, 1, expected)
            self.assertIn(expected, bad.stderr)
        with open(path, "w") as file:
            file.write(cases[0][0])
        refused = subprocess.run([BINARY, "serve", "--config", self.config], capture_output=True,
                                 text=True, timeout=60, env={**os.environ, **ENV})
        self.assertEqual(refused.returncode, 2)
        self.assertIn("hadal audit verify", refused.stderr)

    def test_one_writer(self):
        self.write()
        with Service(self.config):
            second = subprocess.run([BINARY, "serve", "--config", self.config], timeout=60,
                                    capture_output=True, text=True, env={**os.environ, **ENV})
            self.assertNotEqual(second.returncode, 0)
            self.assertIn("another process writes", second.stderr)

    def test_kill_at_random_moments(self):
        self.write("audit: {path: audit, segment: 64K, keep_bytes: 100M}")
        key = self.key("open")
        seed = random.randrange(1 << 30)
        draw = random.Random(seed)
        answered, lock = [], threading.Lock()
        for life in range(KILLS):
            with Service(self.config) as server:
                stop = threading.Event()

                def client(name):
                    number = 0
                    while not stop.is_set():
                        number += 1
                        text = f"life {life} client {name} number {number}"
                        try:
                            if server.post(CHAT, ask(text, max_tokens=2), bearer(key)).status == 200:
                                with lock:
                                    answered.append(text)
                        except (OSError, ValueError, EOFError):
                            pass
                        except Exception:  # an answer cut anywhere
                            if server.process.poll() is None:
                                raise
                clients = [threading.Thread(target=client, args=(name,)) for name in range(4)]
                for one in clients:
                    one.start()
                wanted = len(answered) + draw.randrange(1, 12)
                wait_for(lambda: len(answered) >= wanted, f"seed {seed}: no answers")
                time.sleep(draw.random() * 0.02)
                server.kill()
                stop.set()
                for one in clients:
                    one.join()
            self.assert_whole()
        with Service(self.config) as server:
            server.stop()
        self.assert_whole()
        asked = " ".join(record["request_text"] for record in self.records("--kind", "begin"))
        self.assertGreater(len(answered), KILLS)
        for text in answered:
            self.assertIn(text, asked, f"seed {seed}")


class Disk(Fixture):
    def full_disk(self, on_loss):
        """A server whose log's folder cannot grow."""
        self.write(f"audit: {{path: audit, on_loss: {on_loss}, content_max: 8M}}")
        key = self.key("open")
        with Service(self.config) as server:
            # The limit holds for every file: the log must be the largest.
            self.assertEqual(server.post(CHAT, ask("y" * 6_000_000), bearer(key)).status, 400)
            limit = sum(os.path.getsize(path) for path in glob.glob(self.log + "/*.jsonl"))
            wait_for(lambda: server.admin("GET", "/metrics").status == 200, "")
            subprocess.run(["prlimit", "--pid", str(server.process.pid), f"--fsize={limit}:unlimited"],
                           check=True)
            yield server, key
            subprocess.run(["prlimit", "--pid", str(server.process.pid), "--fsize=unlimited:unlimited"],
                           check=True)
            wait_for(lambda: "hadal_audit_up 1" in server.admin("GET", "/metrics").text.splitlines(),
                     server.errors)
            after = server.post(CHAT, ask("after"), bearer(key))
            self.assertEqual(after.status, 200, after.text)
            server.stop()
        self.assertIn("were lost before it", self.assert_whole())
        self.assertTrue([r for r in self.records("--kind", "gap")])

    @unittest.skipUnless(shutil.which("prlimit"), "no prlimit")
    def test_refuse(self):
        for server, key in self.full_disk("refuse"):
            answer = server.post(CHAT, ask(), bearer(key))
            self.assertEqual(answer.status, 503)
            self.assertIn("audit record", answer.error["message"])
            self.assertTrue(answer.headers["Retry-After"])
            self.assertIn("hadal_audit_up 0", server.admin("GET", "/metrics").text.splitlines())

    @unittest.skipUnless(shutil.which("prlimit"), "no prlimit")
    def test_continue(self):
        for server, key in self.full_disk("continue"):
            self.assertEqual(server.post(CHAT, ask(), bearer(key)).status, 200)
            lost = [line for line in server.admin("GET", "/metrics").text.splitlines()
                    if line.startswith("hadal_audit_lost_total ")]
            self.assertGreater(float(lost[0].split()[1]), 0)


if __name__ == "__main__":
    unittest.main()
