// Which variable a name means: Jinja decides that before a template runs, by what each block reads
// and writes (jinja2/idtracking.py), and so does this. Internal to the interpreter.
#pragma once

#include "hadal/text/jinja/ast.h"

namespace hadal::jinja {

// Fills places, slots and scopes. Throws Failure with its line in `*line`: an unknown filter or
// test, a write to `loop`.
Program resolve(Body body, int* line);

}  // namespace hadal::jinja
