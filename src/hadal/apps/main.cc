// hadal COMMAND [FLAGS]: finds the command and hands over.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <exception>
#include <string_view>

#include "hadal/apps/commands.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/version.h"

namespace hadal::apps {
namespace {

struct Command {
  std::string_view name;
  std::string_view usage;
  int (*run)(int argc, char** argv);
};

constexpr auto kCommands = std::to_array<Command>({
    {"serve", "answer over HTTP, as OpenAI's API does", cmd_serve},
    {"ask", "print one answer and leave", cmd_ask},
    {"chat", "a conversation in the terminal", cmd_chat},
    {"keys", "create, list and revoke API keys", cmd_keys},
    {"audit", "check and read the record of who asked what", cmd_audit},
    {"rollout", "new models and backends, by and by", cmd_rollout},
    {"inspect", "what is in a model file, and what it needs to run", cmd_inspect},
    {"bench", "tokens per second, and this machine's own ceilings", cmd_bench},
    {"eval", "how well something does, on data whose right answers are known", cmd_eval},
});

void print_help(std::FILE* target) {
  fmt::print(target,
             "hadal {}: DeepSeek models, served by one program\n\nusage: hadal COMMAND ...\n\n",
             version());
  for (const Command& command : kCommands) {
    fmt::print(target, "  {:<10}{}\n", command.name, command.usage);
  }
  fmt::print(target, "\nhadal COMMAND --help lists a command's flags; hadal --version\n");
}

int run(int argc, char** argv) {
  if (argc < 2) {
    print_help(stderr);
    return kUsageError;
  }
  const std::string_view name = argv[1];
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(stdout);
    return 0;
  }
  if (name == "--version" || name == "-V") {
    fmt::print("hadal {}\n", version());
    return 0;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run(argc - 1, argv + 1);
  }
  fmt::print(stderr, "hadal: there is no command '{}'; see hadal --help\n", name);
  return kUsageError;
}

}  // namespace
}  // namespace hadal::apps

int main(int argc, char** argv) {
  try {
    return hadal::apps::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, most likely
    fmt::print(stderr, "hadal: {}\n", error.what());
    return 1;
  }
}
