#!/usr/bin/python3
"""Render conversations with a model's own Jinja template, as Hugging Face transformers does.

usage: render_chat.py CASES.json > RENDERED.json
CASES is an array of objects: template (path), messages, and the variables that the template sees.
"""
import json
import sys

import jinja2
import jinja2.sandbox


def main():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    templates = {}
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    rendered = []
    for case in cases:
        path = case.pop("template")
        if path not in templates:
            with open(path, encoding="utf-8", newline="") as file:
                templates[path] = environment.from_string(file.read())
        rendered.append(templates[path].render(**case))
    json.dump(rendered, sys.stdout)


main()
