"""Reads C++ as far as tidy needs it: what is code, where functions begin and end, what stands at
namespace scope. Not a parser; it knows comments, strings, raw strings, conditional branches,
lambdas, constructors' initialiser lists and templates, and says so when braces do not balance."""

import re

RAW_STRING = re.compile(r'(?:u8|[uUL])?R"([^\s()\\"]{0,16})\(')
DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(\w+)")
ACCESS = re.compile(r"\b(?:public|protected|private)\s*:(?!:)")
TYPE_WORDS = re.compile(r"(?:typedef\s+|static\s+|const\s+|inline\s+|constexpr\s+)*"
                        r"(class|struct|union|enum)\b")
# What may stand between a parameter list and a body. A word in capitals is an attribute macro.
AFTER_PARAMETERS = re.compile(r"(?:\s|const\b|volatile\b|noexcept\b|override\b|final\b|mutable\b|"
                              r"constexpr\b|try\b|&|\[\[[^\]]*\]\]|[A-Z][A-Z0-9_]+\b)*$")

IN_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # nested twice at most


class Unbalanced(Exception):
    """Braces or brackets do not match; the argument is the line."""


def blank(text):
    """The same text as spaces, with its line ends."""
    return re.sub(r"[^\n]", " ", text)


def _end_of_quoted(text, start, quote):
    i = start + 1
    while i < len(text) and text[i] != quote and text[i] != "\n":
        i += 2 if text[i] == "\\" else 1
    return min(i + 1, len(text))


def _token(text, i):
    """(kind, end) of the comment, string or character literal at i, or None."""
    two = text[i:i + 2]
    if two == "//":
        end = i
        while True:
            end = text.find("\n", end)
            if end < 0:
                return "comment", len(text)
            if text[end - 1] != "\\":
                return "comment", end
            end += 1
    if two == "/*":
        end = text.find("*/", i + 2)
        return "comment", len(text) if end < 0 else end + 2
    before = text[i - 1] if i else " "
    if text[i] in "RuUL" and not (before.isalnum() or before == "_"):
        raw = RAW_STRING.match(text, i)
        if raw:
            end = text.find(")" + raw[1] + '"', raw.end())
            return "string", len(text) if end < 0 else end + len(raw[1]) + 2
    if text[i] == '"':
        return "string", _end_of_quoted(text, i, '"')
    if text[i] == "'" and not before.isalnum():  # between digits it separates thousands
        return "string", _end_of_quoted(text, i, "'")
    return None


def split_code(text):
    """(code, comments): both as long as text, each with everything else blanked. A string keeps its
    quotes in code and loses its content."""
    code, comments, i, plain = [], [], 0, 0
    interesting = re.compile(r"[/\"'RuUL]")
    while True:
        found = interesting.search(text, i)
        token = _token(text, found.start()) if found else None
        if found and token is None:
            i = found.start() + 1
            continue
        start = found.start() if found else len(text)
        code.append(text[plain:start])
        comments.append(blank(text[plain:start]))
        if not found:
            return "".join(code), "".join(comments)
        kind, end = token
        body = text[start:end]
        if kind == "comment":
            code.append(blank(body))
            comments.append(body)
        else:
            code.append('"' + blank(body[1:-1]) + '"' if len(body) > 1 else body)
            comments.append(blank(body))
        i = plain = end


def without_directives(code):
    """Code with preprocessor lines blanked, and of each conditional only the first branch kept, so
    that braces opened in both branches count once."""
    out, skipping, continued = [], [], False  # skipping: one truth value for each open conditional
    for line in code.split("\n"):
        directive = None if continued else DIRECTIVE.match(line)
        if directive:
            word = directive[1]
            if word in ("if", "ifdef", "ifndef"):
                skipping.append(False)
            elif word in ("else", "elif") and skipping:
                skipping[-1] = True
            elif word == "endif" and skipping:
                skipping.pop()
        drop = directive or continued or any(skipping)
        continued = bool(directive or continued) and line.endswith("\\")
        out.append(blank(line) if drop else line)
    return "\n".join(out)


def _match(code, start, line_of):
    """Index of the bracket that closes the one at start; only that kind of bracket is counted."""
    opening = code[start]
    closing = {"{": "}", "(": ")", "[": "]"}[opening]
    depth = 0
    for found in re.compile("[" + re.escape(opening + closing) + "]").finditer(code, start):
        depth += 1 if found[0] == opening else -1
        if depth == 0:
            return found.start()
    raise Unbalanced(line_of(start))


def _collapse(head, brackets):
    """Each top-level bracket pair of the head emptied: 'f(int a = {})' becomes 'f()'."""
    opening, closing = brackets
    out, depth = [], 0
    for c in head:
        if c == opening:
            if depth == 0:
                out.append(c)
            depth += 1
        elif c == closing:
            depth = max(0, depth - 1)
            if depth == 0:
                out.append(c)
        elif depth == 0:
            out.append(c)
    return "".join(out)


def _without_template_prefix(head):
    while True:
        found = re.match(r"\s*template\s*<", head)
        if not found:
            return head
        depth = 1
        i = found.end()
        while i < len(head) and depth:
            if head[i] == ">" and head[i - 1] == "-":
                i += 1
                continue
            depth += {"<": 1, ">": -1}.get(head[i], 0)
            i += 1
        head = head[i:]


def _is_lambda(head):
    """Does the text before a brace end with a lambda's introducer?"""
    head = re.sub(r"->[^(){}\[\]]*$", "", head).rstrip()
    head = re.sub(r"(?:\b(?:mutable|noexcept|constexpr)\s*)+$", "", head).rstrip()
    if head.endswith(")"):
        depth = 0
        for i in range(len(head) - 1, -1, -1):
            depth += {")": 1, "(": -1}.get(head[i], 0)
            if depth == 0:
                head = head[:i].rstrip()
                break
        if head.endswith(">"):  # [](template <class T> ...) written []<class T>(...)
            head = head[:head.rfind("<")].rstrip()
    if not head.endswith("]"):
        return False
    before = head[:head.rfind("[")].rstrip()
    return not before or before[-1] in "=(,{:?&|!;" or before.endswith("return")


def _kind(head, parens):
    """What the brace after `head` opens: scope (namespace), type, function or init."""
    if _is_lambda(head):
        return "function"
    if parens:
        return "init"
    head = _without_template_prefix(ACCESS.sub(" ", head))
    head = re.sub(r"\[\[.*?\]\]|\b(?:alignas|__attribute__)\s*" + IN_PARENTHESES, " ", head,
                  flags=re.S)
    flat = _collapse(_collapse(head, "{}"), "()").strip()
    flat = re.sub(r"\boperator\s*(?:\(\)|\[\]|[^\s\w(]+)", "operator_", flat)
    if re.search(r"(?:^|\s)namespace\b", flat) or re.fullmatch(r'extern\s*"\s*"', flat):
        return "scope"
    type_word = TYPE_WORDS.match(flat)
    if type_word and "(" not in flat:
        return "init" if type_word[1] == "enum" else "type"
    if ")" not in flat or re.search(r"(?<![=!<>])=(?!=)", flat):
        return "init"
    if re.search(r"\)[^():]*(?<!:):(?!:)", flat):  # a constructor's initialiser list
        return "function" if flat[-1] in ")}" else "init"
    after = flat[flat.rfind(")") + 1:]
    if "->" in flat or re.search(r"\)\s*(?:const\s*)?requires\b", flat) or AFTER_PARAMETERS.match(after):
        return "function"
    return "init"


def _name(head):
    if _is_lambda(head):
        return "lambda"
    flat = _without_template_prefix(ACCESS.sub(" ", head))
    macro = re.search(r"\b(TEST(?:_[FP])?)\s*\(\s*(\w+)\s*,\s*(\w+)", flat)
    if macro:
        return f"{macro[2]}.{macro[3]}"
    flat = re.sub(r"\b(?:__attribute__|[A-Z][A-Z0-9]*_[A-Z0-9_]*)\s*" + IN_PARENTHESES, " ", flat)
    found = re.search(r"(operator\s*(?:\(\)|[^\s\w(]+|\w+)|~?[A-Za-z_]\w*)\s*\(", flat)
    return found[1] if found else "lambda"


class Scan:
    """functions: (name, first line, last line, start, end), from the opening to the closing brace.
    statements: (text, start) of what ends with ';' at namespace scope, initialisers emptied.
    Raises Unbalanced."""

    def __init__(self, code):
        self.code = without_directives(code)
        self.functions = []
        self.statements = []
        starts = [0] + [m.end() for m in re.finditer("\n", code)]

        def line_of(position):
            low, high = 0, len(starts)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if starts[middle] <= position else (low, middle)
            return low + 1

        self.line_of = line_of
        self._walk()

    def _walk(self):
        code, scopes, head, parens = self.code, [], 0, 0
        i = 0
        for_brackets = re.compile(r"[{}();]")
        while True:
            found = for_brackets.search(code, i)
            if not found:
                break
            i = found.end()
            c, at = found[0], found.start()
            if c in "()":
                parens += 1 if c == "(" else -1
                if parens < 0:
                    raise Unbalanced(self.line_of(at))
            elif c == ";":
                if parens == 0:
                    self._statement(head, at, scopes)
                    head = i
            elif c == "{":
                kind = _kind(code[head:at], parens)
                if kind == "function":
                    close = _match(code, at, self.line_of)
                    self.functions.append((_name(code[head:at]), self.line_of(at),
                                           self.line_of(close), at, close))
                    i = close + 1
                    if parens == 0 and not self._goes_on(head, at):
                        head = i
                else:
                    scopes.append((kind, parens, at))
                    if kind in ("scope", "type"):
                        head = i
            else:
                if not scopes or scopes[-1][1] != parens:
                    raise Unbalanced(self.line_of(at))
                if scopes.pop()[0] in ("scope", "type"):
                    head = i
        if scopes:
            raise Unbalanced(self.line_of(scopes[-1][2]))

    def _goes_on(self, head, brace):
        """A lambda inside a declaration: the declaration ends later, at its ';'."""
        return _is_lambda(self.code[head:brace])

    def _statement(self, start, end, scopes):
        if all(kind == "scope" for kind, _, _ in scopes):
            text = _collapse(self.code[start:end], "{}")
            lead = len(text) - len(text.lstrip())
            if text.strip():
                self.statements.append((text.strip(), start + lead))
