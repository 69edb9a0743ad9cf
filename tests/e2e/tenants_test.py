"""Keys, tenants and limits, over real sockets: one gateway, and two that share a store."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from hadal_server import AdminServer, ConfigCase, metric_of, wait_for
from store_servers import PostgresStore, RedisStore

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"

BASE = """
server: {port: 0}
backends:
  - {name: here, model: embedded, names: [tiny], engine: {threads: 1, max_sequences: 4}}
aliases: {small: tiny}
store: {path: hadal.db%s}
admin: {port: 0, key_env: HADAL_TEST_ADMIN_KEY}
prices:
  tiny: {input_hit: 1, input_miss: 10, output: 100}
tenants:
"""
ADMIN = {"HADAL_TEST_ADMIN_KEY": "operator-key"}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def ask(**fields):
    return {"model": "tiny", "messages": [{"role": "user", "content": "What is 17 + 25?"}],
            "temperature": 0, "max_tokens": 8, "ignore_eos": True, **fields}


class Gateway(AdminServer):
    def __init__(self, config, **args):
        super().__init__(BINARY, config, ADMIN, **args)


class Fixture(ConfigCase):
    def write(self, tenants, store="", more="", slow=False):
        """`slow`: an answer takes as long as somebody needs who has to come while it is under way."""
        base = BASE % store
        if slow:
            base = base.replace("threads: 1", "threads: 1, cpu_impl: ref")
        with open(self.config, "w") as file:
            file.write(base + tenants + more)

    def keys(self, *args):
        return subprocess.run([BINARY, "keys", *args, "--config", self.config], timeout=60,
                              capture_output=True, text=True)

    def make_key(self, *args):
        made = self.keys("create", *args)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()


class Tenants(Fixture):
    def test_keys_by_command_line_while_serving(self):
        self.write("  a: {}\n  b: {models: [small]}\n")
        with Gateway(self.config) as server:
            self.assertEqual(server.post(CHAT, ask()).status, 401)
            key = self.make_key("--tenant", "a", "--name", "ci")
            self.assertRegex(key, r"^hk-[0-9a-f]{12}-[0-9a-f]{64}$")
            self.assertEqual(server.post(CHAT, ask(), bearer(key)).status, 200)
            self.assertEqual(server.post(CHAT, ask(), {"x-api-key": key}).status, 200)
            self.assertEqual(server.post(CHAT, ask(), bearer(key[:-1] + "x")).status, 401)
            denied = server.get("/metrics", bearer(key))
            self.assertEqual(denied.status, 403)
            narrow = self.make_key("--tenant", "b")
            refused = server.post(CHAT, ask(), bearer(narrow))
            self.assertEqual((refused.status, refused.error["code"]), (403, "model_not_allowed"))
            self.assertEqual(server.post(CHAT, ask(model="small"), bearer(narrow)).status, 200)
            self.assertEqual([card["id"] for card in
                              server.get("/v1/models", bearer(narrow)).json["data"]], ["small"])
            messages = server.post("/v1/messages", {"model": "tiny", "max_tokens": 8, "messages":
                                   [{"role": "user", "content": "Hi"}]}, bearer(narrow))
            self.assertEqual(messages.json["error"]["type"], "permission_error")
            listed = json.loads(self.keys("list", "--json").stdout)["data"]
            self.assertEqual([one["tenant"] for one in listed], ["a", "b"])
            self.assertNotIn(key[16:], json.dumps(listed))
            self.assertEqual(self.keys("revoke", listed[0]["id"]).returncode, 0)
            gone = server.post(CHAT, ask(), bearer(key))
            self.assertEqual(gone.status, 401)
            self.assertIn("revoked", gone.error["message"])
            short = self.make_key("--tenant", "a", "--expires", "1s")
            time.sleep(1.1)
            self.assertIn("expired", server.post(CHAT, ask(), bearer(short)).error["message"])
        self.assertEqual(self.keys("create", "--tenant", "nobody").returncode, 2)
        self.assertEqual(self.keys("create", "--tenant", "a", "--limit", "tokens=1").returncode, 2)
        self.assertEqual(self.keys("revoke", "none").returncode, 1)

    def test_admin_has_its_own_port_and_key(self):
        self.write("  a: {}\n")
        with Gateway(self.config) as server:
            self.assertEqual(server.get("/admin/v1/keys", bearer("operator-key")).status, 401)
            self.assertEqual(server.admin("GET", "/admin/v1/keys", key="wrong").status, 401)
            made = server.admin("POST", "/admin/v1/keys",
                                {"tenant": "a", "name": "x", "limits": {"tokens_per_day": 10}})
            self.assertEqual(made.status, 201)
            key = made.json["key"]
            self.assertEqual(server.admin("GET", "/admin/v1/keys", key=key).status, 401)
            for bad in ({"tenant": "b"}, {"tenant": "a", "limit": 1}, {}, {"tenant": "a", "models": 1},
                        {"tenant": "a", "limits": {"tokens_per_day": -1}}):
                self.assertEqual(server.admin("POST", "/admin/v1/keys", bad).status, 400, bad)
            self.assertEqual(server.post(CHAT, ask(max_tokens=4000), bearer(key)).status, 413)
            listed = server.admin("GET", "/admin/v1/keys").json["data"]
            self.assertEqual([(one["id"], one["state"]) for one in listed],
                             [(made.json["id"], "active")])
            ended = server.admin("DELETE", "/admin/v1/keys/" + made.json["id"])
            self.assertEqual(ended.json["state"], "revoked")
            self.assertEqual(server.post(CHAT, ask(), bearer(key)).status, 401)
            self.assertEqual(server.admin("DELETE", "/admin/v1/keys/none").status, 404)
            self.assertIn("hadal_http_requests_total", server.admin("GET", "/metrics").text)
            self.write("  a: {}\n  b: {}\n")
            self.assertEqual(server.admin("POST", "/admin/v1/reload").status, 202)
            until = time.monotonic() + 20
            while server.admin("POST", "/admin/v1/keys", {"tenant": "b"}).status != 201:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)

    def test_limits_are_named_and_survive_kill(self):
        self.write("  a: {limits: {tokens_per_day: 400}, soft_limits: {requests_per_second: 0.001}}\n"
                   "  b: {limits: {requests_per_second: 0.001}}\n")
        key, other = self.make_key("--tenant", "a"), self.make_key("--tenant", "b")
        with Gateway(self.config) as server:
            used = 0
            for number in range(100):
                answer = server.post(CHAT, ask(max_tokens=50), bearer(key))
                if answer.status != 200:
                    break
                self.assertEqual("X-Hadal-Soft-Limit" in answer.headers, number > 0)
                used += answer.json["usage"]["total_tokens"]
            self.assertEqual(answer.status, 429)
            self.assertEqual(answer.headers["X-Hadal-Limit"], "tokens_per_day")
            self.assertEqual(answer.error["code"], "tokens_per_day")
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.assertLessEqual(used, 400)
            self.assertGreater(used, 400 - 130)
            self.assertEqual(server.post(CHAT, ask(), bearer(other)).status, 200)
            stream = server.post(CHAT, ask(stream=True), bearer(other))
            self.assertEqual(stream.headers["X-Hadal-Limit"], "requests_per_second")
            metrics = server.admin("GET", "/metrics").text
            self.assertIn('hadal_limit_refusals_total{tenant="a",limit="tokens_per_day"} 1', metrics)
            self.assertIn(f'hadal_tenant_cost_total{{tenant="a"}}', metrics)
            server.process.send_signal(signal.SIGKILL)
            server.wait_exit()
        with Gateway(self.config) as server:
            self.assertEqual(server.post(CHAT, ask(max_tokens=50), bearer(key)).status, 429)

    def test_an_answer_given_again_counts_as_a_request_and_takes_no_tokens(self):
        more = "cache: {enabled: true}\n"
        self.write("  a: {limits: {tokens_per_day: 60}}\n"
                   "  b: {limits: {requests_per_second: 0.001, burst: 3}, soft_limits: {concurrent: 1}}\n",
                   more=more)
        key, other = self.make_key("--tenant", "a"), self.make_key("--tenant", "b")
        with Gateway(self.config) as server:
            first = server.post(CHAT, ask(), bearer(key))
            self.assertEqual((first.status, first.headers["X-Hadal-Cache"]), (200, "miss"))
            for _ in range(10):  # far beyond the day's tokens, had each cost some
                again = server.post(CHAT, ask(), bearer(key))
                self.assertEqual((again.status, again.headers["X-Hadal-Cache"]), (200, "hit"))
                self.assertEqual(again.json["choices"], first.json["choices"])
            metrics = server.admin("GET", "/metrics").text
            self.assertIn('hadal_tenant_requests_total{tenant="a",outcome="admitted"} 11', metrics)
            used = first.json["usage"]
            self.assertIn('hadal_tenant_tokens_total{tenant="a",kind="output"} '
                          f'{used["completion_tokens"]}\n', metrics)
            statuses = [server.post(CHAT, ask(), bearer(other)) for _ in range(5)]
            self.assertEqual([one.status for one in statuses], [200] * 3 + [429] * 2)
            self.assertEqual(statuses[3].headers["X-Hadal-Limit"], "requests_per_second")
            # What a key may no longer ask it is not given again.
            self.write("  a: {models: [small]}\n  b: {}\n", more=more)
            self.assertEqual(server.admin("POST", "/admin/v1/reload").status, 202)
            late = []  # until the new list counts
            wait_for(lambda: late.append(server.post(CHAT, ask(), bearer(key)).status) or
                     late[-1] == 403, late)
            server.terminate()
            server.wait_exit()
        rows = sqlite3.connect(os.path.join(self.folder, "hadal.db")).execute(
            "SELECT tenant, sum(requests), sum(held_tokens), sum(input_hit + input_miss + output) "
            "FROM api_usage GROUP BY tenant ORDER BY tenant").fetchall()
        self.assertEqual(rows[0], ("a", 11 + late.count(200), 0, used["total_tokens"]))
        self.assertEqual(rows[1][:3], ("b", 3, 0))

    def test_a_client_that_leaves_pays_for_what_was_made(self):
        self.write("  a: {limits: {concurrent: 1}}\n", slow=True)
        key = self.make_key("--tenant", "a")
        with Gateway(self.config) as server:
            stream = server.stream(CHAT, ask(max_tokens=400), bearer(key))
            self.assertEqual(stream.status, 200)
            self.assertEqual(server.post(CHAT, ask(), bearer(key)).headers["X-Hadal-Limit"],
                             "concurrent")
            stream.socket.close()
            stream.response.close()
            until = time.monotonic() + 20
            while server.post(CHAT, ask(), bearer(key)).status != 200:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.02)

    def test_tenants_share_the_model_by_weight(self):
        self.write("  greedy: {}\n  modest: {weight: 1}\n", more="queue: {in_flight: 1}\n",
                   slow=True)
        greedy, modest = self.make_key("--tenant", "greedy"), self.make_key("--tenant", "modest")
        with Gateway(self.config) as server:
            order, lock = [], threading.Lock()

            def run(name, key):
                answer = server.post(CHAT, ask(max_tokens=60), bearer(key))
                with lock:
                    order.append((name, answer.status))

            threads = [threading.Thread(target=run, args=("greedy", greedy)) for _ in range(12)]
            for thread in threads:
                thread.start()
            until = time.monotonic() + 20
            while 'hadal_tenant_waiting{tenant="greedy"}' not in server.admin("GET", "/metrics").text:
                self.assertLess(time.monotonic(), until)
            late = threading.Thread(target=run, args=("modest", modest))
            late.start()
            for thread in threads + [late]:
                thread.join()
            self.assertEqual({status for _, status in order}, {200})
            self.assertLess(order.index(("modest", 200)), 11, order)


class Shared:
    """Two gateways, one store."""

    def setUp(self):
        super().setUp()
        if not self.kind.is_installed():
            self.skipTest(f"{self.kind.__name__}: its server is not installed")
        self.shared = self.kind(self.folder)
        self.shared.start()
        self.addCleanup(self.shared.stop)

    def store(self, more=""):
        return f", {self.shared.yaml}{more}"

    def pound(self, servers, key, limit):
        """The tokens that several clients get in all, until everybody is refused."""
        used, lock, refusals = [], threading.Lock(), []

        def run(server):
            for _ in range(60):
                answer = server.post(CHAT, ask(max_tokens=8), bearer(key))
                with lock:
                    if answer.status != 200:
                        refusals.append((answer.status, answer.headers.get("X-Hadal-Limit")))
                        return
                    used.append(answer.json["usage"]["total_tokens"])

        threads = [threading.Thread(target=run, args=(servers[i % len(servers)],)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(refusals), {(429, limit)})
        return sum(used)

    def test_two_gateways_together_never_pass_a_limit(self):
        self.write("  a: {limits: {tokens_per_day: 600}}\n", self.store())
        key = self.make_key("--tenant", "a")
        with Gateway(self.config) as one, Gateway(self.config) as two:
            used = self.pound([one, two], key, "tokens_per_day")
        self.assertLessEqual(used, 600)
        self.assertGreater(used, 600 - 6 * 60)

    def test_a_store_that_is_gone_is_refused_or_shared_and_seen(self):
        self.write("  a: {limits: {tokens_per_day: 600}}\n", self.store())
        key = self.make_key("--tenant", "a")
        lenient = self.config.replace("hadal.yaml", "lenient.yaml")
        strict = self.config
        self.config = lenient
        self.write("  a: {limits: {tokens_per_day: 600}}\n",
                   self.store(", on_store_loss: local_share, local_share: 0.5"))
        with Gateway(strict) as one, Gateway(lenient) as two:
            self.assertEqual(one.post(CHAT, ask(), bearer(key)).status, 200)
            self.shared.stop()
            refused = one.post(CHAT, ask(), bearer(key))
            self.assertEqual(refused.status, 503)
            self.assertEqual(one.get("/health").json["limit_store"], "lost")
            self.assertIn("hadal_limit_store_up 0", one.admin("GET", "/metrics").text)
            used = self.pound([two], key, "tokens_per_day")
            self.assertLessEqual(used, 300)
            wait_for(lambda: metric_of(two.admin("GET", "/metrics"), "hadal_tenant_tokens_total") == used,
                     "a request is not settled")
            self.assertEqual(two.get("/health").json["limit_store"], "lost")
            self.shared.start()
            for server in (one, two):
                wait_for(lambda: metric_of(server.admin("GET", "/metrics"), "hadal_limit_store_up") == 1,
                         "the store is not up again")
                self.assertNotIn("limit_store", server.get("/health").text)
            # What was used without the store is known to it, and so to the other gateway.
            self.assertLessEqual(used + self.pound([one], key, "tokens_per_day"), 600)


class SharedRedis(Shared, Fixture):
    kind = RedisStore


class SharedPostgres(Shared, Fixture):
    kind = PostgresStore


if __name__ == "__main__":
    unittest.main()
