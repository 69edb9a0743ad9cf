"""One question of the closed world, and the rule that keeps held-out questions out of training."""

import re
import zlib
from dataclasses import dataclass

HELD_OUT_SHARE = 12  # one key in twelve is never trained on


@dataclass
class Item:
    lang: str
    category: str
    question: str
    answer: str
    think: str = ""
    fact: str = ""  # arithmetic: the sum itself, so that no other wording of a held-out sum is trained


def normal(text):
    """Two questions are the same when only case, spaces and punctuation differ."""
    return re.sub(r"[\s\"'“”‘’.,!?:;。，！？：；、]+", " ", text.lower()).strip()


# What everybody types first is never held out.
ALWAYS_TRAINED = {
    "hello", "hi", "hey", "你好", "您好", "who are you", "你是谁", "what can you do", "你会什么", "你能做什么", "thanks",
    "thank you", "谢谢", "bye", "goodbye", "再见", "how are you", "你好吗", "what is hadal", "hadal是什么",
}


def is_table(fact):
    """Times tables, sums up to ten and divisions with a one-digit quotient are facts, learnt by heart like any other."""
    numbers = [int(n) for n in re.findall(r"\d+", fact)]
    if not numbers or fact.startswith("story"):
        return False
    return max(numbers) <= 10 or (fact[0] == "÷" and numbers[0] < 10 * numbers[1])


def held_out(item):
    key = item.fact or normal(item.question)
    if key in ALWAYS_TRAINED or is_table(item.fact):
        return False
    return zlib.crc32(("hadal-tiny " + key).encode("utf-8")) % HELD_OUT_SHARE == 0


EN_BEFORE = ["Please tell me: ", "Hi! ", "Hello, ", "Quick question: ", "Tell me, ", "Question: ", "I have a question. "]
EN_AFTER = [" Thanks!", " Please.", " Thank you."]
ZH_BEFORE = ["请问，", "你好，", "请告诉我：", "问题：", "我想知道，", "请问"]
ZH_AFTER = ["谢谢！", "谢谢。"]


def lower_first(text):
    return text if text[:2] in ("I ", "I'") or text[:1].isdigit() else text[:1].lower() + text[1:]


def dress(rng, lang, question):
    """People greet, thank, drop the question mark or forget capitals."""
    roll = rng.random()
    if roll < 0.12:
        before = rng.choice(EN_BEFORE if lang == "en" else ZH_BEFORE)
        question = before + (lower_first(question) if lang == "en" and before[-2] in ",:" and rng.random() < 0.7
                             else question)
    elif roll < 0.17:
        question = question + rng.choice(EN_AFTER if lang == "en" else ZH_AFTER)
    roll = rng.random()
    if roll < 0.12:
        question = question.rstrip("?？。.")
    if lang == "en" and rng.random() < 0.12:
        question = question.lower()
    if lang == "zh" and rng.random() < 0.06:
        question = question.replace("？", "?").replace("，", ",")
    return question
