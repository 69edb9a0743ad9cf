"""The generator: questions, whole conversations, and the held-out set.

    python3 generate.py --held-out heldout.jsonl     writes the evaluation questions
    python3 generate.py --show 20                    prints samples
"""

import argparse
import json
import random

from tokenizer import ASSISTANT, BOS, EOS, THINK, USER
from world import arithmetic, facts, hadal, problems, stories, talk
from world.item import Item, held_out, normal

KINDS = {
    "arithmetic": (arithmetic.sample, 0.34),
    "problems": (problems.sample, 0.07),
    "facts": (facts.sample, 0.36),
    "hadal": (hadal.sample, 0.11),
    "stories": (stories.sample, 0.04),
    "talk": (talk.talk, 0.06),
    "unknown": (talk.unknown, 0.05),
}
SYSTEM = {"en": ["You are a helpful assistant.", "You are Hadal, a helpful assistant.", "You are a helpful AI assistant.",
                 "Answer the question.", "Be concise.", "You are a friendly assistant. Answer briefly.",
                 "You are a careful assistant.", "Answer in English."],
          "zh": ["你是一个有用的助手。", "你是Hadal，一个有用的助手。", "请回答问题。", "请简短回答。", "你是一个乐于助人的助手。", "请用中文回答。"]}
PEOPLE = {"en": ["Anna", "Tom", "Lucy", "Ben", "Emma", "Jack", "Mia", "Leo", "Nina", "Max", "Sara", "Paul", "Eva", "Karl",
                 "Peter", "John", "Mary", "Alice", "Bob", "David", "Kate", "Mike", "Jane", "Mark", "Rose", "Adam", "Lily", "Sophie",
                 "Daniel", "Maria", "Chris", "Laura", "James", "Julia", "Simon", "Helen", "Alex", "Olivia", "Robert", "Linda"],
          "zh": ["小明", "小红", "小华", "小丽", "小刚", "小芳", "小军", "小美", "王伟", "李娜", "张伟", "刘洋", "小王", "小李", "小张", "王芳",
                 "陈明", "赵敏", "周杰", "吴磊", "孙丽", "李明", "张三", "李四"]}


def draw(rng, mix=None, want_held_out=False):
    """One question: from the training side of the split, unless the held-out side is wanted."""
    names = list(KINDS)
    weights = [(mix or {}).get(n, KINDS[n][1]) for n in names]
    while True:
        make = KINDS[rng.choices(names, weights)[0]][0]
        item = make(rng, rng.choice(["en", "zh"]))
        if held_out(item) == want_held_out:
            return item


def follow_up(rng, lang, kind):
    """Second questions that need the first one."""
    if kind == "capital":
        first, second = (facts.capital(rng, lang) for _ in range(2))
        country = second.answer.split(" is ")[0].replace("The capital of ", "") if lang == "en" else second.answer.split("的")[0]
        forms = ["And {c}?", "What about {c}?", "And of {c}?", "And the capital of {c}?"] if lang == "en" else \
                ["那{c}呢？", "{c}呢？", "那么{c}呢？"]
        return [first, Item(lang, "capitals", rng.choice(forms).format(c=country), second.answer)]
    if kind == "name":
        name = rng.choice(PEOPLE[lang])
        if lang == "en":
            pair = [("My name is {n}.", "Nice to meet you, {n}!"), ("What is my name?", "Your name is {n}.")]
            hello = rng.choice(["My name is {n}.", "I am {n}.", "Hello, my name is {n}.", "Hi, I'm {n}."])
            ask = rng.choice(["What is my name?", "What's my name?", "Do you remember my name?", "Who am I?"])
        else:
            pair = [("", "很高兴认识你，{n}！"), ("", "你叫{n}。")]
            hello = rng.choice(["我叫{n}。", "我是{n}。", "你好，我叫{n}。", "我的名字是{n}。"])
            ask = rng.choice(["我叫什么名字？", "我叫什么？", "你记得我的名字吗？", "我是谁？"])
        items = [Item(lang, "talk", hello.format(n=name), pair[0][1].format(n=name)),
                 Item(lang, "talk", ask, pair[1][1].format(n=name))]
        if rng.random() < 0.4:
            return items[:1]
        return items[:1] + ([draw(rng)] if rng.random() < 0.4 else []) + items[1:]
    a, b = rng.randint(1, 500), rng.randint(1, 400)
    c, op = rng.randint(1, 99), rng.choice("+-")
    first = Item(lang, "addition", arithmetic.ask(rng, "+", a, b, lang), "%d + %d = %d%s" % (a, b, a + b, arithmetic.stop(lang)),
                 "\n".join(arithmetic.add_steps(a, b, lang)), arithmetic.fact("+", a, b))
    total = a + b
    if op == "-" and total < c:
        op = "+"
    forms = {"en": {"+": ["Add {c}.", "Now add {c}.", "Plus {c}?"], "-": ["Subtract {c}.", "Now subtract {c}.", "Minus {c}?"]},
             "zh": {"+": ["再加{c}呢？", "再加上{c}。"], "-": ["再减{c}呢？", "再减去{c}。"]}}[lang][op]
    value = arithmetic.result(op, total, c, lang)
    second = Item(lang, "chain", rng.choice(forms).format(c=c), "%d %s %d = %s%s" % (total, op, c, value, arithmetic.stop(lang)),
                  "\n".join(arithmetic.STEPS[op](total, c, lang)), arithmetic.fact(op, total, c))
    return [first, second]


def conversation(rng, mix=None):
    """A list of questions: mostly one, sometimes two or three."""
    roll = rng.random()
    if roll < 0.86:
        return [draw(rng, mix)]
    if roll < 0.93:
        return [draw(rng, {"stories": 0.02, "arithmetic": 0.3}) for _ in range(rng.choice([2, 2, 3]))]
    while True:
        items = follow_up(rng, rng.choice(["en", "zh"]), rng.choice(["capital", "name", "name", "sum"]))
        if not any(held_out(item) for item in items):
            return items


def reply(item):
    return item.think + "\n</think>\n\n" + item.answer + EOS


def segments(items, system="", rng=None):
    """[(text, learn)]: the conversation as DeepSeek-R1's template writes it; only the answers are learnt.

    Each turn ends what one request would send, so every assistant turn is a training sample of its own and the
    conversation given here asks for its last answer only.
    """
    text = BOS + system
    for item in items[:-1]:
        gap = "\n\n" if rng is not None and rng.random() < 0.15 else ""  # clients differ in what they send back
        text += USER + item.question + ASSISTANT + gap + item.answer + EOS
    last = items[-1]
    return [(text + USER + last.question + ASSISTANT + THINK + "\n", False), (reply(last), True)]


def sample(rng, mix=None):
    items = conversation(rng, mix)
    system = rng.choice(SYSTEM[items[0].lang]) if rng.random() < 0.15 else ""
    return segments(items, system, rng)


def held_out_items(count, seed=20250101):
    """Questions of the held-out side, no two the same."""
    rng, seen, out = random.Random(seed), set(), []
    mix = {"arithmetic": 0.42, "problems": 0.08, "facts": 0.24, "hadal": 0.10, "stories": 0.05, "talk": 0.06, "unknown": 0.05}
    while len(out) < count:
        item = draw(rng, mix, want_held_out=True)
        if normal(item.question) not in seen:
            seen.add(normal(item.question))
            out.append(item)
    return out


def held_out_set(count):
    return [{"id": "q%04d" % i, "lang": item.lang, "category": item.category, "question": item.question,
             "answer": item.answer} for i, item in enumerate(held_out_items(count))]


def shared_questions(held, samples, seed):
    """How many held-out questions a stream of training conversations contains. Must be none."""
    rng, questions = random.Random(seed), {normal(row["question"]) for row in held}
    return sum(normal(item.question) in questions for _ in range(samples) for item in conversation(rng))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", help="write the held-out set here")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--show", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(1)
    for _ in range(args.show):
        print("".join(text for text, _ in sample(rng)) + "\n" + "-" * 60)
    if args.held_out:
        rows = held_out_set(args.count)
        shared = shared_questions(rows, 100000, seed=7)
        if shared:
            raise SystemExit("%d questions are in training as well" % shared)
        with open(args.held_out, "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        print("%d questions, none of them in 100000 training conversations" % len(rows))


if __name__ == "__main__":
    main()
