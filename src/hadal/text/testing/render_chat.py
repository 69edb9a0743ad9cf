#!/usr/bin/python3
"""Render conversations with a model's own Jinja template, as Hugging Face transformers does.

usage: render_chat.py CASES.json > RENDERED.json
CASES is an array of objects: template (path) or source (text), and the variables that it sees.
RENDERED is an array of what came of each: a string, or {"error": class, "message": text}.
"""
import copy
import datetime
import json
import sys
import warnings

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2026, 11, 22, 8, 5, 9)


class Generation(jinja2.ext.Extension):
    """{% generation %}: what the assistant said."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _render(self, context, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def make_environment():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.filters["from_json"] = lambda text: json.loads(text)
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    return environment


def render(environment, templates, case):
    case = copy.deepcopy(case)
    if "template" in case:
        path = case.pop("template")
        if path not in templates:
            with open(path, encoding="utf-8", newline="") as file:
                templates[path] = environment.from_string(file.read())
        template = templates[path]
    else:
        template = environment.from_string(case.pop("source"))
    text = template.render(**case)
    text.encode()
    return text


def main():
    warnings.simplefilter("ignore")  # of unknown escapes in templates
    environment = make_environment()
    templates = {}
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    rendered = []
    for case in cases:
        try:
            rendered.append(render(environment, templates, case))
        except Exception as error:  # what a template can raise is anything
            rendered.append({"error": type(error).__name__, "message": str(error)})
    json.dump(rendered, sys.stdout)


main()
