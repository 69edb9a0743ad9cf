#include "hadal/gateway/journey.h"

namespace hadal::gateway {

void Journey::choose(Choice choice) {
  std::lock_guard lock(mutex_);
  choice_ = std::move(choice);
}

Choice Journey::choice() const {
  std::lock_guard lock(mutex_);
  return choice_;
}

void Journey::set_screening(std::shared_ptr<const Screening> screening,
                            std::shared_ptr<const Screener> by) {
  std::lock_guard lock(mutex_);
  screening_ = std::move(screening);
  screened_by_ = std::move(by);
}

std::shared_ptr<const Screening> Journey::screening(
    const std::shared_ptr<const Screener>& by) const {
  std::lock_guard lock(mutex_);
  return screened_by_ == by ? screening_ : nullptr;
}

Journey::Facts Journey::facts() const {
  std::lock_guard lock(mutex_);
  return facts_;
}

void Journey::note_model(std::string_view asked, std::string_view model, const Price& price) {
  std::lock_guard lock(mutex_);
  facts_.asked = asked;
  facts_.model = model;
  facts_.price = price;
}

void Journey::note_sent(std::string_view backend) {
  std::lock_guard lock(mutex_);
  facts_.sent.emplace_back(backend);
}

void Journey::note_backend(std::string_view backend) {
  std::lock_guard lock(mutex_);
  facts_.backend = backend;
}

void Journey::note_cache(std::string_view result) {
  std::lock_guard lock(mutex_);
  facts_.cache = result;
}

void Journey::note_label(std::string label) {
  std::lock_guard lock(mutex_);
  facts_.labels.push_back(std::move(label));
}

void Journey::note_reason(std::string reason) {
  std::lock_guard lock(mutex_);
  facts_.reasons.push_back(std::move(reason));
}

void Journey::note_price(const Price& price) {
  std::lock_guard lock(mutex_);
  facts_.price = price;
}

void Journey::note_used(const Tokens& used) {
  std::lock_guard lock(mutex_);
  facts_.used = used;
  facts_.settled = true;
}

}  // namespace hadal::gateway
