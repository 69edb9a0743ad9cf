"""`--mla-prefill naive` as an operator and a client see it (docs/adr/0008): when it is used, that
answers stay the same but for near ties, and that nothing computed one way is taken for the other.

Where the machine's kernels have no naive form, the flag must change nothing at all."""

import os
import random
import subprocess
import sys
import tempfile
import unittest

from hadal_server import Server, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
ROWS_MIN = 256  # rows of a prompt in one step that are computed in the naive form
# Of log-probabilities. Rounding to int8 in another order moves the embedded model's by 0.004 at the median,
# 0.03 on average and 0.5 at the most; attention that is wrong moves them by whole units.
MEAN_MOST, CLEAR = 0.1, 1.0

SUMS = "".join(f"What is {n} + {n + 7}? " for n in range(10, 99))
STORY = ("The capital of France is Paris. Water is made of hydrogen and oxygen. How many days has a "
         "week? A week has seven days. ") * 14
QUESTIONS = (SUMS[:1000] + "What is 17 + 25?", STORY + "What is the capital of France?",
             SUMS[:700] + STORY[:900] + "What is 40 + 2?")


def naive_lines(server):
    """What the log says of it while the model is loaded, which the line of the cache follows."""
    wait_for(lambda: any("cache of" in line for line in server.errors), "nothing about the cache")
    return [line for line in server.errors if "naive form of attention" in line]


def post(server, path, body):
    answer = server.post(path, body)
    assert answer.status == 200, answer.text
    return answer.json


def complete(server, ids):
    """The log-probabilities of what follows the tokens, and how many of these were cached."""
    answer = post(server, "/v1/completions", {"prompt": ids, "max_tokens": 8, "logprobs": 5,
                                              "temperature": 0, "ignore_eos": True})
    assert answer["usage"]["prompt_tokens"] == len(ids)
    return answer["choices"][0]["logprobs"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]


class NaivePrefill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.absorbed = Server(BINARY, "--mla-prefill", "absorbed")
        cls.addClassCleanup(cls.absorbed.__exit__)
        cls.naive = Server(BINARY, "--mla-prefill", "naive")
        cls.addClassCleanup(cls.naive.__exit__)
        cls.has_form = not any("no naive form" in line for line in naive_lines(cls.naive))
        cls.ids = post(cls.absorbed, "/tokenize", {"prompt": SUMS})["tokens"]
        assert len(cls.ids) >= 2 * ROWS_MIN

    def prompt(self, length, seed):
        """Tokens of sums that no other test's prompt begins with."""
        pick = random.Random(seed)
        return [pick.choice(self.ids) for _ in range(8)] + self.ids[:length - 8]

    def test_the_log_says_which_form_runs(self):
        self.assertEqual(naive_lines(self.absorbed), [])
        lines = naive_lines(self.naive)
        self.assertEqual(len(lines), 1, self.naive.errors)
        self.assertIn(f"from {ROWS_MIN} rows" if self.has_form else "has none", lines[0])

    def test_256_rows_are_needed(self):
        short, enough = self.prompt(ROWS_MIN - 1, 1), self.prompt(ROWS_MIN, 2)
        # At 0 cached tokens, all of the prompt is one piece.
        (old, cached), (new, cached_too) = complete(self.absorbed, short), complete(self.naive, short)
        self.assertEqual((cached, cached_too), (0, 0))
        self.assertEqual(new, old)
        (old, cached), (new, cached_too) = complete(self.absorbed, enough), complete(self.naive, enough)
        self.assertEqual((cached, cached_too), (0, 0))
        self.assertEqual(new["token_logprobs"] != old["token_logprobs"], self.has_form)

    def test_a_prompt_that_is_mostly_cached_is_a_short_one(self):
        ids = self.prompt(2 * ROWS_MIN - 32, 3)
        for server in (self.absorbed, self.naive):
            self.assertEqual(complete(server, ids[:ROWS_MIN - 1])[1], 0)
        (old, cached), (new, cached_too) = complete(self.absorbed, ids), complete(self.naive, ids)
        self.assertGreater(cached, len(ids) - ROWS_MIN)
        self.assertEqual((new, cached_too), (old, cached))

    def test_answers_agree(self):
        clear_tokens, moved = 0, []
        for question in QUESTIONS:
            found = []
            for server in (self.absorbed, self.naive):
                answer = post(server, "/v1/chat/completions", {
                    "messages": [{"role": "user", "content": question}], "max_tokens": 48,
                    "temperature": 0, "logprobs": True, "top_logprobs": 2})
                usage = answer["usage"]
                self.assertGreaterEqual(
                    usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"], ROWS_MIN)
                found.append(answer["choices"][0]["logprobs"]["content"])
            self.assertEqual(len(found[0]), len(found[1]))
            for old, new in zip(*found):
                first, second = (top["logprob"] for top in old["top_logprobs"])
                if old["token"] != new["token"]:  # from here on they answer different texts
                    self.assertLess(first - second, CLEAR, (question, old, new))
                    break
                clear_tokens += first - second >= CLEAR
                moved.append(abs(new["logprob"] - old["logprob"]))
        self.assertGreater(clear_tokens, 48)
        self.assertLess(sum(moved) / len(moved), MEAN_MOST)
        self.assertEqual(any(moved), self.has_form)

    def test_blocks_on_disk_are_kept_apart(self):
        ids = self.prompt(2 * ROWS_MIN, 4)
        with tempfile.TemporaryDirectory() as folder:
            def run(form):
                with Server(BINARY, "--mla-prefill", form, "--kv-disk", folder) as server:
                    found = complete(server, ids)
                    server.terminate()
                    self.assertEqual(server.wait_exit(), 0)
                return found
            first, cached = run("absorbed")
            self.assertEqual(cached, 0)
            other, cached = run("naive")
            self.assertEqual(cached, 0)
            self.assertEqual(other != first, self.has_form)
            again, cached = run("absorbed")
            self.assertGreater(cached, 0)
            self.assertEqual(again, first)

    def test_in_the_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "hadal.yaml")

            def write(form):
                with open(path, "w", encoding="utf-8") as file:
                    file.write("backends:\n  - {name: here, model: embedded, engine: "
                               f"{{mla_prefill: {form}, threads: 1}}}}\n")
            write("naive")
            ids = self.prompt(ROWS_MIN + 5, 5)
            with Server(BINARY, "--config", path) as server:
                self.assertEqual(naive_lines(server), naive_lines(self.naive))
                self.assertEqual(complete(server, ids), complete(self.naive, ids))
            write("fast")
            done = subprocess.run([BINARY, "serve", "--config", path, "--check"], capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            for part in ("mla_prefill", "fast", "absorbed", "naive"):
                self.assertIn(part, done.stderr)

    def test_kernels_without_the_form_say_so_and_go_on(self):
        ids = self.prompt(ROWS_MIN, 6)
        found = []
        for form in ("absorbed", "naive"):
            with Server(BINARY, "--mla-prefill", form, "--cpu-impl", "ref") as server:
                found.append(complete(server, ids))
                lines = naive_lines(server)
                self.assertEqual(["ref has none" in line for line in lines], [True] * (form == "naive"))
        self.assertEqual(found[0], found[1])

    def test_other_values_are_refused(self):
        for value in ("fast", "", "Naive", "naive,absorbed"):
            with self.subTest(value):
                done = subprocess.run([BINARY, "serve", "--port", "0", "--mla-prefill", value],
                                      capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 2)
                for part in ("--mla-prefill", "absorbed", "naive"):
                    self.assertIn(part, done.stderr)
                self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
