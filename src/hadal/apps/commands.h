// One function a command, each in its own cmd_*.cc. argv[0] is the command's name; the result is
// the process's exit status.
#pragma once

namespace hadal::apps {

int cmd_serve(int argc, char** argv);
int cmd_ask(int argc, char** argv);
int cmd_chat(int argc, char** argv);
int cmd_keys(int argc, char** argv);
int cmd_inspect(int argc, char** argv);
int cmd_rollout(int argc, char** argv);
int cmd_bench(int argc, char** argv);
int cmd_eval(int argc, char** argv);
int cmd_audit(int argc, char** argv);

}  // namespace hadal::apps
