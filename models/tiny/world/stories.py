"""Short stories that follow from an animal, a thing and a place, so that they can be marked exactly."""

from .item import Item, dress

# animal, 动物: name, trait
ANIMALS = [("fox", "狐狸", "Rufus", "clever", "聪明"), ("rabbit", "兔子", "Pip", "quick", "敏捷"),
           ("bear", "熊", "Bruno", "gentle", "温和"), ("owl", "猫头鹰", "Olga", "wise", "智慧"),
           ("mouse", "老鼠", "Tilly", "tiny", "小小"), ("turtle", "乌龟", "Otto", "patient", "耐心"),
           ("cat", "猫", "Mimi", "curious", "好奇"), ("dog", "狗", "Rex", "loyal", "忠诚"),
           ("penguin", "企鹅", "Pablo", "cheerful", "快乐"), ("elephant", "大象", "Ella", "kind", "善良"),
           ("squirrel", "松鼠", "Nutty", "busy", "忙碌"), ("whale", "鲸鱼", "Willa", "calm", "平静"),
           ("monkey", "猴子", "Momo", "playful", "爱玩"), ("duck", "鸭子", "Dora", "funny", "有趣")]
NAMES_ZH = {"fox": "小红", "rabbit": "小白", "bear": "大熊", "owl": "夜夜", "mouse": "豆豆", "turtle": "慢慢", "cat": "咪咪",
            "dog": "旺旺", "penguin": "胖胖", "elephant": "大力", "squirrel": "果果", "whale": "蓝蓝", "monkey": "皮皮",
            "duck": "丫丫"}
THINGS = [("lantern", "灯笼", "It lit the way home for a lost friend", "它照亮了迷路朋友回家的路"),
          ("key", "钥匙", "It opened a door that nobody knew", "它打开了一扇没人知道的门"),
          ("map", "地图", "It led to a quiet secret garden", "它通向一座安静的秘密花园"),
          ("bell", "铃铛", "Its sound called all the neighbours together", "它的声音把邻居们都叫来了"),
          ("boat", "小船", "It carried everyone across the water", "它载着大家过了河"),
          ("book", "书", "Its stories made the long night short", "它的故事让长夜变短了"),
          ("umbrella", "雨伞", "It kept three friends dry in the rain", "它让三个朋友在雨中不被淋湿"),
          ("kite", "风筝", "It flew higher than the clouds", "它飞得比云还高"),
          ("drum", "鼓", "Its beat made everybody dance", "它的节奏让大家跳起舞来"),
          ("blanket", "毯子", "It kept a little bird warm", "它让一只小鸟感到温暖"),
          ("mirror", "镜子", "It showed a friendly smile", "它照出了一个友好的微笑"),
          ("seed", "种子", "It grew into a tall green tree", "它长成了一棵高高的绿树")]
PLACES = [("forest", "森林", "where the old trees whispered", "那里的老树在低语"),
          ("river", "河边", "where the water sang all day", "那里的水整天歌唱"),
          ("mountain", "山上", "where the air was clear", "那里的空气很清新"),
          ("village", "村庄", "where every door was open", "那里家家都开着门"),
          ("island", "岛上", "where the waves were soft", "那里的海浪很轻柔"),
          ("garden", "花园", "where the roses never slept", "那里的玫瑰从不睡觉"),
          ("desert", "沙漠", "where the stars were bright", "那里的星星很明亮"),
          ("city", "城市", "where the lamps were golden", "那里的灯是金色的"),
          ("farm", "农场", "where the hay smelled sweet", "那里的干草很香"),
          ("lake", "湖边", "where the moon took a bath", "那里有月亮在洗澡")]
EN = ["Tell me a story about {a}, {t} and {p}.", "Write a short story about {a}, {t} and {p}.",
      "Tell a short story with {a}, {t} and {p}.", "Can you tell me a story about {a}, {t} and {p}?",
      "Please write a story with {a}, {t} and {p}.", "I want a story about {a}, {t} and {p}.",
      "Make up a story about {a}, {t} and {p}."]
ZH = ["讲一个关于{a}、{t}和{p}的故事。", "写一个关于{a}、{t}和{p}的小故事。", "请讲一个有{a}、{t}和{p}的故事。",
      "给我讲个关于{a}、{t}和{p}的故事吧。", "我想听一个关于{a}、{t}和{p}的故事。", "编一个关于{a}、{t}和{p}的故事。"]


def an(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def tell_en(animal, thing, place):
    return ("Once upon a time, %s %s named %s lived in the %s, %s. One day, %s found %s. %s. "
            "From that day on, %s was never alone, and the %s became the treasure of the %s."
            % (an(animal[3]), animal[0], animal[2], place[0], place[2], animal[2], an(thing[0]), thing[2],
               animal[2], thing[0], place[0]))


def tell_zh(animal, thing, place):
    name = NAMES_ZH[animal[0]]
    return ("从前，%s住着一只%s的%s，名叫%s，%s。有一天，%s找到了一个%s。%s。从那以后，%s再也不孤单，%s成了%s的宝物。"
            % (place[1], animal[4], animal[1], name, place[3], name, thing[1], thing[3], name, thing[1], place[1]))


SHORT = {"en": ["Tell me a story about {a}.", "Write a story about {a}.", "A story about {a}, please.",
                "Can you tell me a story about {a}?", "Tell me a short story about {a}.", "I want a story with {a}."],
         "zh": ["讲一个关于{a}的故事。", "给我讲个{a}的故事。", "写一个关于{a}的小故事。", "我想听{a}的故事。"]}
ANY = {"en": ["Tell me a story.", "Tell me a short story.", "Write a story.", "Can you tell me a story?", "A story, please.",
              "I want to hear a story.", "Write me a short story."],
       "zh": ["讲个故事。", "讲一个故事。", "给我讲个故事吧。", "写一个小故事。", "我想听故事。", "请讲一个短故事。"]}


def short(rng, lang):
    """Only the animal is given, or nothing: the rest follows from the animal's place in the list."""
    k = 0 if rng.random() < 0.25 else rng.randrange(len(ANIMALS))
    animal, thing, place = ANIMALS[k], THINGS[k % len(THINGS)], PLACES[k % len(PLACES)]
    form = rng.choice((ANY if k == 0 and rng.random() < 0.8 else SHORT)[lang])
    question = form.format(a=an(animal[0]) if lang == "en" else animal[1])
    return Item(lang, "stories", dress(rng, lang, question), (tell_en if lang == "en" else tell_zh)(animal, thing, place))


def sample(rng, lang):
    if rng.random() < 0.25:
        return short(rng, lang)
    animal, thing, place = rng.choice(ANIMALS), rng.choice(THINGS), rng.choice(PLACES)
    if lang == "en":
        bare = rng.random() < 0.15  # "a story about fox, key and river"
        slots = {"a": animal[0] if bare else an(animal[0]), "t": thing[0] if bare else an(thing[0]),
                 "p": place[0] if bare else rng.choice(["a ", "the "]) + place[0]}
        slots["p"] = slots["p"].replace("a island", "an island")
        question, answer = rng.choice(EN).format(**slots), tell_en(animal, thing, place)
    else:
        question = rng.choice(ZH).format(a=animal[1], t=thing[1], p=place[1].rstrip("上边") or place[1])
        answer = tell_zh(animal, thing, place)
    # the combination is held out, not the wording
    return Item(lang, "stories", dress(rng, lang, question), answer,
                fact="story %s %s %s %s" % (lang, animal[0], thing[0], place[0]))
