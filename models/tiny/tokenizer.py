"""Byte-level BPE with DeepSeek-V3's pre-tokeniser: encode, decode, and training of the merges.

Standard library only, so that the numpy reference and the training use the very same code.
Digits never take part in a merge: each digit is one token, which is what makes arithmetic learnable.
"""

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT, THINK, END_THINK = "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"
CONTROL = [BOS, EOS, PAD, USER, ASSISTANT]  # GGUF token type 3
USER_DEFINED = [THINK, END_THINK]           # GGUF token type 4: shown as text
SPECIALS = CONTROL + USER_DEFINED
MAX_OTHER_BYTES = 12  # a Chinese token is at most four characters long: whole phrases would hide the words in them


def byte_alphabet():
    """GPT-2's table: each byte has a printable character that stands for it."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for byte in range(256):
        if byte in keep:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


BYTE_TO_CHAR = byte_alphabet()
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def _classes():
    """Character ranges of the Unicode categories L, M, N, P, S, which Python's `re` cannot name."""
    ranges = defaultdict(list)
    for code in range(sys.maxunicode + 1):
        major = unicodedata.category(chr(code))[0]
        if major in "LMNPS":
            spans = ranges[major]
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    return {k: "".join("\\U%08x-\\U%08x" % (a, b) for a, b in v) for k, v in ranges.items()}


@lru_cache(maxsize=1)
def split_patterns():
    c = _classes()
    letters, punct = c["L"] + c["M"], c["P"] + c["S"]
    ascii_punct = re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    words = ("[" + ascii_punct + "][A-Za-z]+"
             "|[^\\r\\n" + c["L"] + punct + "]?[" + letters + "]+"
             "| ?[" + punct + "]+[\\r\\n]*"
             "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
    return [re.compile("[" + c["N"] + "]{1,3}"), re.compile("[一-龥぀-ゟ゠-ヿ]+"), re.compile(words)]


# The same three patterns as a Hugging Face tokenizer.json spells them.
HF_PATTERNS = [
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
]


def pre_tokenize(text):
    """Each pattern isolates its matches inside the pieces that the one before left."""
    pieces = [text]
    for pattern in split_patterns():
        following = []
        for piece in pieces:
            at = 0
            for match in pattern.finditer(piece):
                if match.start() > at:
                    following.append(piece[at:match.start()])
                if match.end() > match.start():
                    following.append(match.group())
                at = match.end()
            if at < len(piece):
                following.append(piece[at:])
        pieces = following
    return pieces


def to_chars(piece):
    return "".join(BYTE_TO_CHAR[b] for b in piece.encode("utf-8"))


class Tokenizer:
    def __init__(self, merges, vocab_size):
        self.merges = [tuple(pair) for pair in merges]
        tokens = [BYTE_TO_CHAR[b] for b in range(256)] + [a + b for a, b in self.merges]
        self.special_base = len(tokens)
        tokens += SPECIALS
        if len(tokens) > vocab_size:
            raise ValueError("%d tokens do not fit %d" % (len(tokens), vocab_size))
        tokens += ["<｜reserved▁%d｜>" % i for i in range(vocab_size - len(tokens))]
        self.tokens = tokens
        self.ids = {token: i for i, token in enumerate(tokens)}
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        self.cache = {}
        self.special_split = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")
        self.bos, self.eos, self.pad = self.ids[BOS], self.ids[EOS], self.ids[PAD]

    def _bpe(self, piece):
        known = self.cache.get(piece)
        if known is not None:
            return known
        parts = list(to_chars(piece))
        while len(parts) > 1:
            ranks = [self.rank.get(pair, 1 << 30) for pair in zip(parts, parts[1:])]
            best = min(ranks)
            if best == 1 << 30:
                break
            at = ranks.index(best)
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        ids = [self.ids[part] for part in parts]
        if len(self.cache) < 200000:
            self.cache[piece] = ids
        return ids

    def encode(self, text):
        out = []
        for part in self.special_split.split(text):
            if part in SPECIALS:
                out.append(self.ids[part])
            elif part:
                for piece in pre_tokenize(part):
                    out.extend(self._bpe(piece))
        return out

    def decode(self, ids):
        out, raw = [], bytearray()
        for i in ids:
            token = self.tokens[i]
            if i >= self.special_base:
                out.append(raw.decode("utf-8", "replace") + token)
                raw = bytearray()
            else:
                raw.extend(CHAR_TO_BYTE[c] for c in token)
        return "".join(out) + raw.decode("utf-8", "replace")

    def token_types(self):
        user = {self.ids[t] for t in USER_DEFINED}
        return [1 if i < self.special_base else 4 if i in user else 3 for i in range(len(self.tokens))]

    def save(self, path):
        with open(path, "w", encoding="utf-8") as out:
            json.dump({"vocab_size": len(self.tokens), "merges": [" ".join(p) for p in self.merges]}, out,
                      ensure_ascii=False, indent=0)

    @staticmethod
    def load(path):
        with open(path, encoding="utf-8") as source:
            data = json.load(source)
        return Tokenizer([m.split(" ") for m in data["merges"]], data["vocab_size"])


def train_merges(texts, merge_count, min_count=3):
    """Plain BPE: join the most frequent pair, again and again, and keep pair counts up to date."""
    words = Counter()
    for text in texts:
        words.update(p for p in pre_tokenize(text) if not p[0].isdigit())
    parts = [list(to_chars(word)) for word in words]
    counts = list(words.values())
    pairs, where = Counter(), defaultdict(set)
    for i, word in enumerate(parts):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[i]
            where[pair].add(i)
    merges, made = [], set()
    while len(merges) < merge_count and pairs:
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < min_count:
            break
        joined = best[0] + best[1]
        too_long = len(joined) > MAX_OTHER_BYTES and CHAR_TO_BYTE[joined[0]] >= 0x80
        if joined in made or too_long:  # a second way to a known token would give the token two ids
            pairs[best] = -1 << 60
            continue
        made.add(best[0] + best[1])
        merges.append(best)
        for i in list(where[best]):
            word, n = parts[i], counts[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= n
                if pairs[pair] <= 0:
                    del pairs[pair]
                where[pair].discard(i)
            at, joined = 0, []
            while at < len(word):
                if at + 1 < len(word) and (word[at], word[at + 1]) == best:
                    joined.append(word[at] + word[at + 1])
                    at += 2
                else:
                    joined.append(word[at])
                    at += 1
            parts[i] = joined
            for pair in zip(joined, joined[1:]):
                pairs[pair] += n
                where[pair].add(i)
    return merges
