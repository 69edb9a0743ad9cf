"""The scripts of bench/ on the embedded model, small: a server against itself, the engine against programs
that only print."""

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

    def test_guessing_beside_none(self):
        """Which texts are foreseen by what, not how fast: the layer of the embedded model foresees the model, and
        look-up foresees copies."""
        def guesses(kind):
            done = subprocess.run([BINARY, "bench", "--speculate", kind, "--json", "--repeats", "2", "--answer", "128",
                                   "--threads", "1"], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = {row["text"]: row for row in json.loads(done.stdout)}
            self.assertEqual(len(rows), 4)
            for row in rows.values():
                self.assertGreater(min(row["plain"], row["guessing"], row["ratio"]), 0)
                self.assertLessEqual(row["right"], row["guesses"])
                self.assertEqual(row["rounds"], 2)
            return rows
        own = guesses("mtp")["the model's own"]
        self.assertGreaterEqual(own["right"], 0.7 * own["guesses"])
        copy = guesses("ngram")["copy of the prompt"]
        self.assertGreater(copy["guesses"], 0)
        self.assertGreaterEqual(copy["right"], 0.7 * copy["guesses"])

    def beside(self, *arguments, batched_rows=(1, 4)):
        """bench/beside, with programs that print what theirs do and keep how they were called."""
        with tempfile.TemporaryDirectory() as folder:
            rows = "".join(f"print('|    16 |      2 | {b:4d} |  72 | 0.7 | 84.25 | 0.9 | {20.5 * b:8.2f} | 1.7 | 55.2 |')\n"
                           for b in batched_rows)
            for name, prints in (
                    ("llama-bench", "print('loading')\nprint('[{\"n_prompt\": 16, \"avg_ts\": 50.0}]')\n"),
                    ("llama-batched-bench", "print('|    PP |     TG |    B |')\nprint('|---|---|---|')\n" + rows)):
                path = os.path.join(folder, name)
                with open(path, "w") as file:
                    file.write(f"#!{sys.executable}\nimport sys\n"
                               f"print(*sys.argv[1:], file=open({path!r} + '.calls', 'a'))\n{prints}")
                os.chmod(path, 0o755)
            model = os.path.join(BENCH, "..", "models", "tiny", "hadal-tiny.gguf")
            done, result = run("beside", "--programs", folder, "--name", "fake", "--model", model, "--threads", "1",
                               "--prefill", "16", "--decode", "2", "--batch", "1,4", *arguments)
            calls = {}
            for name in ("llama-bench", "llama-batched-bench"):
                with open(os.path.join(folder, name + ".calls")) as file:
                    calls[name] = file.read().splitlines()
            return done, result, calls

    def test_beside(self):
        done, result, calls = self.beside("--rounds", "2", "--flags", "best", "-fa 1", "-fa on", "--flags", "plain",
                                          "", "")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_record(result, "beside")
        names = ["hadal", "hadal same token", "fake best", "fake plain"]
        self.assertEqual(list(result["rounds"]), names)
        for name in names:
            self.assertEqual(len(result["rounds"][name]), 2)
        for name in names[:2]:
            for figures in result["rounds"][name]:
                self.assertGreater(figures["read_bandwidth"], 0)
        self.assertEqual(result["medians"]["fake best"], {"prefill 16": 50.0, "decode x 1": 20.5, "decode x 4": 82.0})
        self.assertEqual(list(result["medians"]["hadal same token"]), ["decode x 1", "decode x 4"])
        rounds = [figures["tokens_per_second"]["decode x 4"] for figures in result["rounds"]["hadal same token"]]
        self.assertAlmostEqual(result["hadal_over_other"]["hadal same token / fake plain"]["decode x 4"],
                               sum(rounds) / 2 / 82.0)
        self.assertEqual(len(result["hadal_over_other"]), 4)
        # The second round the other way round; each set's flags to its own program.
        self.assertEqual(["-fa 1" in call for call in calls["llama-bench"]], [True, False, False, True])
        self.assertEqual(["-fa on" in call for call in calls["llama-batched-bench"]], [True, False, False, True])

    def test_beside_refuses_what_it_cannot_read(self):
        done, result, _ = self.beside("--rounds", "1", batched_rows=(1,))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no row for batches [4]", done.stderr)
        self.assertIsNone(result)


if __name__ == "__main__":
    unittest.main()
