"""ask and chat, as a terminal's user meets them."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "tiny", "hadal-tiny.gguf")


def run(*args, **options):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=120, **options)


class Terminal:
    """hadal on a pseudo-terminal."""

    def __init__(self, *args):
        self.child, self.file = pty.fork()
        if self.child == 0:
            os.execv(BINARY, [BINARY, *args])
        self.text = ""

    def read_until(self, mark, seconds=60):
        until = time.monotonic() + seconds
        while mark not in self.text:
            if time.monotonic() > until:
                raise AssertionError(f"no {mark!r} in {self.text!r}")
            if select.select([self.file], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.file, 4096).decode(errors="replace")
                except OSError:
                    break
        before, _, self.text = self.text.partition(mark)
        return before

    def type(self, text):
        os.write(self.file, text.encode())

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


class CommandLine(unittest.TestCase):
    def test_help_and_version(self):
        for flag in ("--help", "-h", "help"):
            done = run(flag)
            self.assertEqual(done.returncode, 0)
            self.assertIn("serve", done.stdout)
        self.assertRegex(run("--version").stdout, r"^hadal \d+\.\d+\.\d+\n$")
        for command in ("serve", "ask", "chat"):
            done = run(command, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("--kv-memory", done.stdout)

    def test_packed_weights_stay_within_their_bound(self):
        with tempfile.TemporaryDirectory() as folder:
            packs = os.path.join(folder, "packs")

            def start(name, bound):
                """Until the model's packed file is there: files that changed just now are not kept."""
                until = time.monotonic() + 60
                while time.monotonic() < until:
                    done = run("ask", "hi", "--max-tokens", "1", "--model", os.path.join(folder, name + ".gguf"),
                               "--pack-cache", packs, "--pack-cache-max", bound)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    kept = {file.split("-")[0]: file for file in os.listdir(packs)} if os.path.isdir(packs) else {}
                    if name in kept:
                        return kept
                    time.sleep(0.2)
                raise AssertionError(f"{name} is not kept")

            for name in ("a", "b"):
                shutil.copy(MODEL, os.path.join(folder, name + ".gguf"))
            kept = start("a", "1G")
            size = os.path.getsize(os.path.join(packs, kept["a"]))
            self.assertEqual(set(start("b", "1G")), {"a", "b"})
            self.assertEqual(set(start("a", str(size * 3 // 2))), {"a"})
        done = run("ask", "hi", "--pack-cache-max", "lots")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--pack-cache-max", done.stderr)

    def test_nonsense_is_refused(self):
        self.assertEqual(run().returncode, 2)
        done = run("dance")
        self.assertEqual(done.returncode, 2)
        self.assertIn("'dance'", done.stderr)
        self.assertEqual(run("ask").returncode, 2)
        self.assertEqual(run("ask", "x", "--seed", "1", "--seed", "2").returncode, 2)
        self.assertEqual(run("ask", "x", "--temperature", "3").returncode, 2)

    def test_ask(self):
        done = run("ask", "What is 17 + 25?", "--max-tokens", "64")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.endswith("\n"))
        self.assertNotIn("<think>", done.stdout)
        self.assertEqual(done.stdout, run("ask", "What is 17 + 25?", "--max-tokens", "64").stdout)

    def test_a_long_prompt_in_the_naive_form(self):
        question = "".join(f"What is {n} + {n + 7}? " for n in range(10, 70))
        answer = run("ask", question, "--max-tokens", "48", "--mla-prefill", "absorbed")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(answer.stdout, run("ask", question, "--max-tokens", "48").stdout)
        naive = run("ask", question, "--max-tokens", "48", "--mla-prefill", "naive")
        self.assertEqual(naive.returncode, 0, naive.stderr)
        self.assertEqual(naive.stdout, answer.stdout)
        forced = run("ask", "Hi", "--max-tokens", "8", "--mla-prefill", "naive", "--cpu-impl", "ref")
        self.assertEqual(forced.returncode, 0, forced.stderr)
        self.assertIn("no naive form of attention: ref has none", forced.stderr)
        self.assertEqual(run("ask", "Hi", "--mla-prefill", "fast").returncode, 2)

    def test_ask_without_the_files_around_it(self):
        done = run("ask", "Hello", "--max-tokens", "8", cwd="/", env={})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_chat_from_a_pipe(self):
        done = run("chat", input="Hello\n/reset\nHello\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        first, second = done.stdout.split("forgotten\n")
        self.assertEqual(first, second)

    def test_chat_on_a_terminal(self):
        terminal = Terminal("chat")
        terminal.read_until("\n> ")
        terminal.type("\x03")  # Ctrl-C at the prompt: another prompt
        terminal.read_until("\n> ")
        terminal.type("Hello\n")
        terminal.read_until("\n> ")
        terminal.type("/reset\n")
        terminal.read_until("forgotten")
        terminal.read_until("\n> ")
        terminal.type("/exit\n")
        self.assertEqual(terminal.status(), 0)

    def test_control_c_stops_the_answer_only(self):
        terminal = Terminal("chat", "--temperature", "2", "--cpu-impl", "ref")
        terminal.read_until("\n> ")
        terminal.type("Tell me a very long story about the sea.\n")
        time.sleep(0.3)
        terminal.type("\x03")
        terminal.read_until("\n> ")
        terminal.type("\x04")  # Ctrl-D
        self.assertEqual(terminal.status(), 0)

    def test_ask_is_interruptible(self):
        process = subprocess.Popen([BINARY, "ask", "story", "--temperature", "2", "--cpu-impl", "ref"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertIn(process.returncode, (0, 130, -signal.SIGINT))


if __name__ == "__main__":
    unittest.main()
