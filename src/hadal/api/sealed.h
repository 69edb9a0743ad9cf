// Private to api: the opaque form in which a reasoning item may come back, for clients that keep
// nothing else of it. It hides nothing: the text stands in the same item.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hadal::api {

std::string seal(std::string_view text);
// nullopt: not one of ours.
std::optional<std::string> unseal(std::string_view sealed);

}  // namespace hadal::api
