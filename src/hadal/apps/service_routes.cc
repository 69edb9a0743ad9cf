// What this server answers, and where.
#include "hadal/apps/service.h"

namespace hadal::apps {

const std::vector<Service::Route>& Service::routes() {
  static const std::vector<Route> kRoutes = {
      {"GET", "/", &Service::home},
      {"GET", "/health", &Service::health, true},
      {"GET", "/version", &Service::version},
      {"GET", "/metrics", &Service::metrics},
      {"GET", "/openapi.json", &Service::openapi},
      {"GET", "/v1/models", &Service::models},
      {"GET", "/v1/models/", &Service::model_card},
      {"POST", "/v1/chat/completions", &Service::chat, false, true, true},
      {"POST", "/v1/completions", &Service::completion, false, true, true},
      {"POST", "/v1/responses", &Service::responses, false, true, true},
      {"POST", "/v1/messages", &Service::messages, false, true, true},
      {"POST", "/v1/messages/count_tokens", &Service::count_tokens, false, true},
      // Where DeepSeek's cloud has them, its beta and its Anthropic base among them.
      {"GET", "/models", &Service::models},
      {"GET", "/user/balance", &Service::balance},
      {"POST", "/chat/completions", &Service::chat, false, true, true},
      {"POST", "/completions", &Service::completion, false, true, true},
      {"POST", "/responses", &Service::responses, false, true, true},
      {"POST", "/beta/chat/completions", &Service::chat, false, true, true},
      {"POST", "/beta/completions", &Service::completion, false, true, true},
      {"POST", "/beta/v1/chat/completions", &Service::chat, false, true, true},
      {"POST", "/beta/v1/completions", &Service::completion, false, true, true},
      {"POST", "/anthropic/v1/messages", &Service::messages, false, true, true},
      {"POST", "/anthropic/v1/messages/count_tokens", &Service::count_tokens, false, true},
      {"POST", "/tokenize", &Service::tokenize, false, true, true},
      {"POST", "/detokenize", &Service::detokenize, false, true, true},
  };
  return kRoutes;
}

std::vector<Service::Address> Service::addresses() {
  std::vector<Address> result;
  for (const Route& route : routes()) result.push_back({route.method, route.path});
  return result;
}

}  // namespace hadal::apps
