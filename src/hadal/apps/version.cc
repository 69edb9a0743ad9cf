#include "hadal/apps/version.h"

namespace hadal::apps {

std::string_view version() { return HADAL_VERSION; }

}  // namespace hadal::apps
