"""Answers of the cache, forgotten by the operator."""

import os
import subprocess
import sys
import tempfile
import unittest

from hadal_server import AdminServer, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
ENV = {"HADAL_TEST_ADMIN_KEY": "operator-key"}
CONFIG = """
server: {port: 0}
backends: [{name: here, model: embedded, names: [tiny], engine: {threads: 1, max_sequences: 4}}]
aliases: {small: tiny}
store: {path: hadal.db}
admin: {port: 0, key_env: HADAL_TEST_ADMIN_KEY}
cache: {enabled: true, semantic: {mode: "on"}%s}
tenants: {a: {}, ab: {}}
"""


class CacheAdmin(unittest.TestCase):
    def run_with(self, more):
        with tempfile.TemporaryDirectory() as folder:
            self.config = os.path.join(folder, "hadal.yaml")
            with open(self.config, "w") as file:
                file.write(CONFIG % more)
            keys = {name: self.key(name) for name in ("a", "ab")}
            with AdminServer(BINARY, self.config, ENV) as self.server:
                self.check(keys)

    def key(self, tenant):
        made = subprocess.run([BINARY, "keys", "create", "--tenant", tenant, "--config", self.config],
                              capture_output=True, text=True, timeout=60, check=True)
        return made.stdout.strip()

    def ask(self, key, model="tiny"):
        body = {"model": model, "temperature": 0, "max_tokens": 4,
                "messages": [{"role": "user", "content": "How do I delete my account?"}]}
        answer = self.server.post(CHAT, body, {"Authorization": f"Bearer {key}"})
        self.assertEqual(answer.status, 200)
        return answer.headers["x-hadal-cache"]

    def forget(self, query):
        return self.server.admin("DELETE", "/admin/v1/cache" + query)

    def check(self, keys):
        both = [(keys["a"], "tiny"), (keys["ab"], "tiny"), (keys["ab"], "small")]

        def now():
            return [self.ask(*one) for one in both]

        def kept():
            # An answer is kept a moment after it was sent.
            for one in both:
                wait_for(lambda: self.ask(*one) == "hit", "never kept")
        now()
        kept()
        self.assertEqual(self.forget("?tenant=a").json, {"removed": 1})
        self.assertEqual(now(), ["miss", "hit", "hit"])
        kept()
        self.assertEqual(self.forget("?tenant=b").json, {"removed": 0})
        self.assertEqual(self.forget("?model=tin").json, {"removed": 0})
        self.assertEqual(self.forget("?model=tiny&tenant=ab").json, {"removed": 2})
        self.assertEqual(now(), ["hit", "miss", "miss"])
        kept()
        self.assertEqual(self.forget("?model=tiny").json, {"removed": 3})
        kept()
        self.assertEqual(self.forget("?all=true").json, {"removed": 3})
        self.assertEqual(now(), ["miss", "miss", "miss"])
        for bad in ("", "?all=false", "?tenant=", "?tenant=a&all=true", "?tenants=a", "?tenant=%zz"):
            self.assertEqual(self.forget(bad).status, 400, bad)

    def test_in_memory(self):
        self.run_with("")

    def test_on_disk(self):
        self.run_with(", disk: cache.db")


if __name__ == "__main__":
    unittest.main()
