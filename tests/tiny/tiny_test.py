#!/usr/bin/python3
"""Checks models/tiny: no held-out question is trained on, the generator's answers are right, the file is sound.

Standard library, and numpy for the tests that open the GGUF file (they are skipped without it)."""

import json
import pathlib
import random
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny"
sys.path.insert(0, str(TINY))

import generate  # noqa: E402
from tokenizer import SPECIALS, Tokenizer, pre_tokenize  # noqa: E402
from world import problems  # noqa: E402
from world.item import held_out, normal  # noqa: E402

try:
    import numpy
except ImportError:
    numpy = None


def rows():
    with open(TINY / "heldout.jsonl", encoding="utf-8") as source:
        return [json.loads(line) for line in source]


class HeldOut(unittest.TestCase):
    def test_is_large_and_without_repeats(self):
        questions = [normal(row["question"]) for row in rows()]
        self.assertGreaterEqual(len(questions), 500)
        self.assertEqual(len(questions), len(set(questions)))

    def test_is_what_the_generator_writes(self):
        self.assertEqual(rows(), generate.held_out_set(len(rows())))

    def test_shares_no_question_with_training(self):
        self.assertEqual(generate.shared_questions(rows(), samples=60000, seed=99), 0)

    def test_the_check_finds_a_shared_question(self):
        rng = random.Random(5)
        planted = [{"question": generate.conversation(rng)[-1].question + " "}]
        self.assertGreater(generate.shared_questions(planted, samples=3, seed=5), 0)

    def test_the_split_looks_at_the_sum_and_not_at_its_wording(self):
        rng = random.Random(6)
        for _ in range(2000):
            item = generate.draw(rng)
            if item.fact:
                item.question = "another wording"
            self.assertFalse(held_out(item))


class Arithmetic(unittest.TestCase):
    def test_every_answer_is_right(self):
        rng, seen = random.Random(7), 0
        while seen < 3000:
            item = generate.draw(rng, {"arithmetic": 1.0})
            found = re.fullmatch(r"([\d +×÷-]+) = (-?\d+)(?: (?:remainder|余) (\d+))?[.。]", item.answer)
            if not found:
                continue
            seen += 1
            left, value, rest = found.group(1), int(found.group(2)), int(found.group(3) or 0)
            if "÷" in left:
                a, b = (int(x) for x in left.split("÷"))
                self.assertEqual((value, rest), divmod(a, b))
            else:
                self.assertEqual(value, eval(left.replace("×", "*")), item.answer)  # digits and signs only

    def test_the_reasoning_ends_with_the_result(self):
        rng = random.Random(8)
        for _ in range(2000):
            item = problems.sample(rng, rng.choice(["en", "zh"]))
            last = re.search(r"=(-?\d+)$", item.think).group(1)
            self.assertEqual(last, re.findall(r"\d+", item.answer)[-1])


class Tokens(unittest.TestCase):
    def setUp(self):
        self.tok = Tokenizer.load(TINY / "tokenizer.json")

    def test_round_trip_of_anything(self):
        rng = random.Random(9)
        texts = ["", "Hello 你好 <think>\n\n</think> 123456", "emoji \U0001f600\u200d, tab\t, NUL \0, ½ Ⅷ ٣"]
        texts += ["".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x4E00, 0x9FA5), rng.randrange(1, 0xD7FF)]))
                          for _ in range(30)) for _ in range(300)]
        for text in texts:
            self.assertEqual(self.tok.decode(self.tok.encode(text)), text)

    def test_each_digit_is_one_token(self):
        self.assertEqual(len(self.tok.encode("1234567890")), 10)
        self.assertEqual(pre_tokenize("a1234是"), ["a", "123", "4", "是"])

    def test_ids_are_unique(self):
        self.assertEqual(len(self.tok.tokens), len(set(self.tok.tokens)))
        for special in SPECIALS:
            self.assertEqual(self.tok.encode(special), [self.tok.ids[special]])


@unittest.skipUnless(numpy is not None and (TINY / "hadal-tiny.gguf").exists(), "needs numpy and the model file")
class File(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import reference
        cls.reference = reference
        cls.model = reference.Model(TINY / "hadal-tiny.gguf")
        cls.tok = reference.tokenizer_of(cls.model)

    def test_is_at_most_ten_megabytes(self):
        self.assertLessEqual((TINY / "hadal-tiny.gguf").stat().st_size, 10_000_000)

    def test_has_the_tokenizer_beside_it(self):
        self.assertEqual(self.tok.tokens, Tokenizer.load(TINY / "tokenizer.json").tokens)

    def test_answers(self):
        asked = {"What is the capital of France?": "The capital of France is Paris.", "47+36=": "47 + 36 = 83.",
                 "你好": "你好！我是Hadal自带的小模型。有什么可以帮你？"}
        for question, expected in asked.items():
            ids, _, _ = self.reference.generate(self.model, self.tok, self.reference.prompt(question))
            answer = self.reference.answer_of(self.tok, ids)[1]
            self.assertEqual(answer.rstrip(".。"), expected.rstrip(".。"))


if __name__ == "__main__":
    unittest.main()
