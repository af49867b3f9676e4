// Rows that pass through a step on several threads and come out in order.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "base/workers.h"

namespace dmoerm::data {

inline constexpr const char* kReadsData = "a thread that reads data";  // what the workers of an ingest are, for messages

/// Gathers rows into batches, lets the workers do `work` on each row, and delivers the rows in the order in which they came.
template <class Row>
class RowBatches {
 public:
  /// @param work  called with each row, on any thread
  /// @param deliver  called with each row in order, by add() and flush(); after it has thrown, no more rows are delivered
  RowBatches(Workers& workers, std::function<void(Row&)> work, std::function<void(Row&&)> deliver)
      : work_(std::move(work)), deliver_(std::move(deliver)), done_(workers, kAhead) {}

  /// @param bytes  about how much memory the row takes
  void add(Row&& row, std::size_t bytes) {
    batch_.push_back(std::move(row));
    bytes_ += bytes;
    if (bytes_ < kBytes && batch_.size() < kRows) return;
    send();
    while (done_.full()) deliver_oldest();
  }
  /// Deliver all rows that were added.
  void flush() {
    send();
    while (!done_.empty() && !failed_) deliver_oldest();
  }

 private:
  static constexpr std::size_t kAhead = 8, kRows = 64, kBytes = std::size_t{64} << 10;

  void send() {
    if (batch_.empty()) return;
    done_.give([this, rows = std::exchange(batch_, {})]() mutable {
      for (Row& row : rows) work_(row);
      return std::move(rows);
    });
    bytes_ = 0;
  }
  void deliver_oldest() {
    failed_ = true;
    for (Row& row : done_.take()) deliver_(std::move(row));
    failed_ = false;
  }

  std::function<void(Row&)> work_;
  std::function<void(Row&&)> deliver_;
  std::vector<Row> batch_;
  std::size_t bytes_ = 0;
  bool failed_ = false;
  InOrder<std::vector<Row>> done_;  // the last member, because its destructor waits for work on this object
};

}  // namespace dmoerm::data
