#include "hadal/apps/turn.h"

namespace hadal::apps {

ModelGate::ModelGate(int64_t in_flight, int64_t waiting, obs::Registry& registry)
    : gauge_(registry.gauge("hadal_tenant_waiting", "Requests of a tenant that wait for the model.",
                            {"tenant"})),
      in_flight_max_(in_flight),
      waiting_max_(waiting),
      worker_([this] { work(); }) {}

ModelGate::~ModelGate() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  worker_.join();
}

void ModelGate::resize(int64_t in_flight, int64_t waiting) {
  std::lock_guard lock(mutex_);
  in_flight_max_ = in_flight;
  waiting_max_ = waiting;
  wake_.notify_all();
}

void ModelGate::show(const std::string& tenant) {
  gauge_.with({tenant}).set(static_cast<double>(queue_.waiting(tenant)));
}

bool ModelGate::enter(uint64_t id, const gateway::TenantConfig& tenant, double tokens,
                      int64_t sequences, std::function<void()> begin) {
  {
    std::lock_guard lock(mutex_);
    if (in_flight_ >= in_flight_max_ || queue_.size() > 0) {
      if (static_cast<int64_t>(queue_.size()) >= waiting_max_) return false;
      const auto ticket = queue_.push(tenant.name, tenant.weight, tenant.priority, tokens);
      by_ticket_[ticket] = id;
      requests_[id] = {tenant.name, sequences, ticket, std::move(begin), false};
      show(tenant.name);
      return true;
    }
    in_flight_ += sequences;
    requests_[id] = {tenant.name, sequences, 0, nullptr, true};
  }
  begin();
  return true;
}

void ModelGate::leave(uint64_t id) {
  std::function<void()> dropped;  // what it holds goes without the lock
  std::lock_guard lock(mutex_);
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Request& request = found->second;
  if (request.begun) {
    in_flight_ -= request.sequences;
    wake_.notify_one();
  } else {
    queue_.remove(request.ticket);
    by_ticket_.erase(request.ticket);
    dropped = std::move(request.begin);
    show(request.tenant);
  }
  requests_.erase(found);
}

void ModelGate::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return ended_ || (in_flight_ < in_flight_max_ && queue_.size() > 0); });
    if (ended_) return;
    const auto ticket = queue_.pop();
    const auto known = by_ticket_.find(*ticket);
    Request& request = requests_.at(known->second);
    by_ticket_.erase(known);
    request.begun = true;
    in_flight_ += request.sequences;
    show(request.tenant);
    std::function<void()> begin = std::move(request.begin);
    lock.unlock();
    begin();
    begin = nullptr;
    lock.lock();
  }
}

Turn::Turn(std::shared_ptr<gateway::Permit> permit, std::shared_ptr<ModelGate> gate,
           std::shared_ptr<gateway::Journey> journey)
    : permit_(std::move(permit)),
      gate_(permit_ == nullptr ? nullptr : std::move(gate)),
      journey_(std::move(journey)),
      id_(gate_ == nullptr ? 0 : gate_->next_id()) {}

Turn::~Turn() { end({}); }

bool Turn::enter(int64_t sequences, std::function<void()> begin) {
  if (gate_ == nullptr) {
    begin();
    return true;
  }
  const bool entered =
      gate_->enter(id_, *permit_->caller().tenant, static_cast<double>(permit_->estimate().tokens),
                   sequences, std::move(begin));
  // It may have ended while it was on its way in.
  if (ended_) gate_->leave(id_);
  return entered;
}

void Turn::end(const gateway::Tokens& used) {
  if (ended_.exchange(true)) return;
  if (permit_ != nullptr) permit_->settle(used);
  if (journey_ != nullptr) journey_->note_used(used);
  if (gate_ != nullptr) gate_->leave(id_);
}

std::vector<net::Header> Turn::headers() const {
  return permit_ == nullptr ? std::vector<net::Header>() : permit_->headers();
}

}  // namespace hadal::apps
