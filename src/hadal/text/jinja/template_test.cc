#include "hadal/text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Dict user_says(std::string text) {
  Dict message;
  message.set("role", Value::string("user"));
  message.set("content", Value::foreign(std::move(text)));
  Dict out;
  out.set("messages", Value::list({Value::dict(std::move(message))}));
  return out;
}

Result<Str> render(std::string_view source, const Dict& variables = {},
                   const RenderOptions& options = {}) {
  HADAL_TRY(const Template parsed, Template::parse(source));
  return parsed.render(variables, options);
}

// The rendered text with what came from outside in brackets.
std::string marked(const Str& text) {
  std::string out;
  size_t at = 0;
  for (const Span& span : text.foreign) {
    out += text.text.substr(at, span.begin - at) + "[" +
           text.text.substr(span.begin, span.end - span.begin) + "]";
    at = span.end;
  }
  return out + text.text.substr(at);
}

struct Case {
  const char* source;
  const char* expected;
};

class Renders : public ::testing::TestWithParam<Case> {};
TEST_P(Renders, AsPythonDoes) {
  const auto text = render(GetParam().source, user_says("Hi"));
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(text->text, GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Renders,
    ::testing::Values(
        Case{"{% for i in range(3) %}{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}",
             "1,2,3"},
        Case{"{{ {'a': [1, 2.5, none, true], 'b': (1,)} }}",
             "{'a': [1, 2.5, None, True], 'b': (1,)}"},
        Case{"  {% if true %}\n x\n  {% endif %}\ny", " x\ny"}, Case{"a  {{- 'b' -}}  c", "abc"},
        Case{"{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% "
             "endfor %}{{ ns.n }}",
             "1"},
        Case{"{% macro f(a, b='x') %}<{{ a }}{{ b }}>{% endmacro %}{{ f(1) }}{{ f(b=2, a=3) }}",
             "<1x><32>"},
        Case{"{{ 'a😀é'[::-1] }}{{ 'a😀é'|length }}", "é😀a3"},
        Case{"{{ {'b': 'é', 'a': '<'}|tojson }}", "{\"b\": \"é\", \"a\": \"<\"}"},
        Case{"{{ [1e16, 1e15, 0.1, -0.0, 1e-5] }}",
             "[1e+16, 1000000000000000.0, 0.1, -0.0, 1e-05]"},
        Case{"{{ missing }}{{ messages[0].missing }}{{ missing is defined }}", "False"},
        Case{"{{ '{\"a\": [1]}'|from_json }}", "{'a': [1]}"},
        Case{"{% raw %}{{ x }}{% endraw %}{# no #}", "{{ x }}"}, Case{"", ""}));

TEST(Jinja, ReadsTheTimeThatItIsGiven) {
  const auto text =
      render("{{ strftime_now('%d %b %Y, %H:%M') }}", {}, {.local_seconds = 1'795'334'709});
  ASSERT_TRUE(text);
  EXPECT_EQ(text->text, "22 Nov 2026, 08:05");
}

// Where the text of a message ends up stays known, whatever is done to it.
TEST(Jinja, KnowsWhatCameFromOutside) {
  const Dict variables = user_says(" a</x>b ");
  const std::vector<Case> cases = {
      {"<|u|>{{ messages[0].content }}<|e|>", "<|u|>[ a</x>b ]<|e|>"},
      {"{{ '<|u|>' + messages[0]['content'] + '<|e|>' }}", "<|u|>[ a</x>b ]<|e|>"},
      {"{{ '<' ~ messages[0].content|trim ~ '>' }}", "<[a</x>b]>"},
      {"{{ messages[0].content.split('</x>')[-1] }}|", "[b ]|"},
      {"{{ messages[0].content.replace('</x>', '-') }}", "[ a]-[b ]"},
      {"{{ messages[0].content|upper }}{{ messages[0].role }}", "[ A</X>B ]user"},
      {"{{ ', '.join([messages[0].content, 'z', messages[0].content]) }}",
       "[ a</x>b ], z, [ a</x>b ]"},
      {"{{ messages[0]|tojson }}", "{\"role\": \"user\", \"content\": [\" a</x>b \"]}"},
      {"{% set x %}<{{ messages[0].content[1:3] }}>{% endset %}{{ x }}", "<[a<]>"},
      {"{% macro m(t) %}({{ t }}){% endmacro %}{{ m(messages[0].content) }}", "([ a</x>b ])"},
      {"{{ '%s!' % messages[0].content }}{{ '{}?'.format(messages[0].content) }}",
       "[ a</x>b ]![ a</x>b ]?"},
      {"{{ messages[0].content|indent(2, true) }}", "  [ a</x>b ]"},
      {"{{ [messages[0].content] }}", "[[' a</x>b ']]"},
      {"{{ messages[0].content|list|join }}{{ messages[0].content|reverse }}",
       "[ a</x>b  b>x/<a ]"},
      {"{{ '\"' ~ (('\"' ~ messages[0].content|trim ~ '\"')|from_json) }}", "\"[a</x>b]"},
      {"{{ messages[0].content|title }}|{{ messages[0].content|escape }}",
       "[ A</x>b ]|[ a&lt;/x&gt;b ]"},
  };
  for (const Case& one : cases) {
    const auto text = render(one.source, variables);
    ASSERT_TRUE(text) << text.error().what;
    EXPECT_EQ(marked(*text), one.expected) << one.source;
  }
}

TEST(Jinja, ErrorsNameTheLine) {
  const std::vector<Case> cases = {
      {"a\nb\n{{ x.y }}", "chat template, line 3: 'x' is undefined"},
      {"\n{% if %}", "chat template, line 2: Expected an expression, got 'end of statement block'"},
      {"{% for x in y %}\n\n",
       "chat template, line 2: Unexpected end of template, looking for 'else'"},
      {"\n\n{{ raise_exception('No.') }}", "chat template, line 3: No."},
      {"{% macro m() %}\n{{ 1 + 'a' }}\n{% endmacro %}\n{{ m() }}",
       "chat template, line 2: unsupported operand type(s) for +: 'int' and 'str'"},
      {"\n{{ 'a'|nothing }}", "chat template, line 2: No filter named 'nothing'."},
      {"{% include 'x' %}",
       "chat template, line 1: a template cannot reach another one: 'include'"},
      {"{{ [].append(1) }}",
       "chat template, line 1: access to attribute 'append' of 'list' object is unsafe."},
      {"{{ ''.__class__.__mro__ }}",
       "chat template, line 1: access to attribute '__class__' of 'str' object is unsafe."},
  };
  for (const Case& one : cases) {
    const auto text = render(one.source);
    ASSERT_FALSE(text) << one.source;
    EXPECT_EQ(text.error().what, one.expected) << one.source;
    EXPECT_EQ(text.error().code, Code::kInvalidInput);
  }
}

// CVE-2024-34359, CVE-2026-5760: a chat template inside a model file that runs code.
TEST(Jinja, TemplateInjectionReachesNothing) {
  for (const char* source :
       {"{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
        "{{ self._TemplateReference__context }}{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.__class__.__init__.__globals__['os'].system('id') }}",
        "{{ ().__class__.__bases__[0].__subclasses__()[59]('/etc/passwd').read() }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{{ range.__self__.__import__('os') }}", "{{ config.items }}{{ request.application }}",
        "{{ messages|attr('__class__')|attr('__mro__') }}"}) {
    const auto text = render(source, user_says("x"));
    EXPECT_TRUE(!text || text->text.empty()) << source << " gave " << text->text;
  }
}

// Each would take for ever or all memory.
TEST(Jinja, LimitsEndWhatWouldNotEnd) {
  const RenderOptions options{
      .limits = {
          .steps = 200'000, .bytes = 4 << 20, .output = 64 << 10, .depth = 100, .value_depth = 50}};
  const std::string doubling =
      "{% set ns = namespace(x=['ab']) %}{% for i in range(40) %}{% set ns.x = ";
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "steps"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nesting"},
      {"{% macro m(x) %}{{ caller() }}{% call m(1) %}{{ caller() }}{% endcall %}{% endmacro %}"
       "{% call m(1) %}{{ m(2) }}{% endcall %}",
       ""},
      {doubling + "ns.x + ns.x %}{% endfor %}", "memory"},
      {doubling + "[ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "steps"},
      {doubling + "[ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x }}", "steps"},
      {"{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = [ns.x] %}{% endfor %}",
       "nesting"},
      {"{{ 'ab' * 99999999999 }}", "memory"},
      {"{% for i in range(99999) %}aaaaaaaaaaaaaaaa{% endfor %}", "output"},
      {"{{ '%9999d' % 1 }}{{ 'a'.center(99999999999) }}", "memory"},
      {"{{ messages|tojson(indent=99999999) }}", "memory"},
      {"{{ ('a' * 99999).replace('', 'a' * 99999) }}", "steps"},
      {"{{ '" + std::string(300, '[') + "'|from_json }}", "nesting"},
      {"{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}", ""},
  };
  for (const auto& [source, over] : cases) {
    const auto text = render(source, user_says("x"), options);
    ASSERT_FALSE(text) << source << " gave " << text->text.size() << " bytes";
    if (*over == '\0') continue;
    EXPECT_EQ(text.error().code, Code::kTooLarge) << source << ": " << text.error().what;
    EXPECT_THAT(text.error().what, HasSubstr(over)) << source;
  }
}

TEST(Jinja, ParsingIsBoundedToo) {
  const std::string many(100'000, '(');
  EXPECT_EQ(
      Template::parse("{{ " + many + "1" + std::string(many.size(), ')') + " }}").error().code,
      Code::kTooLarge);
  std::string sum = "{{ 1";
  for (int i = 0; i < 50'000; ++i) sum += "+1";
  EXPECT_EQ(Template::parse(sum + " }}").error().code, Code::kTooLarge);
  std::string nested;
  for (int i = 0; i < 10'000; ++i) nested += "{% if 1 %}";
  EXPECT_EQ(Template::parse(nested).error().code, Code::kTooLarge);
  EXPECT_EQ(Template::parse(std::string(kTemplateBytesMax + 1, 'a')).error().code, Code::kTooLarge);
  EXPECT_THAT(Template::parse("\xff").error().what, StartsWith("chat template: not UTF-8"));
  std::string names;
  for (int i = 0; i < 2'000; ++i) names += "{% set v" + std::to_string(i) + " = 1 %}";
  EXPECT_EQ(Template::parse(names).error().code, Code::kTooLarge);
}

TEST(Jinja, InputThatIsNoTextBecomesText) {
  const auto text = render("{{ messages[0].content }}", user_says("a\xff\xc3"));
  ASSERT_TRUE(text);
  EXPECT_EQ(text->text, "a\uFFFD\uFFFD");
  Value deep = Value::integer(1);
  for (int i = 0; i < 300; ++i) deep = Value::list({deep});
  Dict variables;
  variables.set("x", deep);
  EXPECT_EQ(render("{{ x }}", variables).error().code, Code::kTooLarge);
}

// A conversation as long as a model's context: one copy of each message, not one for each
// operation.
TEST(Jinja, LongMessagesFitTheLimits) {
  Dict variables = user_says(std::string(24 << 20, 'x'));
  const auto text = render(
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + "
      "'\\n' }}{% endfor %}",
      variables);
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(text->text.size(), (24u << 20) + 28);
  EXPECT_EQ(text->foreign.size(), 1u);
}

}  // namespace
}  // namespace hadal::jinja
