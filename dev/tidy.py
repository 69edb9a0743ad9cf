#!/usr/bin/python3
"""Checks properties of the tree itself; run by ctest as `tidy`. What it holds is in STYLE.md.

    dev/tidy.py [ROOT]      0: clean, 1: violations, each as  file:line: rule: found X, wanted Y

Every rule has a planted violation and a legal twin in tests/tidy/tidy_test.py."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cpp_scan  # noqa: E402

FILE_LINES_MAX = 600
INL_LINES_MAX = 1500
FUNCTION_LINES_MAX = 70
KERNEL_LINES_MAX = 200
BLOB_BYTES_MAX = 1 << 20
BLOB_HOMES = ("models/tiny/",)

CPP_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
HEADER_SUFFIXES = {".h", ".cuh"}
SCRIPT_SUFFIXES = {".py", ".sh", ".cmake"}
SCRIPT_NAMES = {"CMakeLists.txt", "CMakePresets.json", "run", "test"}
SIDE_SUFFIXES = ("_test", "_bench", "_fuzz")  # may print, and may use their own libraries
PRINTING_ROOMS = {"base", "apps"}

ALL_ROOMS = None
# (what an include looks like, rooms or folders below src/hadal that may have it, in headers too).
# cmake/vendors.cmake holds the same table for linking.
VENDORS = [
    (r"boost/json/fwd\.hpp", {"api", "text", "format", "model", "tools", "apps"}, True),
    (r"boost/json(\.hpp|/.*)", {"api", "text", "format", "model", "tools", "apps"}, False),
    (r"boost/.*", {"net"}, False),
    (r"openssl/.*", {"net", "gateway"}, False),
    (r"pcre2\.h|utf8proc\.h", {"text"}, False),
    (r"spdlog/.*|CLI/.*", {"apps"}, True),
    (r"yaml-cpp/.*", {"gateway"}, False),
    (r"sqlite3\.h|hiredis/.*|libpq-fe\.h|postgresql/.*|faiss/.*", {"gateway"}, False),
    (r"tl/expected\.hpp", {"base"}, True),
    (r"fmt/.*", ALL_ROOMS, False),
    (r"(?:[a-z]mm|imm|x86|x86gpr)intrin\.h|arm_neon\.h", {"kernels/cpu", "hw"}, True),
    (r"cpuid\.h", {"hw"}, False),
    (r"cuda\w*\.h|cub/.*|cublas\w*\.h|nv\w*\.h", {"kernels/cuda", "comm/nccl"}, True),
    (r"nccl\.h", {"comm/nccl"}, True),
    (r"mpi\.h", {"comm/mpi"}, True),
    (r"grpc(pp|\+\+)?/.*", {"net"}, False),
]
SIDE_VENDORS = {"gtest": "_test", "gmock": "_test", "benchmark": "_bench"}
SYSTEM = re.compile(r"[a-z0-9_]+|(?:sys|linux|netinet|arpa|net|asm|bits)/[\w./]+\.h|(?:unistd|fcntl|"
                    r"sched|pthread|signal|poll|termios|dirent|dlfcn|netdb|execinfo|elf|link|errno|"
                    r"time|string|stdint|stdlib|stdio|math|limits|float|locale|numa|spawn|glob|"
                    r"syslog|grp|pwd|malloc|semaphore|ucontext|fenv|cxxabi)\.h")

# A call of the C or std function, not of a member or of another namespace's.
FREE = r"(?:(?<=\bstd::)|(?<=\bfmt::)|(?<!\w::)(?<![\w.>]))"
BANNED = [
    ("print", r"\bstd\s*::\s*(?:cout|cerr|clog)\b", "a LogSink (base/log.h)"),
    ("print", FREE + r"(?:v?f?printf|f?puts|putchar|perror|print|println)\s*\(",
     "a LogSink (base/log.h)"),
    ("exit", FREE + r"(?:(?:_?exit|_Exit|quick_exit)\s*\(|(?:abort|terminate)\s*\(\s*\))",
     "a Result or HADAL_CHECK"),
    ("getenv", FREE + r"(?:secure_)?getenv\s*\(", "an option handed down from apps"),
]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:<([^>\n]+)>|"([^"\n]+)")', re.M)
MARKERS = re.compile(r"\b(?:FIX" + r"ME|TO" + r"DO)\b(?!\(#\d+\))")
MACHINE_FLAG = re.compile(r"-march=|-mcpu=|-mtune=native|-m(?:avx|fma|sse|f16c|amx|bmi)\w*|-Ofast|"
                          r"-ffast-math")
ABSOLUTE = re.compile(r"(?<![\w.\-}$)*])/(?:work|root|home)/\w")
NOT_A_VARIABLE = re.compile(r"(?:using|typedef|template|extern|friend|class|struct|enum|union|namespace|"
                            r"static_assert|requires|concept|asm|goto|return)\b|#")
CONSTANT = re.compile(r"\b(?:const|constexpr|consteval)\b")


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.found = []
        self.layers = {}

    def report(self, path, line, rule, found, wanted):
        self.found.append((str(path), line, f"{path}:{line}: {rule}: found {found}, wanted {wanted}"))

    def files(self):
        """What belongs to the tree: as git sees it, or everything where there is no git."""
        if (self.root / ".git").exists():
            listed = subprocess.run(
                ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others",
                 "--exclude-standard"], check=True, stdout=subprocess.PIPE).stdout
            names = sorted(set(listed.decode().split("\0")) - {""})
        else:
            names = sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*")
                           if "build" not in p.relative_to(self.root).parts[:1])
        return [n for n in names if (self.root / n).is_file()]

    # LAYERS ------------------------------------------------------------------------------------

    def read_layers(self):
        path = self.root / "LAYERS"
        if not path.exists():
            return self.report("LAYERS", 1, "layers", "no such file", "one line a room")
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            room, colon, names = line.partition(":")
            if not colon:
                self.report("LAYERS", number, "layers", f"'{line}'", "'room: rooms it may include'")
                continue
            if room in self.layers:
                self.report("LAYERS", number, "layers", f"'{room}' a second time", "each room once")
            for name in names.split():
                if name not in self.layers:
                    self.report("LAYERS", number, "layers", f"'{room}' naming '{name}'",
                                "only rooms above it")
            self.layers[room] = set(names.split())

    # One file -----------------------------------------------------------------------------------

    def check_file(self, name):
        path = pathlib.PurePosixPath(name)
        full = self.root / name
        size = full.stat().st_size
        if size > BLOB_BYTES_MAX and not name.startswith(BLOB_HOMES):
            self.report(name, 1, "blob", f"{size} bytes",
                        f"at most {BLOB_BYTES_MAX} outside {', '.join(BLOB_HOMES)}")
        if size > BLOB_BYTES_MAX:
            return
        try:
            text = full.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return  # not text: nothing more to hold
        self.check_paths(name, text)
        if path.suffix in CPP_SUFFIXES:
            self.check_length(name, text)
            self.check_cpp(name, path, text)
        elif path.suffix in SCRIPT_SUFFIXES or path.name in SCRIPT_NAMES:
            self.check_length(name, text)
            self.check_markers(name, text)
        if path.name in ("CMakeLists.txt", "CMakePresets.json") or path.suffix == ".cmake":
            code = text if path.suffix == ".json" else re.sub(r"#[^\n]*", "", text)
            for m in MACHINE_FLAG.finditer(code):
                self.report(name, line_at(code, m.start()), "machine-flag", f"'{m[0]}'",
                            "a baseline build; instruction sets are regions in kernels/cpu")

    def check_length(self, name, text):
        limit = INL_LINES_MAX if name.endswith("-inl.h") else FILE_LINES_MAX
        lines = text.count("\n") + (not text.endswith("\n") and text != "")
        if lines > limit:
            self.report(name, limit + 1, "file-length", f"{lines} lines", f"at most {limit}")

    def check_paths(self, name, text):
        for m in ABSOLUTE.finditer(text):
            self.report(name, line_at(text, m.start()), "absolute-path",
                        f"'{text[m.start():m.end() + 20].split()[0]}'", "a path relative to the tree")

    def check_markers(self, name, text):
        for m in MARKERS.finditer(text):
            wanted = "it finished" if m[0].startswith("FIX") else m[0] + "(#issue)"
            self.report(name, line_at(text, m.start()), "marker", f"'{m[0]}'", wanted)

    def check_cpp(self, name, path, text):
        code, comments = cpp_scan.split_code(text)
        self.check_markers(name, comments)
        in_src = name.startswith("src/hadal/")
        where = path.relative_to("src/hadal") if in_src else path
        room = where.parts[0] if in_src and len(where.parts) > 1 else None
        side = is_side(path) or not in_src
        # An -inl.h may be included once for each instruction set, so it need not have the pragma.
        once = path.suffix in HEADER_SUFFIXES and not name.endswith("-inl.h")
        if once and not re.search(r"^#pragma once$", text, re.M):
            self.report(name, 1, "pragma-once", "no '#pragma once'", "it in every header")
        if in_src and room not in self.layers:
            return self.report(name, 1, "layers", f"room '{room}'", "a room that LAYERS lists")
        self.check_includes(name, path, where, room, code, text)
        try:
            scan = cpp_scan.Scan(code)
        except cpp_scan.Unbalanced as problem:
            return self.report(name, problem.args[0], "braces", "one that nothing matches",
                               "braces that balance in the first branch of each #if")
        kernel = in_src and room == "kernels"
        limit = KERNEL_LINES_MAX if kernel else FUNCTION_LINES_MAX
        for function, first, last, _, _ in scan.functions:
            if last - first + 1 > limit:
                self.report(name, first, "function-length", f"'{function}' of {last - first + 1} lines",
                            f"at most {limit}")
        if in_src and not side:
            if room not in PRINTING_ROOMS:
                self.check_banned(name, code)
            if room != "apps":
                self.check_state(name, room, scan)

    # Includes -----------------------------------------------------------------------------------

    def check_includes(self, name, path, where, room, code, text):
        own = name[len("src/"):-len(path.suffix)] + ".h" if room else None
        for count, m in enumerate(INCLUDE.finditer(text)):
            start = m.start() + len(m[0]) - len(m[0].lstrip())
            if code[start] != "#":
                continue  # in a comment or a string
            line = line_at(text, start)
            if m[2] is not None:
                self.check_hadal_include(name, line, m[2], room)
            else:
                self.check_vendor_include(name, line, m[1], path, where, room)
            if count == 0 and own and path.suffix == ".cc" and (self.root / "src" / own).exists():
                if m[2] != own:
                    self.report(name, line, "own-header", f"'{m[1] or m[2]}' first",
                                f"'{own}' first, so that it is proven to stand alone")

    def check_hadal_include(self, name, line, include, room):
        parts = include.split("/")
        if parts[0] != "hadal" or len(parts) < 3 or ".." in parts:
            return self.report(name, line, "include-path", f"\"{include}\"",
                               "the full path, \"hadal/room/file.h\"")
        other = parts[1]
        if other not in self.layers:
            self.report(name, line, "layers", f"\"{include}\"", "a room that LAYERS lists")
        elif room and other != room and other not in self.layers[room]:
            allowed = " ".join(sorted(self.layers[room])) or "nothing"
            self.report(name, line, "layers", f"{room} including {other}", f"{room}: {allowed}")

    def check_vendor_include(self, name, line, include, path, where, room):
        if include.startswith("hadal/"):
            return self.report(name, line, "include-path", f"<{include}>", f"\"{include}\"")
        for library, suffix in SIDE_VENDORS.items():
            if include.startswith(library + "/"):
                if room and not path.stem.endswith(suffix) and path.parent.name != "testing":
                    self.report(name, line, "vendor", f"<{include}>", f"it in *{suffix}.cc only")
                return
        for pattern, homes, in_headers in VENDORS:
            if not re.fullmatch(pattern, include):
                continue
            if room and homes is not ALL_ROOMS and not any(
                    where.is_relative_to(home) for home in homes):
                self.report(name, line, "vendor", f"<{include}> in {room}",
                            f"it in {' or '.join(sorted(homes))} only")
            elif path.suffix in HEADER_SUFFIXES and not in_headers:
                self.report(name, line, "vendor", f"<{include}> in a header",
                            "it in .cc files only (forward-declare, or hide the implementation)")
            return
        if not SYSTEM.fullmatch(include):
            self.report(name, line, "vendor", f"<{include}>",
                        "a library that VENDORS in dev/tidy.py gives a home")

    # Code ---------------------------------------------------------------------------------------

    def check_banned(self, name, code):
        for rule, pattern, instead in BANNED:
            for m in re.finditer(pattern, code):
                before = re.search(r"(\w+)[\s&*]+(?:::\s*)?$", code[:m.start()])
                if before and before[1] not in ("return", "else", "do", "co_return", "co_await"):
                    continue  # `void print(` declares a member of that name
                self.report(name, line_at(code, m.start()), rule,
                            f"'{' '.join(m[0].split()).rstrip('( ')}'", instead)

    def check_state(self, name, room, scan):
        code = scan.code
        inside = [(start, end) for _, _, _, start, end in scan.functions]
        seen = set()

        def state(position, text):
            line = scan.line_of(position)
            if line not in seen:
                seen.add(line)
                self.report(name, line, "static-state", f"'{' '.join(text.split())[:60]}'",
                            "a member of an object that is passed in")

        for m in re.finditer(r"\b(static|thread_local)\b", code):
            declaration = re.match(r"[^;={]*[;={]?", code[m.start():])[0]
            local = any(start < m.start() < end for start, end in inside)
            if "thread_local" in declaration and room == "kernels":
                continue
            is_function = "(" in declaration and not local
            if not CONSTANT.search(declaration) and not is_function:
                state(m.start(), declaration)
        for text, position in scan.statements:
            text = re.sub(r"^(?:[A-Z][A-Z0-9_]+(?:\([^()]*\))?\s+)+", "", text)  # region macros
            head = text.split("=")[0]
            variable = re.fullmatch(r"[\w:<>,\s*&\[\]()]+[\s*&>]\w+\s*(\[[^\]]*\]\s*)*(\{\})?\s*", head)
            function = re.search(r"\w\s*\(", re.sub(r"<.*>", "", head, flags=re.S))
            if variable and not function and not CONSTANT.search(head) and \
                    not NOT_A_VARIABLE.match(text):
                if not ("thread_local" in text and room == "kernels"):
                    state(position, text)


def is_side(path):
    """Not the product: tests and what only they use."""
    return path.stem.endswith(SIDE_SUFFIXES) or path.parent.name == "testing"


def line_at(text, position):
    return text.count("\n", 0, position) + 1


def check(root):
    """The violations of a tree, as lines, sorted."""
    tree = Tree(root)
    tree.read_layers()
    for name in tree.files():
        tree.check_file(name)
    return [line for _, _, line in sorted(tree.found)]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    found = check(root)
    for line in found:
        print(line)
    print(f"tidy: {len(found)} violations" if found else "tidy: clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
