"""bench/compare and bench/engine on the embedded model, small: the server against itself."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")


def run(script, *arguments):
    """The script's status and output, and the JSON it kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        done = subprocess.run([sys.executable, os.path.join(BENCH, script), "--hadal", BINARY, "--out", path,
                               *arguments], capture_output=True, text=True, timeout=300)
        result = None
        if os.path.exists(path):
            with open(path) as file:
                result = json.load(file)
        return done, result


class Bench(unittest.TestCase):
    def check_record(self, result, kind):
        self.assertEqual(result["kind"], kind)
        self.assertTrue(result["commit"])
        self.assertGreaterEqual(result["machine"]["cores"], 1)
        self.assertNotIn(os.path.dirname(BINARY), json.dumps(result), "a path of this machine")

    def test_compare_with_itself(self):
        load = {"clients": 3, "requests": 7, "words": 5, "tokens": 6, "shared_words": 60, "rounds": 2}
        flags = [part for name, value in load.items() for part in ("--" + name.replace("_", "-"), str(value))]
        done, result = run("compare", "--name", "itself", *flags, "--other",
                           f"{BINARY} serve --threads 1 --port {{port}}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_record(result, "compare")
        self.assertEqual(result["load"], load)
        for name in ("hadal", "itself"):
            self.assertEqual(len(result["rounds"][name]), 2)
            for figures in result["rounds"][name]:
                self.assertGreater(figures["out_tokens_per_second"], 0)
                self.assertGreaterEqual(figures["first_token_p95"], figures["first_token_p50"])
                self.assertGreaterEqual(figures["prompt_tokens"], 7 * 5)
                self.assertGreater(figures["probe"]["read_bandwidth"], 0)
                self.assertGreater(figures["shared_ratio"], 0)
        middle = result["medians"]
        self.assertAlmostEqual(
            result["hadal_over_other"]["out_tokens_per_second"],
            middle["hadal"]["out_tokens_per_second"] / middle["itself"]["out_tokens_per_second"])

    def test_compare_says_which_server_did_not_start(self):
        done, result = run("compare", "--name", "none", "--other", "false {port}", "--rounds", "1",
                           "--requests", "1", "--clients", "1", "--words", "2", "--tokens", "2",
                           "--shared-words", "0")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no answer from: false", done.stderr)
        self.assertIsNone(result)

    def test_engine(self):
        done, result = run("engine", "--name", "tiny", "--", "--prefill", "16", "--batch", "1,2", "--decode",
                           "2", "--repeats", "1", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_record(result, "engine")
        self.assertEqual([row["name"] for row in result["bench"]["results"]],
                         ["prefill 16", "decode x 1", "decode x 2"])
        for row in result["bench"]["results"]:
            self.assertGreater(row["share"], 0)
            self.assertGreater(min(row["bandwidth_ceiling"], row["compute_ceiling"]), 0)


if __name__ == "__main__":
    unittest.main()
