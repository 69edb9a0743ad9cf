"""A gateway under load is killed with -9 again and again; after each restart nothing that was
acknowledged is missing. `kills_test.py BINARY [--kills N] [--seed N]`; dev/kills is a hundred of them.

What must hold after every restart:
  keys     one whose making was acknowledged opens, one whose revocation was does not
  usage    at least what complete answers say they used; at most that, and the estimates of requests that
           nobody knows the end of
  limits   what a tenant was given in all, before and after, stays within its day's tokens
  cache    an answer that was given once is given again, the same, without the model
  audit    `hadal audit verify` finds the record whole
  rollout  it runs or rests as the last command that was acknowledged says
  files    SQLite finds nothing wrong with them
and at the end:
  batches  each that was accepted has ended, with one result for each of its lines
"""

import argparse
import datetime
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from hadal_server import OPERATOR_KEY, AdminServer, ConfigCase, wait_for

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("binary", nargs="?", default="build/release/hadal")
OPTIONS.add_argument("--kills", type=int, default=8)
OPTIONS.add_argument("--seed", type=int, default=random.randrange(1 << 30))
CHAT = "/v1/chat/completions"
PROMPT_MAX = 100  # tokens, more than any prompt here has
DAY_LIMIT = 20_000
CONFIG = f"""
server: {{port: 0}}
backends:
  - {{name: here, model: embedded, names: [tiny, old, new], engine: {{threads: 1, max_sequences: 4}}}}
store: {{path: hadal.db}}
admin: {{port: 0, key_env: HADAL_TEST_ADMIN_KEY}}
cache: {{enabled: true, disk: answers.db}}
audit: {{path: audit}}
batches: {{dir: batches, load: 100, at_once: 2}}
rollouts:
  next: {{model: old, baseline: {{model: old}}, candidate: {{model: new}}, window: 24h}}
prices: {{tiny: {{input_hit: 1, input_miss: 10, output: 100}}}}
tenants:
  free: {{}}
  jobs: {{}}
  bound: {{limits: {{tokens_per_day: {DAY_LIMIT}}}}}
  narrow: {{limits: {{concurrent: 2, requests_per_second: 1000}}}}
"""


class Gateway(AdminServer):
    def __init__(self, config):
        super().__init__(OPTIONS.binary, config, {"HADAL_TEST_ADMIN_KEY": OPERATOR_KEY})


class Tally:
    """What clients know, of all lives of the gateway."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asked = []    # [tenant, most it can cost, what it did cost or None, when that was known]
        self.answers = {}  # question -> [what was said, whether the cache was told of it]
        self.keys = {}     # id -> "active", "revoked" or "unknown"
        self.phases = {"running"}  # what a rollout's may be
        self.faults = []
        self.hits = self.refused = 0

    def begin(self, tenant, most):
        entry = [tenant, most, None, 0.0]
        with self.lock:
            self.asked.append(entry)
        return entry

    def end(self, entry, cost):
        with self.lock:
            entry[2], entry[3] = cost, time.monotonic()

    def bounds(self, tenant, killed):
        """The least and the most that the store may say."""
        least = most = 0
        for of, estimate, cost, when in self.asked:
            if of != tenant:
                continue
            least += cost or 0
            late = cost is None or any(when > at - 2 and when <= at + 1 for at in killed)
            most += estimate if late else cost
        return least, most


class Load:
    """Clients that ask one gateway after another."""

    def __init__(self, tally, seed):
        self.tally, self.server, self.over = tally, None, False
        self.keys = {}
        self.threads = [threading.Thread(target=self.run, args=(self.ask, seed + i), daemon=True)
                        for i in range(5)]
        self.threads += [threading.Thread(target=self.run, args=(step, seed), daemon=True)
                         for step in (self.change_keys, self.change_rollout)]

    def run(self, step, seed):
        rng = random.Random(seed)
        while not self.over:
            server = self.server
            if server is None:
                time.sleep(0.005)
                continue
            try:
                step(server, rng)
            except (OSError, ValueError, KeyError, IndexError) as fault:
                if self.server is server and server.process.poll() is None and not server.dying:
                    self.tally.faults.append(repr(fault))
                while self.server is server and not self.over:
                    time.sleep(0.005)  # it is gone
            except Exception as fault:  # http.client's, of a broken answer
                if not server.dying:
                    self.tally.faults.append(repr(fault))

    def ask(self, server, rng):
        tenant = rng.choice(["free", "free", "bound", "narrow"])
        number, tokens = rng.randrange(60), rng.choice([4, 16, 40])
        body = {"model": "tiny", "temperature": 0, "max_tokens": tokens, "ignore_eos": True,
                "messages": [{"role": "user", "content": f"What is {number} + {tokens}?"}]}
        headers = {"Authorization": f"Bearer {self.keys[tenant]}"}
        if rng.random() < 0.5:
            headers["X-Hadal-Cache"] = "off"
        entry = self.tally.begin(tenant, PROMPT_MAX + tokens)
        streamed = rng.random() < 0.3
        if streamed:
            stream = server.stream(CHAT, {**body, "stream_options": {"include_usage": True}}, headers)
            status, cache = stream.status, stream.response.headers.get("X-Hadal-Cache")
            text, usage = "", None
            if status == 200:
                for event in stream.events():
                    usage = event.get("usage") or usage
                    text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
                if not stream.done:
                    raise OSError("broke off")
            stream.close()
        else:
            answer = server.post(CHAT, body, headers)
            status, cache = answer.status, answer.headers.get("X-Hadal-Cache")
            if status == 200:
                text = answer.json["choices"][0]["message"].get("content") or ""
                usage = answer.json["usage"]
        if status != 200:
            if status not in (429, 413):
                self.tally.faults.append(f"status {status}")
            self.tally.refused += 1
            return self.tally.end(entry, 0)
        self.tally.end(entry, 0 if cache == "hit" else usage["total_tokens"])
        self.tally.hits += cache == "hit"
        with self.tally.lock:
            known = self.tally.answers.setdefault((tenant, number, tokens), [text, False])
            known[1] |= cache != "bypass" and not streamed
            if known[0] != text:
                self.tally.faults.append(f"{number} + {tokens}: {text!r} after {known[0]!r}")

    def change_keys(self, server, rng):
        time.sleep(0.01)
        active = [key for key, state in self.tally.keys.items() if state == "active"]
        if len(active) > 5:
            key = rng.choice(active)
            self.tally.keys[key] = "unknown"
            if server.admin("DELETE", f"/admin/v1/keys/{key}").status == 200:
                self.tally.keys[key] = "revoked"
        made = server.admin("POST", "/admin/v1/keys", {"tenant": "free", "name": "made"})
        if made.status == 201:
            self.tally.keys[made.json["id"]] = "active"

    def change_rollout(self, server, rng):
        time.sleep(0.02)
        command, phase = rng.choice([("pause", "paused"), ("resume", "running")])
        if self.tally.phases == {phase}:
            return
        self.tally.phases = {"paused", "running"}
        if server.admin("POST", f"/admin/v1/rollouts/next/{command}").status == 200:
            self.tally.phases = {phase}


def submit(server, key, lines):
    """A batch of so many lines; its id, None where nobody knows."""
    text = "\n".join(json.dumps({"custom_id": f"line {i}", "method": "POST", "url": CHAT, "body": {
        "model": "tiny", "temperature": 0, "max_tokens": 4,
        "messages": [{"role": "user", "content": f"What is {i} + {i}?"}]}}) for i in range(lines))
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    form = part.format("purpose", "batch") + part.format('file"; filename="in', text) + "--x--\r\n"
    key = {"Authorization": f"Bearer {key}"}
    file = server.request("POST", "/v1/files", form, {"Content-Type": "multipart/form-data; boundary=x", **key})
    made = server.post("/v1/batches", {"input_file_id": file.json["id"], "endpoint": CHAT,
                                       "completion_window": "24h"}, key)
    return made.json["id"]


class Kills(ConfigCase):
    def setUp(self):
        super().setUp()
        with open(self.config, "w") as file:
            file.write(CONFIG)

    def used(self, tenant):
        """Tokens and estimates in the store."""
        with sqlite3.connect(os.path.join(self.folder, "hadal.db")) as database:
            row = database.execute("SELECT coalesce(sum(input_hit + input_miss + output + held_tokens), 0) "
                                   "FROM api_usage WHERE tenant = ?", (tenant,)).fetchone()
        database.close()
        return row[0]

    def check_files(self):
        for name in ("hadal.db", "answers.db"):
            database = sqlite3.connect(os.path.join(self.folder, name))
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",), name)
            database.close()
        verified = subprocess.run([OPTIONS.binary, "audit", "verify", os.path.join(self.folder, "audit")],
                                  capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

    def check(self, server, load, killed, day):
        tally = load.tally
        self.assertEqual(tally.faults, [])
        self.check_files()
        for tenant in ("free", "bound", "narrow"):
            least, most = tally.bounds(tenant, killed)
            used = self.used(tenant)
            self.assertGreaterEqual(used, least, f"{tenant}: usage was forgotten")
            self.assertLessEqual(used, most, f"{tenant}: more than was asked for")
        self.assertLessEqual(tally.bounds("bound", killed)[0], DAY_LIMIT)
        if datetime.date.today() == day:
            self.assertLessEqual(self.used("bound"), DAY_LIMIT)
        states = {one["id"]: one["state"] for one in server.admin("GET", "/admin/v1/keys").json["data"]}
        for key, state in tally.keys.items():
            if state == "unknown":
                tally.keys[key] = states.get(key, "gone")
            elif state != "gone":
                self.assertEqual(states.get(key), state, f"key {key}")
        phase = server.admin("GET", "/admin/v1/rollouts/next").json["phase"]
        self.assertIn(phase, tally.phases)
        tally.phases = {phase}
        kept = [(key, text) for key, (text, is_kept) in tally.answers.items() if is_kept]
        for (tenant, number, tokens), text in random.sample(kept, min(5, len(kept))):
            answer = server.post(CHAT, {"model": "tiny", "temperature": 0, "max_tokens": tokens,
                                        "ignore_eos": True, "messages": [
                                            {"role": "user", "content": f"What is {number} + {tokens}?"}]},
                                 {"Authorization": f"Bearer {load.keys[tenant]}"})
            self.assertEqual(answer.status, 200)
            if datetime.date.today() == day:  # answers are one day's, as prompts may hold the date
                self.assertEqual(answer.headers["X-Hadal-Cache"], "hit")
            self.assertEqual(answer.json["choices"][0]["message"].get("content") or "", text)

    def check_batches(self, server, key, batches):
        key = {"Authorization": f"Bearer {key}"}
        for batch, lines in batches.items():
            wait_for(lambda: server.get(f"/v1/batches/{batch}", key).json["status"] == "completed",
                     f"{batch} does not end", 300)
            output = server.get(f"/v1/batches/{batch}", key).json["output_file_id"]
            results = server.get(f"/v1/files/{output}/content", key).text.splitlines()
            self.assertEqual([json.loads(one)["custom_id"] for one in results],
                             [f"line {i}" for i in range(lines)], batch)

    def test_nothing_acknowledged_is_lost(self):
        rng = random.Random(OPTIONS.seed)
        tally, day, killed, batches = Tally(), datetime.date.today(), [], {}
        load = Load(tally, OPTIONS.seed)
        began = time.monotonic()
        print("seed", OPTIONS.seed, flush=True)
        try:
            for life in range(OPTIONS.kills + 1):
                with Gateway(self.config) as server:
                    server.dying = False
                    if life == 0:
                        for tenant in ("free", "bound", "narrow", "jobs"):
                            made = server.admin("POST", "/admin/v1/keys", {"tenant": tenant})
                            load.keys[tenant] = made.json["key"]
                        for thread in load.threads:
                            thread.start()
                    else:
                        self.check(server, load, killed, day)
                    if life == OPTIONS.kills:
                        self.check_batches(server, load.keys["jobs"], batches)
                        break
                    if rng.random() < 0.3 or life == 0:
                        lines = rng.randrange(1, 20)
                        batches[submit(server, load.keys["jobs"], lines)] = lines
                    load.server = server
                    time.sleep(rng.choice([0.02, 0.1, 0.3, 0.7]) * (0.5 + rng.random()))
                    server.dying = True
                    server.process.kill()
                    server.process.wait()
                    killed.append(time.monotonic())
                    load.server = None
                    time.sleep(0.1)  # clients learn of it
        finally:
            load.over, load.server = True, None
        for thread in load.threads:
            thread.join(30)
        least, most = tally.bounds("free", killed)
        print(json.dumps({
            "kills": OPTIONS.kills, "seconds": round(time.monotonic() - began), "requests": len(tally.asked),
            "answered": sum(entry[2] is not None for entry in tally.asked), "cache hits": tally.hits,
            "refused by limits": tally.refused, "keys": len(tally.keys), "batches": len(batches), "lines": sum(batches.values()),
            "tokens acknowledged": least, "in the store": self.used("free"), "at most": most}))


if __name__ == "__main__":
    OPTIONS = OPTIONS.parse_args()
    unittest.main(argv=sys.argv[:1], warnings="ignore")  # of sockets that a kill leaves open
