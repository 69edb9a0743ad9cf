// Which model a file holds, by content: a copy has the same identity, a changed weight another.
#pragma once

#include <span>
#include <string>

#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/format/model_files.h"

namespace hadal {

// 32 hexadecimal digits over every byte, read on all threads of `pool`.
std::string content_identity(std::span<const std::byte> bytes, ThreadPool& pool);

// Over every byte of the model's files and its configuration. Reading a large model takes seconds,
// so what was computed is remembered in the file `memo` under the files' device, number, size and
// times of change; a memo that cannot be read or written costs only that time.
Result<std::string> content_identity(const ModelFiles& files, ThreadPool& pool,
                                     const std::string& memo);

}  // namespace hadal
