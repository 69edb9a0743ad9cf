#!/usr/bin/python3
"""tidy itself, tested: each case is a tree with one planted violation, which must be found under its
rule and at its line, and a legal twin that differs only there, which must be clean."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "dev"))
import cpp_scan  # noqa: E402
import tidy  # noqa: E402

LAYERS = "base:\nhw: base\ntensor: base\ntext: base\nobs: base\napi: base\nnet: base obs\n" \
         "kernels: base hw tensor\nmodel: base tensor kernels\ngateway: base api net\n" \
         "apps: base tensor text net model\n"
ONCE = "#pragma once\n"


def body(lines, name="f"):
    """A function whose body, braces included, is `lines` lines long."""
    return f"int {name}() {{\n" + "  g();\n" * (lines - 2) + "}\n"


# (rule, file, line, planted, legal). `planted` and `legal` are the file's text.
CASES = [
    # Who includes whom.
    ("layers", "src/hadal/tensor/a.h", 2, ONCE + '#include "hadal/model/m.h"\n',
     ONCE + '#include "hadal/base/m.h"\n'),
    ("layers", "src/hadal/base/a.cc", 1, '#include "hadal/hw/cpu.h"\n', '#include "hadal/base/c.h"\n'),
    ("layers", "src/hadal/net/a_test.cc", 1, '#include "hadal/api/a.h"\n', '#include "hadal/obs/a.h"\n'),
    ("layers", "src/hadal/text/a.cc", 1, '#include "hadal/nowhere/a.h"\n',
     '// #include "hadal/nowhere/a.h"\n'),
    ("layers", "src/hadal/nowhere/a.cc", 1, "int f();\n", None),
    ("layers", "LAYERS", 2, "base:\nhw: tensor\ntensor: base\n", LAYERS),
    ("layers", "LAYERS", 2, "base:\nbase:\n", LAYERS),
    ("layers", "LAYERS", 2, "base:\nhw base\n", LAYERS),
    ("include-path", "src/hadal/text/a.cc", 1, '#include "a.h"\n', '#include "hadal/text/a.h"\n'),
    ("include-path", "src/hadal/text/a.cc", 1, '#include <hadal/text/a.h>\n', "#include <string>\n"),
    ("include-path", "src/hadal/text/a.cc", 2, '\n#include "hadal/text/../net/a.h"\n',
     '\n#include "hadal/text/deep/a.h"\n'),
    ("own-header", "src/hadal/text/own.cc", 1, "#include <vector>\n#include \"hadal/text/own.h\"\n",
     "#include \"hadal/text/own.h\"\n#include <vector>\n"),
    ("pragma-once", "src/hadal/text/a.h", 1, "int f();\n", "// A note.\n#pragma once\nint f();\n"),
    # Vendors.
    ("vendor", "src/hadal/text/a.cc", 1, "#include <boost/asio.hpp>\n", "#include <boost/json.hpp>\n"),
    ("vendor", "src/hadal/text/a.h", 2, ONCE + "#include <boost/json.hpp>\n", ONCE + "#include <map>\n"),
    ("vendor", "src/hadal/net/a.h", 2, ONCE + "#include <boost/beast.hpp>\n", ONCE),
    ("vendor", "src/hadal/model/a.cc", 1, "#include <openssl/ssl.h>\n", "#include <sys/mman.h>\n"),
    ("vendor", "src/hadal/obs/a.cc", 1, "#include <pcre2.h>\n", "#include <atomic>\n"),
    ("vendor", "src/hadal/net/a.cc", 1, "#include <utf8proc.h>\n", "#include <openssl/evp.h>\n"),
    ("vendor", "src/hadal/text/a.cc", 1, "#include <spdlog/spdlog.h>\n", "#include <pcre2.h>\n"),
    ("vendor", "src/hadal/net/a.cc", 1, "#include <CLI/CLI.hpp>\n", "#include <boost/asio.hpp>\n"),
    ("vendor", "src/hadal/api/a.cc", 1, "#include <yaml-cpp/yaml.h>\n", "#include <boost/json.hpp>\n"),
    ("vendor", "src/hadal/net/a.cc", 1, "#include <sqlite3.h>\n", "#include <fmt/core.h>\n"),
    ("vendor", "src/hadal/text/a.cc", 1, "#include <tl/expected.hpp>\n", "#include <utf8proc.h>\n"),
    ("vendor", "src/hadal/text/a.h", 2, ONCE + "#include <fmt/core.h>\n", ONCE + "#include <array>\n"),
    ("vendor", "src/hadal/tensor/a.cc", 1, "#include <immintrin.h>\n", "#include <fcntl.h>\n"),
    ("vendor", "src/hadal/kernels/ref/a.cc", 1, "#include <immintrin.h>\n", "#include <cmath>\n"),
    ("vendor", "src/hadal/text/a.cc", 1, "#include <gtest/gtest.h>\n", "#include <vector>\n"),
    ("vendor", "src/hadal/text/a.cc", 1, "#include <curl/curl.h>\n", "#include <unistd.h>\n"),
    ("vendor", "src/hadal/kernels/cpu/a.cc", 1, "#include <cuda_runtime.h>\n", "#include <immintrin.h>\n"),
    # Lengths.
    ("file-length", "src/hadal/text/a.cc", 601, "int f();\n" * 601, "int f();\n" * 600),
    ("file-length", "src/hadal/text/a-inl.h", 1501, ONCE + "int f();\n" * 1500,
     ONCE + "int f();\n" * 1499),
    ("file-length", "dev/a.py", 601, "pass\n" * 601, "pass\n" * 600),
    ("function-length", "src/hadal/text/a.cc", 1, body(71), body(70)),
    ("function-length", "src/hadal/text/a.cc", 2, "namespace n {\n" + body(71) + "}\n",
     "namespace n {\n" + body(40, "f") + body(40, "g") + "}\n"),
    ("function-length", "src/hadal/kernels/a.cc", 1, body(201), body(200)),
    ("function-length", "src/hadal/text/a_test.cc", 1, body(71).replace("int f()", "TEST(A, B)"),
     body(70).replace("int f()", "TEST(A, B)")),
    ("braces", "src/hadal/text/a.cc", 1, "namespace n {\nint f() { return 1; }\n",
     "namespace n {\nint f() { return 1; }\n}\n"),
    # What a library may not do.
    ("print", "src/hadal/text/a.cc", 2, "#include <iostream>\nvoid f() { std::cout << 1; }\n",
     "#include <sstream>\nvoid f() { std::ostringstream() << \"std::cout\"; }\n"),
    ("print", "src/hadal/text/a.cc", 1, "void f() { printf(\"a\"); }\n", "void f() { snprintf(b, 1, \"a\"); }\n"),
    ("print", "src/hadal/text/a.cc", 1, "void f() { std::fprintf(stderr, \"a\"); }\n",
     "void f() { object.printf(1); }\n"),
    ("print", "src/hadal/text/a.cc", 1, "void f() { ::puts(\"a\"); }\n", "void puts(int);\n"),
    ("print", "src/hadal/text/a.cc", 1, "void f() { fmt::print(\"a\"); }\n", "void f() { fmt::format(\"a\"); }\n"),
    ("exit", "src/hadal/text/a.cc", 1, "void f() { exit(1); }\n", "void f() { on_exit_(1); }\n"),
    ("exit", "src/hadal/text/a.cc", 1, "void f() { std::abort(); }\n", "void f() { request.abort(); }\n"),
    ("exit", "src/hadal/text/a.cc", 1, "int f() { return (quick_exit(1), 1); }\n",
     "void Engine::abort() {}\n"),
    ("exit", "src/hadal/text/a.cc", 1, "void f() { abort( ); }\n", "void f() { abort(1); }\n"),
    ("exit", "src/hadal/text/a.cc", 1, "void f() { ::_exit(1); }\n", "void f() { x->exit(1); }\n"),
    ("getenv", "src/hadal/text/a.cc", 1, "auto f() { return std::getenv(\"A\"); }\n",
     "// std::getenv(\"A\") is for apps\n"),
    ("static-state", "src/hadal/text/a.cc", 1, "static int counter = 0;\n", "static const int kCount = 0;\n"),
    ("static-state", "src/hadal/text/a.cc", 2, "int f() {\n  static int n = 0;\n  return ++n;\n}\n",
     "int f() {\n  static constexpr int n = 0;\n  return n;\n}\n"),
    ("static-state", "src/hadal/text/a.cc", 2, "int f() {\n  static Thing thing(3);\n  return 1;\n}\n",
     "static int f(int a);\n"),
    ("static-state", "src/hadal/text/a.cc", 2, "namespace {\nstd::atomic<int> g{0};\n}\n",
     "namespace {\nconst std::array<int, 1> g{0};\n}\n"),
    ("static-state", "src/hadal/text/a.cc", 1, "std::mutex m;\n", "using std::mutex;\n"),
    ("static-state", "src/hadal/text/a.cc", 1, "std::function<void(int)> hook;\n",
     "std::function<void(int)> hook(int);\n"),
    ("static-state", "src/hadal/text/a.h", 3, ONCE + "struct S {\n  static inline int n = 0;\n};\n",
     ONCE + "struct S {\n  static int n(int);\n  int m = 0;\n};\n"),
    ("static-state", "src/hadal/text/a.cc", 1, "thread_local int n = 0;\n", "int f(int n = 0);\n"),
    # The tree.
    ("marker", "src/hadal/text/a.cc", 1, "// FIX" + "ME: later\n", "const char* a = \"FIX" + "ME\";\n"),
    ("marker", "src/hadal/text/a.cc", 1, "/* TO" + "DO later */\n", "// TO" + "DO(#12): later\n"),
    ("marker", "dev/a.py", 1, "# TO" + "DO later\n", "# done\n"),
    ("machine-flag", "CMakeLists.txt", 1, "add_compile_options(-march=native)\n", "# never -march=native\n"),
    ("machine-flag", "cmake/a.cmake", 1, "set(F -mavx2)\n", "set(F -O2)\n"),
    ("machine-flag", "CMakePresets.json", 1, '{"a": "-Ofast"}\n', '{"a": "-O2"}\n'),
    ("absolute-path", "docs/a.md", 1, "see /wo" + "rk/x\n", "see ./wo" + "rk/x and https://h/wo" + "rk/x\n"),
    ("absolute-path", "src/hadal/text/a.cc", 1, 'auto p = "/ho' + 'me/me";\n', 'const auto p = "/etc/hadal";\n'),
    ("blob", "docs/a.txt", 1, "a" * ((1 << 20) + 1), "a" * (1 << 20)),
]

# Legal on their own: what the scanner must not stumble over.
LEGAL = {
    "src/hadal/base/a.cc": "void f() { std::fprintf(stderr, \"a\"); std::abort(); getenv(\"A\"); }\n",
    "src/hadal/apps/a.cc": "static int n = 0;\nvoid f() { std::cout << n; exit(1); }\n",
    "src/hadal/text/a_test.cc": "#include <gtest/gtest.h>\nvoid f() { std::cout << 1; }\n",
    "src/hadal/text/testing/a.h": ONCE + "#include <gtest/gtest.h>\nvoid f() { std::cout << 1; }\n",
    "src/hadal/text/json.h": ONCE + "#include <boost/json/fwd.hpp>\n",
    "src/hadal/kernels/cpu/region-inl.h": "int twice_included();\n",
    "src/hadal/kernels/cpu/a.cc": "#include <immintrin.h>\nthread_local int n = 0;\n" + body(200),
    "models/tiny/weights.bin": "a" * (2 << 20),
    "README.md": "text without any code\n",
}

# Function by function: (text, {name: length in lines from the opening to the closing brace}).
SCANS = [
    ("int f() { return 1; }", {"f": 1}),
    ("A::A(int a)\n    : a_(a), b_{a, {1}}, c_{} {\n  g();\n}", {"A": 3}),
    ("A::A() : a_{1} {}", {"A": 1}),
    ("template <class T, class = decltype(T{})>\nauto f(T t = {}) -> std::vector<T> {\n}", {"f": 2}),
    ("struct S : Base<int> {\n  int f() const noexcept override { return 1; }\n  int a{1};\n};", {"f": 1}),
    ("bool operator==(const A& a, const A& b) {\n}", {"operator==": 2}),
    ("bool A::operator()(int a) const {\n}", {"operator()": 2}),
    ("auto f = [](int a) mutable -> int {\n  return a;\n};", {"lambda": 3}),
    ("const auto table = make({[] {\n}, [&](int) {\n}});\nint g() {\n}", {"lambda": 2, "g": 2}),
    ("int a[] = {1, 2};\nint b{3};\nenum class E : int { kA };\nint f() {\n}", {"f": 2}),
    ("const char* a = \"{\";\nconst char* b = R\"x({)\" )x\";\nchar c = '{';\nint d = 1'000;\nint f() {\n}",
     {"f": 2}),
    ("// {\n/* { */\nint f() {  // }\n}", {"f": 2}),
    ("#define BEGIN {\\\n  {\nint f() {\n#if A\n  if (a) {\n#else\n  if (b) {\n#endif\n  }\n}", {"f": 8}),
    ("#if A\n#if B\nint f() {\n#else\nint g() {\n#endif\n}\n#else\nint h() {\n#endif", {"f": 5}),
    ("extern \"C\" {\nint f() {\n}\n}", {"f": 2}),
    ("extern \"C\" int f() {\n}", {"f": 2}),
    ("HADAL_BEGIN(\"avx2\")\n__attribute__((target(\"a\"))) inline int f(int* a) {\n}", {"f": 2}),
    ("TEST(Suite, Name) {\n}", {"Suite.Name": 2}),
    ("int f(int a)\n  requires(sizeof(a) > 1)\n{\n}", {"f": 2}),
    ("template <class T>\nconcept C = requires(T t) { t.x(); };\nint f() {\n}", {"f": 2}),
    ("int f() try {\n} catch (...) {\n}", {"f": 2, "catch": 2}),
    ("struct alignas(64) S {\n  void f() {\n  }\n};", {"f": 2}),
    ("std::function<void(int)> g{h};\nint f() {\n}", {"f": 2}),
    ("struct A {\n public:\n  explicit A(int a) : a_(a) {}\n  ~A() {}\n private:\n  int a_ = 0;\n};",
     {"A": 1, "~A": 1}),
    ("auto f() -> std::function<void()> {\n}", {"f": 2}),
    ("class A final : public B {\n  operator bool() const { return true; }\n};", {"operator bool": 1}),
]


def violations(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {"LAYERS": LAYERS, "src/hadal/text/own.h": ONCE, **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tidy.check(root)


class TidyTest(unittest.TestCase):
    def test_a_planted_violation_is_found_where_it_is(self):
        for rule, name, line, planted, _ in CASES:
            with self.subTest(rule=rule, file=name, text=planted[:60]):
                found = violations({name: planted})
                self.assertTrue(any(v.startswith(f"{name}:{line}: {rule}: found ") for v in found), found)
                for violation in found:
                    self.assertRegex(violation, r"^[^:]+:\d+: [a-z-]+: found .*, wanted .+")

    def test_its_legal_twin_is_clean(self):
        for rule, name, _, _, legal in CASES:
            if legal is not None:
                with self.subTest(rule=rule, file=name, text=legal[:60]):
                    self.assertEqual(violations({name: legal}), [])

    def test_every_rule_is_planted(self):
        source = (ROOT / "dev" / "tidy.py").read_text()
        rules = set(re.findall(r'self\.report\([^"]*?"([a-z-]+)",', source))
        rules |= {rule for rule, _, _ in tidy.BANNED}
        self.assertEqual(rules - {"LAYERS"}, {rule for rule, *_ in CASES})

    def test_what_rooms_and_tests_may(self):
        self.assertEqual(violations(LEGAL), [])

    def test_functions_are_measured(self):
        for text, wanted in SCANS:
            with self.subTest(text=text):
                scan = cpp_scan.Scan(cpp_scan.split_code(text)[0])
                lengths = {f: last - first + 1 for f, first, last, _, _ in scan.functions}
                self.assertEqual(lengths, wanted)

    def test_unbalanced_is_said(self):
        for text in ("int f() {", "}", "namespace n {", "f());"):
            with self.subTest(text=text):
                with self.assertRaises(cpp_scan.Unbalanced):
                    cpp_scan.Scan(text)

    def test_missing_layers_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(len(tidy.check(folder)), 1)

    def test_only_what_git_sees(self):
        import subprocess
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            subprocess.run(["git", "init", "-q", folder], check=True)
            (root / "LAYERS").write_text(LAYERS)
            (root / ".gitignore").write_text("*.log\n")
            (root / "a.log").write_text("/ho" + "me/me\n")
            self.assertEqual(tidy.check(root), [])
            (root / "a.md").write_text("/ho" + "me/me\n")
            self.assertEqual(len(tidy.check(root)), 1)


if __name__ == "__main__":
    unittest.main()
