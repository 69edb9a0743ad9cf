// Private to format: which of Hadal's pre-tokenizers a tokenizer.json describes.
#pragma once

#include <boost/json/fwd.hpp>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

// `root` is a tokenizer.json of the byte-level kind. kUnsupported names the step that is not known.
Result<PreTokenizer> hf_pre_tokenizer(const boost::json::object& root, std::string_view file);

}  // namespace hadal
