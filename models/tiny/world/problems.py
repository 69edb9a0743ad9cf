"""Word problems of one or two steps, numbers up to 99."""

from .arithmetic import STEPS, number
from .item import Item, dress, lower_first

NAMES = {"en": ["Tom", "Anna", "Ben", "Lucy", "Sam", "Emma", "Jack", "Mia", "Leo", "Nina", "Max", "Ella", "Sarah", "John", "Mary", "Bob",
                "Alice", "Peter", "Kate", "David", "Lily", "Paul", "Jane", "Mike", "Sophie", "Adam", "Eva", "Mark", "Rose"],
         "zh": ["小明", "小红", "小华", "小丽", "小刚", "小芳", "小军", "小美", "小强", "小兰", "小王", "小李", "小张", "妈妈", "爷爷", "老师"]}
THINGS = {"en": ["apples", "books", "pens", "coins", "eggs", "cards", "stones", "shells", "stamps", "balls", "oranges",
                 "candies", "toys", "marbles", "flowers", "cookies", "cups", "stickers", "bananas", "pencils", "dollars", "cakes"],
          "zh": ["个苹果", "本书", "支笔", "枚硬币", "个鸡蛋", "张卡片", "块石头", "个贝壳", "张邮票", "个球", "个橙子", "颗糖", "朵花", "个玩具", "块饼干", "个杯子", "个梨", "元钱", "只鸡", "辆车"]}
MORE = {"en": ["{n} has {a} {t} and buys {b} more.", "{n} has {a} {t} and gets {b} more.",
               "{n} has {a} {t}. {n} finds {b} more.", "{n} has {a} {t}. {n} buys {b} more.", "{n} had {a} {t} and then bought {b} more.",
               "{n} has {a} {t}. A friend gives {n} {b} more.", "{n} had {a} {t} and found {b} more {t}.",
               "If {n} has {a} {t} and gets {b} more,", "{n} has {a} {t} and buys {b} more {t}."],
        "zh": ["{n}有{a}{t}，又买了{b}{u}。", "{n}有{a}{t}，又得到{b}{u}。", "{n}原来有{a}{t}，后来又拿到{b}{u}。", "{n}有{a}{t}，朋友又给了{b}{u}。", "{n}有{a}{t}，再买{b}{u}，"]}
LESS = {"en": ["{n} has {a} {t} and gives away {b}.", "{n} has {a} {t} and loses {b}.",
               "{n} has {a} {t}. {n} sells {b}.", "{n} has {a} {t}. {n} eats {b}.", "{n} had {a} {t} and gave away {b}.",
               "{n} has {a} {t} and uses {b}.", "{n} had {a} {t} and lost {b} of them.", "{n} has {a} {t}. {n} gives {b} to a friend.",
               "If {n} has {a} {t} and gives away {b},", "{n} has {a} {t} and eats {b}.", "{n} has {a} {t} and spends {b}.", "{n} had {a} {t} and sold {b} {t}."],
        "zh": ["{n}有{a}{t}，送给别人{b}{u}。", "{n}有{a}{t}，丢了{b}{u}。", "{n}原来有{a}{t}，用掉了{b}{u}。", "{n}有{a}{t}，卖了{b}{u}。", "{n}有{a}{t}，给了朋友{b}{u}，", "{n}有{a}{t}，吃了{b}{u}，", "{n}有{a}{t}，花了{b}{u}。"]}
THEN_MORE = {"en": ["Then {n} gets {c} more.", "Then {n} buys {c} more."], "zh": ["然后又得到{c}{u}。", "然后又买了{c}{u}。"]}
THEN_LESS = {"en": ["Then {n} gives away {c}.", "Then {n} loses {c}."], "zh": ["然后送给别人{c}{u}。", "然后丢了{c}{u}。"]}
ASK = {"en": ["How many {t} does {n} have now?", "How many {t} does {n} have?", "How many {t} are left?", "How many are left?",
              "How many are there now?", "How many {t} does {n} have in total?"],
       "zh": ["{n}现在有多少{t}？", "现在{n}有几{t}？", "还剩多少{t}？", "还剩几{u}？", "{n}一共有多少{t}？"]}
EACH = {"en": ["There are {a} boxes with {b} {t} each. How many {t} are there in total?",
               "{n} has {a} bags with {b} {t} in each bag. How many {t} does {n} have?",
               "{n} buys {a} boxes. Each box holds {b} {t}. How many {t} is that?",
               "Each box has {b} {t}. How many {t} are in {a} boxes?", "How many {t} are in {a} bags of {b} {t}?"],
        "zh": ["有{a}个盒子，每个盒子里有{b}{t}，一共有多少{t}？", "{n}有{a}个袋子，每袋有{b}{t}，{n}一共有多少{t}？", "每盒有{b}{t}，{a}盒一共有多少{t}？"]}


def count(rng):
    return number(rng, rng.choice([1, 2, 2, 2]))


def totals(rng, lang):
    a, b, c = count(rng), count(rng), count(rng)
    name, k = rng.choice(NAMES[lang]), rng.randrange(len(THINGS[lang]))
    thing = THINGS[lang][k]
    first = "+" if a < b or rng.random() < 0.5 else "-"
    total = a + b if first == "+" else a - b
    text = rng.choice((MORE if first == "+" else LESS)[lang])
    think, key = STEPS[first](a, b, lang), "%s %d %d" % (first, a, b)
    second = first
    if rng.random() < 0.35 and text[-1] not in ",，":
        second = "+" if total < c or rng.random() < 0.5 else "-"
        text += (" " if lang == "en" else "") + rng.choice((THEN_MORE if second == "+" else THEN_LESS)[lang])
        think = think + STEPS[second](total, c, lang)
        key = "%d%s%d%s%d" % (a, first, b, second, c)
        total = total + c if second == "+" else total - c
    left, total_only = {"en": (2, 5), "zh": (2, 4)}[lang]  # "left" is asked after a loss, "in total" after a gain
    asks = ASK[lang]
    ask = rng.choice(asks[:total_only] if second == "-" else asks[:left] + asks[total_only:])
    text += (" " if lang == "en" else "") + (lower_first(ask) if text[-1] == "," else ask)
    question = text.format(n=name, a=a, b=b, c=c, t=thing, u=thing[:1])
    roll = rng.random()
    if roll < 0.3:
        question = pronouns(lang, question, name)
    elif roll < 0.42:
        return first_person(rng, lang, question, name, total, thing, think, key)
    answer = ("{n} has {r} {t}." if lang == "en" else "{n}有{r}{t}。").format(n=name, r=total, t=thing)
    return Item(lang, "word problem", question, answer, "\n".join(think), key)


GIRLS = {"Anna", "Lucy", "Emma", "Mia", "Nina", "Ella", "Sarah", "Mary", "Alice", "Kate", "Lily", "Jane", "Sophie", "Eva",
         "Rose", "小红", "小丽", "小芳", "小美", "小兰", "妈妈"}


def pronouns(lang, question, name):
    """Anna has 3 pens. She buys 2 more. How many pens does she have?"""
    girl, first = name in GIRLS, question.index(name) + len(name)
    head, tail = question[:first], question[first:]
    if lang == "zh":
        return head + tail.replace(name, "她" if girl else "他")
    he, him = ("She", "her") if girl else ("He", "him")
    for old, new in ((" does " + name, " does " + he.lower()), ("with " + name, "with " + him),
                     ("gives " + name, "gives " + him), (". " + name, ". " + he), ("Then " + name, "Then " + he.lower()),
                     (name, he.lower())):
        tail = tail.replace(old, new)
    return head + tail


def first_person(rng, lang, question, name, total, thing, think, key):
    if lang == "zh":
        question, answer = question.replace(name, "我"), "你有%d%s。" % (total, thing)
    else:
        words = [(" does %s " % name, " do I "), ("%s has " % name, "I have "), ("%s had " % name, "I had "),
                 ("gives %s " % name, "gives me "), ("with %s" % name, "with me"), (name, "I")]
        for old, new in words:
            question = question.replace(old, new)
        for verb in ("buys", "gets", "finds", "gives away", "loses", "sells", "uses", "eats", "spends"):
            base = verb.replace("loses", "lose").replace("uses", "use")
            base = base.replace("gives away", "give away").rstrip("s") if verb not in ("loses", "uses") else base
            question = question.replace("and " + verb, "and " + base).replace("I " + verb, "I " + base)
        answer = "You have %d %s." % (total, thing)
    return Item(lang, "word problem", dress(rng, lang, question) if lang == "zh" else question, answer, "\n".join(think), key)


def products(rng, lang):
    a, b = rng.randint(2, 20), rng.randint(2, 50)
    form = rng.choice(EACH[lang])
    name, thing = rng.choice(NAMES[lang]), rng.choice(THINGS[lang])
    question = form.format(n=name, a=a, b=b, t=thing)
    answer = ("There are {r} {t}." if lang == "en" else "一共有{r}{t}。").format(r=a * b, t=thing)
    return Item(lang, "word problem", question, answer, "\n".join(STEPS["×"](a, b, lang)), "× %d %d" % (a, b))


def sample(rng, lang):
    return products(rng, lang) if rng.random() < 0.25 else totals(rng, lang)
