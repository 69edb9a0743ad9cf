#include "hadal/gateway/batch_tables.h"

#include <string_view>

namespace hadal::gateway {

FileRecord read_file_row(const Run& run) {
  return {run.text(0),    run.text(1),    run.text(2),   run.text(3),
          run.integer(4), run.integer(5), run.integer(6)};
}

void bind_file(Run& run, const FileRecord& file) {
  for (const std::string* text : {&file.id, &file.owner, &file.filename, &file.purpose}) {
    run.bind(std::string_view(*text));
  }
  run.bind(file.bytes).bind(file.created).bind(file.expires);
}

namespace {

// The columns of each kind, in their order.
template <class Record, class Text, class Number>
void each_column(Record& batch, const Text& text, const Number& number) {
  text(batch.id);
  text(batch.owner);
  text(batch.tenant);
  text(batch.key_tag);
  text(batch.endpoint);
  text(batch.window);
  text(batch.input_file);
  text(batch.output_file);
  text(batch.error_file);
  text(batch.metadata);
  text(batch.errors);
  number(batch.result_keep);
  auto status = static_cast<int64_t>(batch.status);
  number(status);
  if constexpr (!std::is_const_v<Record>) batch.status = static_cast<BatchStatus>(status);
  number(batch.created);
  number(batch.in_progress);
  number(batch.expires);
  number(batch.finalizing);
  number(batch.completed);
  number(batch.failed);
  number(batch.expired);
  number(batch.cancelling);
  number(batch.cancelled);
  number(batch.total);
  number(batch.done);
  number(batch.done_failed);
}

}  // namespace

BatchRecord read_batch_row(const Run& run) {
  BatchRecord batch;
  int column = 0;
  each_column(
      batch, [&](std::string& text) { text = run.text(column++); },
      [&](int64_t& number) { number = run.integer(column++); });
  return batch;
}

void bind_batch(Run& run, const BatchRecord& batch) {
  each_column(
      batch, [&](const std::string& text) { run.bind(std::string_view(text)); },
      [&](int64_t number) { run.bind(number); });
}

}  // namespace hadal::gateway
