"""Arithmetic, worked out column by column from right to left: steps small enough to be learnt exactly."""

from .item import Item, dress

WORDS = {
    "en": {"write": ", write ", "carry": ", carry ", "borrow": ", borrow ", "rest": " remainder ",
           "minus": "so %s with a minus sign", "last": "last digit "},
    "zh": {"write": "，写", "carry": "，进", "borrow": "，借", "rest": "余", "minus": "先算%s再加负号", "last": "末位是"},
}


def padded(a, b):
    width = max(len(str(a)), len(str(b)))
    return str(a).zfill(width), str(b).zfill(width)


def add_steps(a, b, lang):
    w, (top, low) = WORDS[lang], padded(a, b)
    lines, carry = ["%s+%s" % (top, low)], 0
    for i, (d, e) in enumerate(zip(reversed(top), reversed(low))):
        total = int(d) + int(e) + carry
        left = "%s+%s" % (d, e) if i == 0 else "%s+%s+%d" % (d, e, carry)
        carry = total // 10
        lines.append("%s=%d%s%d%s%d" % (left, total, w["write"], total % 10, w["carry"], carry))
    return lines + ["=%d" % (a + b)]


def subtract_steps(a, b, lang):
    w, (top, low) = WORDS[lang], padded(a, b)
    sign = "<" if a < b else ">" if a > b else "="
    lines = ["%s-%s" % (top, low), "%s%s%s" % (top, sign, low)]
    if a < b:
        top, low = low, top
        lines.append(w["minus"] % ("%s-%s" % (top, low)))
    borrow, digits = 0, ""
    for i, (d, e) in enumerate(zip(reversed(top), reversed(low))):
        have = int(d)
        lent = have - int(e) - borrow < 0
        have += 10 if lent else 0
        left = "%d-%s" % (have, e) if i == 0 else "%d-%s-%d" % (have, e, borrow)
        digit = have - int(e) - borrow
        borrow = int(lent)
        digits = str(digit) + digits
        lines.append("%s=%d%s%d%s%d" % (left, digit, w["write"], digit, w["borrow"], borrow))
    if len(digits) > 1:
        lines.append(digits)
    return lines + ["=%d" % (a - b)]


def times_digit(a, d, lang):
    w, lines, carry = WORDS[lang], ["%d×%d" % (a, d)], 0
    for i, c in enumerate(reversed(str(a))):
        total = int(c) * d + carry
        left = "%s×%d" % (c, d) if i == 0 else "%s×%d+%d" % (c, d, carry)
        carry = total // 10
        lines.append("%s=%d%s%d%s%d" % (left, total, w["write"], total % 10, w["carry"], carry))
    return lines + ["=%d" % (a * d)]


def multiply_steps(a, b, lang):
    if a < b and len(str(a)) < len(str(b)):
        a, b = b, a
    if b < 10:
        return times_digit(a, b, lang)
    ones, tens = b % 10, b // 10
    lines = ["%d×%d" % (a, b)] + times_digit(a, ones, lang) + times_digit(a, tens, lang)
    return lines + add_steps(a * ones, a * tens * 10, lang)


def divide_steps(a, d, lang):
    w, lines, rest, digits = WORDS[lang], ["%d÷%d" % (a, d)], 0, ""
    for c in str(a):
        have = rest * 10 + int(c)
        digits, rest = digits + str(have // d), have % d
        lines.append("%d÷%d=%d%s%d" % (have, d, have // d, w["rest"], rest))
    if len(digits) > 1:
        lines.append(digits)
    return lines + ["=%d%s%d" % (a // d, w["rest"], rest)]


STEPS = {"+": add_steps, "-": subtract_steps, "×": multiply_steps, "÷": divide_steps}
SYMBOLS = {"+": ["+"], "-": ["-"], "×": ["×", "*", "x"], "÷": ["÷", "/"]}
SPOKEN = {
    "en": {"+": ["plus"], "-": ["minus"], "×": ["times", "multiplied by"], "÷": ["divided by"]},
    "zh": {"+": ["加", "加上"], "-": ["减", "减去"], "×": ["乘以", "乘"], "÷": ["除以"]},
}
ASK = {
    "en": ["What is {e}?", "What is {e}?", "What's {e}?", "Calculate {e}.", "Compute {e}.", "{e} = ?", "{e}=?", "{e}",
           "How much is {e}?", "Work out {e}.", "What does {e} equal?", "Can you calculate {e}?", "Solve {e}.",
           "{e} =", "What is the result of {e}?", "Tell me {e}.", "{e}?", "{e} equals what?", "Evaluate {e}.",
           "Please compute {e}.", "Could you tell me what {e} is?", "I need to know {e}.", "{e} is what?", "{e} equals?",
           "What do you get for {e}?", "Please calculate {e}", "Give me the answer to {e}."],
    "zh": ["{e}等于多少？", "{e}等于几？", "{e}是多少？", "计算{e}。", "请计算{e}。", "{e}=？", "{e}=", "{e}", "算一下{e}。",
           "{e}的结果是多少？", "请算出{e}。", "{e}得多少？", "计算：{e}", "{e} = ?", "{e}？", "{e}等于？", "帮我算{e}。",
           "帮我算一下{e}", "{e}等于什么？", "求{e}。", "{e}是几？", "请问{e}等于几？", "{e}的答案是什么？", "{e}得几？"],
}
SPECIAL = {
    "en": {"+": ["What is the sum of {a} and {b}?", "Add {a} and {b}.", "What is the total of {a} and {b}?", "Sum {a} and {b}."],
           "-": ["What is the difference between {a} and {b}?", "Subtract {b} from {a}.", "Take {b} away from {a}.", "What is {b} less than {a}?"],
           "×": ["What is the product of {a} and {b}?", "Multiply {a} by {b}.", "Multiply {a} and {b}."],
           "÷": ["Divide {a} by {b}.", "How many times does {b} go into {a}?", "What is {a} over {b}?"]},
    "zh": {"+": ["{a}与{b}的和是多少？", "{a}和{b}的和是多少？", "{a}和{b}相加是多少？", "{a}与{b}之和是多少？"], "-": ["{a}与{b}的差是多少？", "{a}比{b}多多少？", "从{a}中减去{b}是多少？"],
           "×": ["{a}与{b}的积是多少？", "{a}和{b}的乘积是多少？", "{a}和{b}相乘是多少？"], "÷": ["{a}除以{b}，商是多少？", "把{a}除以{b}。"]},
}


def spell(rng, op, a, b, lang):
    if rng.random() < 0.6:
        space = rng.choice([" ", " ", ""])
        return "%d%s%s%s%d" % (a, space, rng.choice(SYMBOLS[op]), space, b)
    space = " " if lang == "en" or rng.random() < 0.2 else ""
    return "%d%s%s%s%d" % (a, space, rng.choice(SPOKEN[lang][op]), space, b)


def ask(rng, op, a, b, lang):
    if rng.random() < 0.15:
        form = rng.choice(SPECIAL[lang][op])
        if not (form == "{a}比{b}多多少？" and a < b):
            return form.format(a=a, b=b)
    return rng.choice(ASK[lang]).format(e=spell(rng, op, a, b, lang))


def result(op, a, b, lang):
    if op == "÷":
        rest = (WORDS[lang]["rest"] + str(a % b)) if a % b else ""
        if lang == "zh" and rest:
            rest = " " + rest.replace("余", "余 ")
        return "%d%s" % (a // b, rest)
    return str({"+": a + b, "-": a - b, "×": a * b}[op])


def stop(lang):
    return "." if lang == "en" else "。"


def language_of(lang, question):
    """A bare sum such as `3 + 4 =` belongs to no language: it is answered in English."""
    return lang if any(ord(c) > 0x2E80 and c != "？" for c in question) else "en"


def number(rng, digits):
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits - 1)


def operands(rng, op):
    if op in "+-":
        a, b = number(rng, rng.choice([1, 2, 2, 3, 3, 3])), number(rng, rng.choice([1, 2, 2, 3, 3, 3]))
        if op == "-" and a < b and rng.random() < 0.7:
            a, b = b, a
        return a, b
    if op == "×":
        digits = rng.choice([(1, 1), (2, 1), (2, 1), (3, 1), (2, 2), (2, 2), (2, 2), (2, 2)])
        a, b = number(rng, digits[0]), number(rng, digits[1])
        return (b, a) if rng.random() < 0.2 else (a, b)
    divisor = rng.randint(1 if rng.random() < 0.1 else 2, 9)
    if rng.random() < 0.3:  # the table that every longer division is made of
        return rng.randint(0, 10 * divisor - 1), divisor
    return number(rng, rng.choice([1, 2, 2, 3, 3, 3])), divisor


def fact(op, a, b):
    return "%s %d %d" % (op, a, b)


def plain(rng, lang, op=None):
    op = op or rng.choice("++---×××××÷÷÷÷")  # harder tables need more practice
    a, b = operands(rng, op)
    names = {"+": "addition", "-": "subtraction", "×": "multiplication", "÷": "division"}
    question = dress(rng, lang, ask(rng, op, a, b, lang))
    lang = language_of(lang, question)
    answer = "%d %s %d = %s%s" % (a, op, b, result(op, a, b, lang), stop(lang))
    return Item(lang, names[op], question, answer, "\n".join(STEPS[op](a, b, lang)), fact(op, a, b))


def chain(rng, lang):
    """a ± b ± c with at most two digits each, never below zero on the way."""
    a, b, c = (number(rng, rng.choice([1, 2, 2])) for _ in range(3))
    first = rng.choice("+-") if a >= b else "+"
    middle = a + b if first == "+" else a - b
    second = rng.choice("+-") if middle >= c else "+"
    total = middle + c if second == "+" else middle - c
    space = rng.choice([" ", " ", ""])
    e = space.join([str(a), first, str(b), second, str(c)])
    question = dress(rng, lang, rng.choice(ASK[lang]).format(e=e))
    lang = language_of(lang, question)
    think = STEPS[first](a, b, lang) + STEPS[second](middle, c, lang)
    answer = "%d %s %d %s %d = %d%s" % (a, first, b, second, c, total, stop(lang))
    return Item(lang, "chain", question, answer, "\n".join(think), "%d%s%d%s%d" % (a, first, b, second, c))


def compare(rng, lang):
    digits = rng.choice([1, 2, 3, 3])
    a, b = number(rng, digits), number(rng, digits if rng.random() < 0.7 else rng.choice([1, 2, 3]))
    if a == b:
        b = a + 1
    big = rng.random() < 0.6
    winner = max(a, b) if big else min(a, b)
    if lang == "en":
        word = rng.choice(["larger", "bigger", "greater"]) if big else "smaller"
        form = rng.choice(["Which is {w}, {a} or {b}?", "Which number is {w}: {a} or {b}?",
                           "Which one is {w}, {a} or {b}?", "Is {a} or {b} {w}?"])
        answer = "%d is %s." % (winner, "larger" if big else "smaller")
    else:
        word = "大" if big else "小"
        form = rng.choice(["{a}和{b}哪个更{w}？", "{a}和{b}哪个{w}？", "哪个数更{w}，{a}还是{b}？", "{a}与{b}，哪个更{w}？"])
        answer = "%d更%s。" % (winner, word)
    top, low = padded(a, b)
    question = dress(rng, lang, form.format(w=word, a=a, b=b))
    return Item(lang, "comparison", question, answer, "%s%s%s" % (top, "<" if a < b else ">", low), "? %d %d" % (a, b))


def parity(rng, lang):
    n = number(rng, rng.choice([1, 2, 3, 3]))
    even = n % 2 == 0
    if lang == "en":
        form = rng.choice(["Is {n} even or odd?", "Is {n} odd or even?", "Is the number {n} even or odd?", "Is {n} an even number?",
                           "Is {n} an odd number?", "Is {n} even?", "Is {n} odd?"])
        answer = "%d is %s." % (n, "even" if even else "odd")
    else:
        form = rng.choice(["{n}是奇数还是偶数？", "{n}是偶数还是奇数？", "数字{n}是奇数还是偶数？", "{n}是偶数吗？", "{n}是奇数吗？"])
        answer = "%d是%s。" % (n, "偶数" if even else "奇数")
    think = WORDS[lang]["last"] + str(n % 10)
    return Item(lang, "parity", dress(rng, lang, form.format(n=n)), answer, think, "parity %d" % n)


def neighbour(rng, lang):
    n = number(rng, rng.choice([1, 2, 3, 3]))
    after = n == 0 or rng.random() < 0.6
    op = "+" if after else "-"
    other = n + 1 if after else n - 1
    if lang == "en":
        form = rng.choice(["What number comes {w} {n}?", "Which number comes {w} {n}?", "What comes {w} {n}?",
                           "What is the number {w} {n}?"])
        word = "after" if after else "before"
        answer = "%d comes %s %d." % (other, word, n)
    else:
        form = rng.choice(["{n}{w}一个数是多少？", "{n}的{w}一个数是几？", "{n}{w}面一个数是多少？"])
        word = "后" if after else "前"
        answer = "%d的%s一个数是%d。" % (n, word, other)
    think = "\n".join(STEPS[op](n, 1, lang))
    return Item(lang, "neighbour", dress(rng, lang, form.format(w=word, n=n)), answer, think, "next %s %d" % (op, n))


def half_or_double(rng, lang):
    n, double = rng.randint(1, 99), rng.random() < 0.5
    op = "×" if double else "÷"
    form = rng.choice({("en", True): ["What is double {n}?", "What is twice {n}?", "Double {n}."],
                       ("en", False): ["What is half of {n}?", "Halve {n}.", "How much is half of {n}?"],
                       ("zh", True): ["{n}的两倍是多少？", "{n}的2倍是多少？"],
                       ("zh", False): ["{n}的一半是多少？", "{n}的一半是几？"]}[lang, double])
    answer = "%d %s 2 = %s%s" % (n, op, result(op, n, 2, lang), stop(lang))
    return Item(lang, "multiplication" if double else "division", dress(rng, lang, form.format(n=n)), answer,
                "\n".join(STEPS[op](n, 2, lang)), fact(op, n, 2))


NUMERALS = {"en": ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
                   "sixteen seventeen eighteen nineteen twenty").split(),
            "zh": "零 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十".split()}


def numerals(rng, lang):
    """Sums in words, up to twenty."""
    op, words = rng.choice("+-×"), NUMERALS[lang]
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if op == "×":
        a, b = min(a, 10), min(b, 10)
    a, b = (b, a) if op == "-" and a < b else (a, b)
    space = " " if lang == "en" else ""
    e = words[a] + space + rng.choice(SPOKEN[lang][op]) + space + words[b]
    form = rng.choice(ASK[lang]).format(e=e)
    answer = "%d %s %d = %s%s" % (a, op, b, result(op, a, b, lang), stop(lang))
    names = {"+": "addition", "-": "subtraction", "×": "multiplication"}
    return Item(lang, names[op], dress(rng, lang, form[:1].upper() + form[1:]), answer,
                "\n".join(STEPS[op](a, b, lang)), fact(op, a, b))


def square(rng, lang):
    n = rng.randint(2, 99)
    form = rng.choice(["What is {n} squared?", "What is the square of {n}?"] if lang == "en"
                      else ["{n}的平方是多少？", "{n}的平方等于多少？"])
    answer = "%d × %d = %d%s" % (n, n, n * n, stop(lang))
    return Item(lang, "multiplication", dress(rng, lang, form.format(n=n)), answer,
                "\n".join(multiply_steps(n, n, lang)), fact("×", n, n))


BEYOND = {"en": "That is beyond me. I add and subtract up to 999, multiply up to 99 × 99 and divide by one digit.",
          "zh": "这超出了我的能力。我会算999以内的加减、99×99以内的乘法和除以一位数的除法。"}
BY_ZERO = {"en": "Division by zero is not defined.", "zh": "不能除以零。"}


def beyond(rng, lang):
    """Sums outside the stated range get an honest answer instead of a wrong number."""
    op = rng.choice("+-×÷")
    if op == "÷" and rng.random() < 0.3:
        a, b = number(rng, rng.choice([1, 2, 3])), 0
    else:
        digits = {"+": [(4, 4), (5, 3), (3, 4), (5, 5), (4, 2), (6, 6)], "-": [(4, 4), (5, 3), (4, 3), (5, 5), (4, 1)],
                  "×": [(3, 2), (3, 3), (2, 3), (4, 2), (4, 4)], "÷": [(3, 2), (4, 2), (4, 1), (2, 2), (5, 3)]}[op]
        m, n = rng.choice(digits)
        a, b = number(rng, m), number(rng, n)
    question = dress(rng, lang, ask(rng, op, a, b, lang))
    lang = language_of(lang, question)
    answer = BY_ZERO[lang] if b == 0 else BEYOND[lang]
    return Item(lang, "beyond its range", question, answer, fact=fact(op, a, b))


def sample(rng, lang):
    roll = rng.random()
    if roll < 0.73:
        return plain(rng, lang)
    for share, make in ((0.77, beyond), (0.84, chain), (0.91, compare), (0.93, parity), (0.955, neighbour),
                        (0.97, half_or_double), (0.985, numerals)):
        if roll < share:
            return make(rng, lang)
    return square(rng, lang)
