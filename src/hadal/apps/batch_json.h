// Files and batches as OpenAI's objects.
//
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "hadal/gateway/batch_store.h"

namespace hadal::apps {

std::string file_json(const gateway::FileRecord& file);
std::string files_json(const gateway::Listed<gateway::FileRecord>& files);
std::string file_removed_json(std::string_view id);
std::string batch_json(const gateway::BatchRecord& batch);
std::string batches_json(const gateway::Listed<gateway::BatchRecord>& batches);

}  // namespace hadal::apps
