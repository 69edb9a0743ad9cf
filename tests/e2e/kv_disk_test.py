"""The prefix cache on disk, as a client and an operator see it: restart, kill -9, damage, tenants."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from hadal_server import Server

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
COMPLETIONS = "/v1/completions"


def prompt_of(words, seed=1):
    pick = random.Random(seed)
    return " ".join(pick.choice(("seven", "plus", "what", "is", "the", "sum", "of", "12", "7", "and"))
                    for _ in range(words))


def ask(server, prompt, tokens=24, scope=None):
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    if scope is not None:
        body["cache_salt"] = scope
    answer = server.post(COMPLETIONS, body)
    assert answer.status == 200, answer.text
    cached = (answer.json["usage"].get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return answer.json["choices"][0]["text"], cached, answer.json["usage"]["prompt_tokens"]


class KvDisk(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "kv")

    def server(self, *args):
        return Server(BINARY, "--kv-disk", self.path, *args)

    def files(self):
        return sorted(os.path.join(self.path, name) for name in os.listdir(self.path)
                      if name.endswith(".kv"))

    def wait_written(self, server, pages):
        until = time.monotonic() + 30
        while server.metric("hadal_kv_disk_written_bytes_total") == 0 or \
                server.metric("hadal_kv_disk_pages") < pages:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)

    def test_restart(self):
        prompt = prompt_of(300)
        with Server(BINARY) as plain:
            expected, _, length = ask(plain, prompt)
        with self.server() as server:
            text, cached, _ = ask(server, prompt)
            self.assertEqual((text, cached), (expected, 0))
            server.terminate()
            self.assertEqual(server.wait_exit(), 0)
        with self.server() as server:
            text, cached, _ = ask(server, prompt)
            self.assertEqual(text, expected)
            self.assertEqual(cached, (length - 1) // 32 * 32)
            self.assertEqual(server.metric("hadal_kv_disk_hits_total"), cached // 32)
            self.assertGreater(server.metric("hadal_kv_disk_read_bytes_total"), 0)
            text, again, _ = ask(server, prompt)  # now from memory, a part of a block included
            self.assertEqual(text, expected)
            self.assertGreaterEqual(again, cached)
            self.assertEqual(server.metric("hadal_kv_disk_hits_total"), cached // 32)

    def test_tenants_are_apart(self):
        prompt = prompt_of(200)
        with self.server() as server:
            ask(server, prompt, scope="a")
            server.terminate()
            server.wait_exit()
        with self.server() as server:
            self.assertEqual(ask(server, prompt, scope="b")[1], 0)
            self.assertEqual(ask(server, prompt)[1], 0)
            self.assertGreater(ask(server, prompt, scope="a")[1], 0)

    def test_kill_9_at_any_moment(self):
        prompts = [prompt_of(120 + 40 * i, seed=i) for i in range(6)]
        with Server(BINARY) as plain:
            expected = [ask(plain, prompt)[0] for prompt in prompts]
        pick = random.Random(7)
        reused = 0
        for life in range(6):
            with self.server("--kv-disk-max", "8M", "--kv-memory", "4M", "--context", "900") as server:
                wrong = []

                def client(server=server, wrong=wrong, seed=life):
                    order = random.Random(seed)
                    while True:
                        i = order.randrange(len(prompts))
                        try:
                            text = ask(server, prompts[i])[0]
                        except (OSError, AssertionError, ValueError):
                            return
                        if text != expected[i]:
                            wrong.append((i, text))

                clients = [threading.Thread(target=client, kwargs={"seed": 10 * life + k})
                           for k in range(3)]
                for thread in clients:
                    thread.start()
                if life == 0:  # something for the next to find, however slow the machine is
                    self.wait_written(server, 1)
                time.sleep(0.2 + pick.random())
                try:
                    reused += server.metric("hadal_kv_disk_hits_total")
                except OSError:
                    pass
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                for thread in clients:
                    thread.join()
                self.assertEqual(wrong, [])
            self.assertLessEqual(sum(map(os.path.getsize, self.files())), 8 << 20)
        with self.server("--kv-disk-max", "8M") as server:
            answers = [ask(server, prompt) for prompt in prompts]
            self.assertEqual([text for text, _, _ in answers], expected)
            reused += sum(cached for _, cached, _ in answers)
            self.assertEqual(server.metric("hadal_kv_disk_errors_total"), 0)
        self.assertGreater(reused, 0)

    def test_damage_is_computed_anew(self):
        prompt = prompt_of(300)
        with self.server() as server:
            expected = ask(server, prompt)[0]
            server.terminate()
            server.wait_exit()
        for path in self.files():
            with open(path, "r+b") as file:
                for at in range(4096, os.path.getsize(path), 1021):
                    file.seek(at)
                    byte = file.read(1)
                    file.seek(at)
                    file.write(bytes([byte[0] ^ 0x40]))
        with self.server() as server:
            text, cached, _ = ask(server, prompt)
            self.assertEqual((text, cached), (expected, 0))
            self.assertGreater(server.metric("hadal_kv_disk_errors_total"), 0)
        with self.server() as server:
            self.assertEqual(ask(server, prompt)[0], expected)

    def test_folder_vanishes_and_serving_goes_on(self):
        prompt = prompt_of(200)
        with self.server() as server:
            expected = ask(server, prompt)[0]
            for path in self.files():
                os.unlink(path)
            self.assertEqual(ask(server, prompt)[0], expected)
            self.assertEqual(ask(server, prompt_of(100, seed=9))[0], ask(server, prompt_of(100, seed=9))[0])

    def test_second_process_is_refused(self):
        with self.server():
            done = subprocess.run([BINARY, "serve", "--port", "0", "--threads", "1", "--kv-disk", self.path],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("another process", done.stderr)

    def test_flags(self):
        for flags, fragment in ((["--kv-disk-max", "1G"], "--kv-disk"),
                                (["--kv-disk", self.path, "--kv-disk-max", "much"], "512M"),
                                (["--kv-disk", self.path, "--kv-disk-max", "1K"], "one page"),
                                (["--kv-disk", os.path.join(BINARY, "x")], "folder")):
            with self.subTest(flags):
                done = subprocess.run([BINARY, "serve", "--port", "0", *flags], capture_output=True,
                                      text=True, timeout=60)
                self.assertIn(done.returncode, (1, 2))
                self.assertIn(fragment, done.stderr)


if __name__ == "__main__":
    unittest.main()
