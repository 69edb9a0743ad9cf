"""hadal.yaml and what a gateway does with it, over real sockets."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from hadal_server import Server, join_chat, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"

LOCAL = """
server: {port: 0}
backends:
  - {name: here, model: embedded, names: [tiny], engine: {threads: 1}}
"""
ALIASES = """
aliases:
  deepseek-chat: {model: tiny, thinking: false}
  deepseek-reasoner: {model: tiny, thinking: true}
  gpt-4o: tiny
"""


def ask(model, **fields):
    return {"model": model, "messages": [{"role": "user", "content": "What is 17 + 25?"}],
            "temperature": 0, **fields}


class Config:
    """A configuration file that a test changes under the server."""

    def __init__(self, text):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "hadal.yaml")
        self.write(text)

    def write(self, text, name="hadal.yaml"):
        with open(os.path.join(self.folder.name, name), "w") as file:
            file.write(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


def run(*args):
    return subprocess.run([BINARY, "serve", *args], capture_output=True, text=True, timeout=60)


class Configuration(unittest.TestCase):
    def test_check_says_what_is_wrong_and_where(self):
        with Config(LOCAL + ALIASES) as config:
            good = run("--config", config.path, "--check")
            self.assertEqual((good.returncode, good.stderr), (0, ""))
            self.assertIn("1 backends, 3 aliases", good.stdout)
            config.write(LOCAL.replace("port: 0", "prot: 0") + "aliases: {x: tinny}\n")
            bad = run("--config", config.path, "--check")
            self.assertEqual(bad.returncode, 2)
            self.assertIn(f"{config.path}:2:10: server: there is no field 'prot'; did you mean 'port'?",
                          bad.stderr)
            self.assertIn(f"{config.path}:5:11: aliases.x.model: no backend serves 'tinny'", bad.stderr)
            config.write(LOCAL.replace("port: 0", "keys_file: none.txt"))
            self.assertIn("none.txt", run("--config", config.path, "--check").stderr)

    def test_flags_that_the_file_has_are_refused_beside_it(self):
        with Config(LOCAL) as config:
            refused = run("--config", config.path, "--model", "x")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("--model", refused.stderr)

    def test_every_flag_has_a_field(self):
        elsewhere = {"model", "alias", "api_key", "api_key_file", "max_connections", "batch_dir"}
        told = re.search(r"--config TEXT Excludes: ([^\n]*)", run("--help").stdout)[1]
        flags = {flag.removeprefix("--").replace("-", "_") for flag in told.split()}
        self.assertGreater(flags, elsewhere)
        schema = json.loads(run("--print-config-schema").stdout)
        engine = schema["properties"]["backends"]["items"]["properties"]["engine"]["properties"]
        self.assertEqual(set(engine), flags - elsewhere)
        refused = subprocess.run([BINARY, "ask", "x", "--cpu-impl", "none"], capture_output=True, text=True, timeout=60)
        for name in engine["cpu_impl"]["enum"]:
            self.assertIn(name, refused.stderr)

    def test_aliases_answer_think_and_are_listed(self):
        with Config(LOCAL + ALIASES) as config, Server(BINARY, "--config", config.path) as server:
            listed = [card["id"] for card in server.get("/v1/models").json["data"]]
            self.assertEqual(listed, ["tiny", "deepseek-chat", "deepseek-reasoner", "gpt-4o"])
            for model, thinks in (("deepseek-chat", False), ("deepseek-reasoner", True)):
                answer = server.post(CHAT, ask(model)).json
                self.assertEqual(answer["model"], model)
                message = answer["choices"][0]["message"]
                self.assertEqual(bool(message.get("reasoning_content")), thinks, answer)
                self.assertTrue(message["content"])

    def test_reload_drops_nothing_and_a_bad_file_changes_nothing(self):
        with Config(LOCAL + ALIASES) as config, Server(BINARY, "--config", config.path) as server:
            stream = server.stream(CHAT, ask("gpt-4o", ignore_eos=True, max_tokens=300))
            events = stream.events()
            seen = [next(events), next(events)]

            def reload(text, word):
                config.write(text)
                before = len(server.errors)
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda: any(word in line for line in server.errors[before:]), server.errors)

            reload(LOCAL + "aliases: {x: [}\n", "stays as it was")
            self.assertIn("hadal.yaml:5:", "".join(server.errors))
            self.assertEqual(server.get("/v1/models/gpt-4o").status, 200)
            reload(LOCAL + "aliases: {newer: tiny}\n", "again: 1 backends, 1 aliases")
            self.assertEqual(server.get("/v1/models/gpt-4o").status, 404)
            self.assertEqual(server.post(CHAT, ask("newer")).status, 200)
            config.write("sesame\n", "keys")
            reload(LOCAL.replace("port: 0", "port: 0, keys_file: keys"), "again: 1 backends, 0")
            self.assertEqual(server.get("/v1/models").status, 401)
            self.assertEqual(server.get("/v1/models", {"Authorization": "Bearer sesame"}).status, 200)
            reload(LOCAL.replace("threads: 1", "threads: 2"), "next start: the local backend's engine")
            choices, _ = join_chat(seen + list(events))
            self.assertTrue(stream.done)
            self.assertEqual(choices[0]["finish_reason"], "length")


if __name__ == "__main__":
    unittest.main()
