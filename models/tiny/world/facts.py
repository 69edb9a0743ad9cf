"""Questions about capitals, continents, words, animals, colours, time and other simple facts."""

from . import tables as t
from .item import Item, dress


def item(rng, lang, category, forms, answer, **slots):
    question = rng.choice(forms).format(**slots)
    question = question[:1].upper() + question[1:]
    answer = answer.format(**slots)
    return Item(lang, category, dress(rng, lang, question), answer[:1].upper() + answer[1:])


def capital(rng, lang, country=None):
    en, zh, city, city_zh, _ = country or rng.choice(t.COUNTRIES)
    if lang == "en":
        forms = ["What is the capital of {c}?", "What is the capital city of {c}?", "What's the capital of {c}?",
                 "Which city is the capital of {c}?", "Name the capital of {c}.", "Capital of {c}?",
                 "Do you know the capital of {c}?", "What city is the capital of {c}?", "Tell me the capital of {c}.",
                 "Can you tell me the capital of {c}?", "The capital of {c} is which city?", "the capital of {c}",
                 "Capital city of {c}", "What city is {c}'s capital?", "What is {c}'s capital?", "{c}'s capital?",
                 "Where is the capital of {c}?", "What is the name of the capital of {c}?"]
        if en in ALIASES and rng.random() < 0.5:
            other = rng.choice(ALIASES[en])
            forms = [form.replace("{c}", other) for form in forms]
        return item(rng, lang, "capitals", forms, "The capital of {c} is {a}.", c=en, a=city)
    forms = ["{c}的首都是哪里？", "{c}的首都是什么？", "{c}的首都是哪个城市？", "{c}首都是哪里？", "哪个城市是{c}的首都？",
             "{c}的首都叫什么？", "你知道{c}的首都吗？", "说出{c}的首都。", "{c}的首都在哪里？", "{c}的首都", "告诉我{c}的首都。", "{c}首都", "{c}首都是哪？", "{c}首都在哪？",
             "{c}的首都是哪座城市？", "{c}的首都呢？", "{c}的首都是"]
    return item(rng, lang, "capitals", forms, "{c}的首都是{a}。", c=zh, a=city_zh)


def country_of(rng, lang):
    en, zh, city, city_zh, _ = rng.choice(t.COUNTRIES)
    if lang == "en":
        forms = ["{a} is the capital of which country?", "Which country has {a} as its capital?",
                 "{a} is the capital of what country?", "Of which country is {a} the capital?",
                 "Which country's capital is {a}?", "What country is {a} the capital of?", "Which country is {a} the capital of?",
                 "{a} is whose capital?"]
        return item(rng, lang, "capitals", forms, "{a} is the capital of {c}.", c=en, a=city)
    forms = ["{a}是哪个国家的首都？", "哪个国家的首都是{a}？", "{a}是什么国家的首都？", "以{a}为首都的国家是哪个？"]
    return item(rng, lang, "capitals", forms, "{a}是{c}的首都。", c=zh, a=city_zh)


def continent(rng, lang):
    en, zh, _, _, where = rng.choice(t.COUNTRIES)
    if lang == "en":
        forms = ["On which continent is {c}?", "Which continent is {c} in?", "What continent is {c} in?",
                 "In which continent is {c}?", "{c} is on which continent?",
                 "Where is {c}?", "What continent is {c} on?", "Which continent does {c} belong to?"]
        verb = "are" if en in ("the Philippines", "the Netherlands", "the United States") else "is"
        return item(rng, lang, "capitals", forms, "{c} {v} in {a}.", c=en, a=where, v=verb)
    forms = ["{c}在哪个洲？", "{c}位于哪个大洲？", "{c}属于哪个洲？", "{c}在哪个大洲？", "{c}是哪个洲的国家？", "{c}在哪里？", "{c}在什么洲？"]
    return item(rng, lang, "capitals", forms, "{c}在{a}。", c=zh, a=t.CONTINENTS[where])


def opposite(rng, lang):
    if lang == "en":
        a, b = rng.choice(t.OPPOSITES_EN)
        if rng.random() < 0.4 and (a, b) not in (("heavy", "light"), ("right", "wrong"), ("left", "right")):
            a, b = b, a
        if a in ("light", "right", "short"):
            a, b = {"light": ("light", "dark"), "right": ("right", "wrong"), "short": ("short", "tall")}[a]
        forms = ["What is the opposite of {q}{a}{q}?", "What's the opposite of {q}{a}{q}?", "Opposite of {q}{a}{q}?",
                 "Give me the opposite of {q}{a}{q}.", "Which word is the opposite of {q}{a}{q}?",
                 "What is the antonym of {q}{a}{q}?", "What word means the opposite of {q}{a}{q}?", "{q}{a}{q} is the opposite of what?"]
        return item(rng, lang, "words", forms, "The opposite of {a} is {b}.", a=a, b=b, q=rng.choice(["", "", "'", '"']))
    a, b = rng.choice(t.OPPOSITES_ZH)
    if rng.random() < 0.4:
        a, b = b, a
    left, right = rng.choice([("“", "”"), ("", ""), ("“", "”")])
    forms = ["{l}{a}{r}的反义词是什么？", "{l}{a}{r}的反义词是？", "请说出{l}{a}{r}的反义词。", "{l}{a}{r}的反义词是哪个词？",
             "什么是{l}{a}{r}的反义词？"]
    return item(rng, lang, "words", forms, "“{a}”的反义词是“{b}”。", a=a, b=b, l=left, r=right)


def translation(rng, lang):
    en, zh = rng.choice(t.DICTIONARY)
    q = rng.choice(["", "'", '"', "'"])
    left, right = rng.choice([("“", "”"), ("", ""), ("“", "”")])
    if lang == "en":
        forms = ["How do you say {q}{a}{q} in Chinese?", "What is {q}{a}{q} in Chinese?", "Translate {q}{a}{q} into Chinese.",
                 "What is the Chinese word for {q}{a}{q}?", "Translate {q}{a}{q} to Chinese.",
                 "How is {q}{a}{q} said in Chinese?", "{q}{a}{q} in Chinese?", "What's {q}{a}{q} in Chinese?",
                 "How do you write {q}{a}{q} in Chinese?", "Say {q}{a}{q} in Chinese."]
        return item(rng, lang, "words", forms, "In Chinese, {a} is {b}.", a=en, b=zh, q=q)
    forms = ["{l}{b}{r}用英语怎么说？", "{l}{b}{r}的英文是什么？", "把{l}{b}{r}翻译成英语。", "{l}{b}{r}用英文怎么说？",
             "{l}{b}{r}的英语单词是什么？", "{l}{b}{r}英语怎么说？", "{l}{b}{r}的英语是什么？", "英语里{l}{b}{r}怎么说？"]
    return item(rng, lang, "words", forms, "“{b}”的英语是{a}。", a=en, b=zh, l=left, r=right)


def animal(rng, lang):
    en, zh, sound, sound_zh, young, young_zh, legs = rng.choice(t.ANIMALS)
    kind = rng.randrange(3)
    an = "an " + en if en[0] in "aeiou" else "a " + en
    if lang == "en":
        forms = [["What sound does {n} make?", "What noise does {n} make?", "Which sound does {n} make?",
                  "How does {n} sound?"],
                 ["What is a baby {e} called?", "What do you call a baby {e}?", "What is the name for a baby {e}?",
                  "What is the young of {n} called?"],
                 ["How many legs does {n} have?", "How many legs has {n}?", "How many legs are there on {n}?",
                  "What number of legs does {n} have?"]][kind]
        answer = ["{n} {s}.", "A baby {e} is called a {y}.", "{n} has {g} legs."][kind]
        if young[0] in "aeiou":
            answer = answer.replace("called a ", "called an ")
        return item(rng, lang, "animals", forms, answer, n=an, e=en, s=sound, y=young, g=legs)
    forms = [["{z}怎么叫？", "{z}的叫声是什么？", "{z}发出什么声音？", "{z}是怎么叫的？"],
             ["{z}的幼崽叫什么？", "{z}的宝宝叫什么？", "刚出生的{z}叫什么？"],
             ["{z}有几条腿？", "{z}有多少条腿？", "一只{z}有几条腿？"]][kind]
    answer = ["{z}的叫声是{s}。", "{z}的幼崽叫{y}。", "{z}有{g}条腿。"][kind]
    return item(rng, lang, "animals", forms, answer, z=zh, s=sound_zh, y=young_zh, g=legs)


def colour(rng, lang):
    en, zh, c, c_zh = rng.choice(t.COLOURS)
    if lang == "en":
        forms = ["What colour is {n}?", "What color is {n}?", "Which colour is {n}?", "What is the colour of {n}?",
                 "What is the color of {n}?", "Tell me the colour of {n}.", "What colour does {n} have?",
                 "What color does {n} have?"]
        return item(rng, lang, "colours and shapes", forms, "{n} is {c}.", n=en, c=c)
    forms = ["{n}是什么颜色的？", "{n}是什么颜色？", "{n}的颜色是什么？", "{n}是哪种颜色？", "说说{n}的颜色。"]
    return item(rng, lang, "colours and shapes", forms, "{n}是{c}的。", n=zh, c=c_zh)


def shape(rng, lang):
    en, zh, n = rng.choice(t.SHAPES)
    part = rng.randrange(2)
    if lang == "en":
        word = ["sides", "corners"][part]
        a = "an " + en if en[0] in "aeiou" else "a " + en
        forms = ["How many {w} does {s} have?", "How many {w} has {s}?", "How many {w} are there in {s}?",
                 "What number of {w} does {s} have?"]
        return item(rng, lang, "colours and shapes", forms, "{s} has {n} {w}.", s=a, w=word, n=n)
    word = ["边", "角"][part]
    forms = ["{s}有几条{w}？" if part == 0 else "{s}有几个{w}？", "{s}有多少条{w}？" if part == 0 else "{s}有多少个{w}？",
             "一个{s}有几条{w}？" if part == 0 else "一个{s}有几个{w}？"]
    answer = "{s}有{n}条{w}。" if part == 0 else "{s}有{n}个{w}。"
    return item(rng, lang, "colours and shapes", forms, answer, s=zh, w=word, n=n)


def sequence(rng, lang, names, names_zh, en_forms, zh_forms, category):
    i, after = rng.randrange(len(names)), rng.random() < 0.5
    j = (i + (1 if after else -1)) % len(names)
    if lang == "en":
        return item(rng, lang, category, en_forms, "{b} comes {w} {a}.", a=names[i], b=names[j],
                    w="after" if after else "before")
    return item(rng, lang, category, zh_forms, "{a}的{w}{u}是{b}。", a=names_zh[i], b=names_zh[j],
                w=("下" if after else "上") if names is t.MONTHS else ("后" if after else "前"),
                u="个月" if names is t.MONTHS else "一天")


def calendar(rng, lang):
    kind = rng.random()
    if kind < 0.3:
        return sequence(rng, lang, t.MONTHS, t.MONTHS_ZH,
                        ["Which month comes {w} {a}?", "What month comes {w} {a}?", "What is the month {w} {a}?",
                         "Which month is {w} {a}?"],
                        ["{a}的{w}{u}是几月？", "{a}的{w}{u}是哪个月？", "{a}{w}{u}是几月？"], "calendar")
    if kind < 0.6:
        return sequence(rng, lang, t.DAYS, t.DAYS_ZH,
                        ["Which day comes {w} {a}?", "What day comes {w} {a}?", "What is the day {w} {a}?",
                         "Which day is {w} {a}?"],
                        ["{a}的{w}{u}是星期几？", "{a}{w}{u}是星期几？", "{a}的{w}{u}是哪天？"], "calendar")
    i = rng.randrange(12)
    if kind < 0.8:
        if lang == "en":
            forms = ["How many days does {m} have?", "How many days are there in {m}?", "How many days are in {m}?",
                     "How long is {m} in days?"]
            return item(rng, lang, "calendar", forms, "{m} has {n} days.", m=t.MONTHS[i], n=t.MONTH_DAYS[i])
        forms = ["{m}有几天？", "{m}有多少天？", "{m}一共有多少天？"]
        return item(rng, lang, "calendar", forms, "{m}有{n}天。", m=t.MONTHS_ZH[i], n=t.MONTH_DAYS[i])
    i = rng.randrange(8)
    if lang == "en":
        forms = ["What is the {o} planet from the sun?", "Which planet is the {o} from the sun?",
                 "Which is the {o} planet from the sun?", "Name the {o} planet from the sun."]
        return item(rng, lang, "calendar", forms, "The {o} planet from the sun is {p}.", o=t.ORDINALS[i], p=t.PLANETS[i])
    forms = ["离太阳第{o}近的行星是哪颗？", "离太阳第{o}近的行星是什么？", "太阳系第{o}颗行星是什么？", "太阳系的第{o}颗行星是哪颗？"]
    return item(rng, lang, "calendar", forms, "离太阳第{o}近的行星是{p}。", o="一二三四五六七八"[i], p=t.PLANETS_ZH[i])


UNITS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
         "seventeen eighteen nineteen").split()
TENS = "x x twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(n, lang):
    if lang == "zh":
        digits = "零一二三四五六七八九"
        if n == 100:
            return "一百"
        if n < 10:
            return digits[n]
        return ("" if n < 20 else digits[n // 10]) + "十" + ("" if n % 10 == 0 else digits[n % 10])
    if n == 100:
        return "one hundred"
    if n < 20:
        return UNITS[n]
    return TENS[n // 10] + ("" if n % 10 == 0 else "-" + UNITS[n % 10])


def number_words(rng, lang):
    n = rng.randint(0, 100)
    if lang == "en":
        forms = ["How do you write {n} in words?", "Write {n} in words.", "How is {n} written in words?",
                 "Spell the number {n} in words.", "What is {n} in words?"]
        return item(rng, lang, "words", forms, "{n} in words is {w}.", n=n, w=in_words(n, lang))
    forms = ["{n}用汉字怎么写？", "{n}用中文怎么写？", "把{n}写成汉字。", "数字{n}的汉字写法是什么？"]
    return item(rng, lang, "words", forms, "{n}写作{w}。", n=n, w=in_words(n, lang))


def misc(rng, lang):
    en, zh, answer, answer_zh = rng.choice(t.MISC)
    if lang == "en":
        question = rng.choice(en.split("/"))
        forms = [question + "?", question + "?", "Do you know: " + lower(question) + "?", "Can you say: " + question + "?"]
        return item(rng, lang, "general facts", forms, answer)
    question = rng.choice(zh.split("/"))
    return item(rng, lang, "general facts", [question + "？", "你知道" + question + "吗？", "请回答：" + question + "？"], answer_zh)


def lower(text):
    return text[:1].lower() + text[1:]


ALIASES = {"the United States": ["the USA", "the US", "America"], "the United Kingdom": ["the UK", "Britain"],
           "the Czech Republic": ["Czechia"]}
KINDS = [(capital, 28), (country_of, 11), (continent, 11), (opposite, 11), (translation, 15), (animal, 8), (colour, 5),
         (shape, 4), (calendar, 12), (number_words, 6), (misc, 8)]


def sample(rng, lang):
    make = rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
    return make(rng, lang)
