#include "hadal/text/chat_v4.h"

namespace hadal {
namespace {

// DeepSeek V4's files have no template. The turns: system text first; user turns and tool results
// in a row are one turn; reasoning of earlier answers is dropped unless tools are in play.
constexpr std::string_view kSource = R"jinja(
{%- set efforts = {'high': 'Reasoning Effort: Absolute maximum with no shortcuts permitted.\nYou MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\nExplicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n',
 'max': 'Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\nYou MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any surface symptom.\nDo not stop reasoning until you have independently verified the solution from multiple angles and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n'} -%}
{%- macro arguments(call) -%}
  {%- set given = call.arguments | from_json if call.arguments is string else call.arguments -%}
  {%- for name, value in given.items() -%}
    {{- '<｜DSML｜parameter name="' + name + '" string="' + ('true' if value is string else 'false') + '">' -}}
    {{- value if value is string else value | tojson -}}
    {{- '</｜DSML｜parameter>\n' -}}
  {%- endfor -%}
{%- endmacro -%}
{%- macro offered() -%}
## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

{% for tool in tools if tool.type == 'function' %}
{{ tool.function | tojson }}
{% endfor %}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
{# #}
{%- endmacro -%}
{%- set s = namespace(last=-1, tools=tools or false, user=false, lines=[]) -%}
{%- for m in messages -%}
  {%- if m.role in ['user', 'developer', 'tool'] -%}{%- set s.last = loop.index0 -%}{%- endif -%}
  {%- if m.role == 'tool' -%}{%- set s.tools = true -%}{%- endif -%}
  {%- if m.role == 'system' -%}{%- set s.lines = s.lines + [m.content or ''] -%}{%- endif -%}
{%- endfor -%}
{{- bos_token -}}
{{- efforts.get(reasoning_effort, '') if thinking and reasoning_effort is defined -}}
{%- set system = s.lines | join('\n\n') -%}
{{- system -}}
{%- if tools -%}{{- '\n\n' if system -}}{{- offered() -}}{%- endif -%}
{%- for m in messages -%}
  {%- if m.role in ['user', 'developer', 'tool'] -%}
    {{- '\n\n' if s.user else '<｜User｜>' -}}
    {%- set s.user = true -%}
    {{- '<tool_result>' + (m.content or '') + '</tool_result>' if m.role == 'tool' else m.content or '' -}}
  {%- elif m.role == 'assistant' -%}
    {%- set s.user = false -%}
    {{- '<｜Assistant｜>' -}}
    {%- if thinking and (loop.index0 > s.last or s.tools) -%}{{- '<think>' + (m.reasoning_content or '') -}}{%- endif -%}
    {{- '</think>' + (m.content or '') -}}
    {%- if m.tool_calls -%}
      {{- '\n\n<｜DSML｜tool_calls>\n' -}}
      {%- for call in m.tool_calls -%}
        {{- '<｜DSML｜invoke name="' + call.function.name + '">\n' + arguments(call.function) + '</｜DSML｜invoke>\n' -}}
      {%- endfor -%}
      {{- '</｜DSML｜tool_calls>' -}}
    {%- endif -%}
    {{- '<｜end▁of▁sentence｜>' -}}
  {%- endif -%}
{%- endfor -%}
{{- ('<｜Assistant｜>' + ('<think>' if thinking else '</think>')) if add_generation_prompt -}}
)jinja";

}  // namespace

std::string_view deepseek_v4_template() { return kSource; }

}  // namespace hadal
