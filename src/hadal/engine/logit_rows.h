// What a call of a model gave: logits, and the greatest of each row where the model tells.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "hadal/base/check.h"
#include "hadal/model/model.h"
#include "hadal/sample/select.h"

namespace hadal {

class LogitRows {
 public:
  // The last call's of `model`, which gave `logits`. `vocabulary`: tokens that may be chosen, at
  // most as many as there are columns.
  LogitRows(const Model& model, ConstView logits, int32_t vocabulary)
      : logits_(logits), greatest_(model.greatest()), vocabulary_(vocabulary) {
    HADAL_CHECK(logits.cols >= vocabulary);
    HADAL_CHECK(greatest_.empty() || static_cast<int64_t>(greatest_.size()) == logits.rows);
  }
  int64_t count() const { return logits_.rows; }
  std::span<const float> row(int64_t row) const {
    return {logits_.row(row), static_cast<size_t>(vocabulary_)};
  }
  // select_first() of the row, where the model tells: it may have found a column that is no token.
  std::optional<Candidate> told(int64_t row) const {
    if (greatest_.empty()) return std::nullopt;
    const kernels::Greatest& greatest = greatest_[static_cast<size_t>(row)];
    if (greatest.index >= vocabulary_) return std::nullopt;
    return Candidate{greatest.value, greatest.index};
  }
  Candidate first(int64_t index) const {
    const std::optional<Candidate> known = told(index);
    return known ? *known : select_first(row(index));
  }

 private:
  ConstView logits_;
  std::span<const kernels::Greatest> greatest_;
  int32_t vocabulary_;
};

}  // namespace hadal
