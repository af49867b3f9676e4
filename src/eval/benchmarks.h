// Benchmarks in the schemas that their authors document. Their texts are not part of this program.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "eval/item.h"

namespace dmoerm::eval {

struct Benchmark {
  std::string name;
  std::string schema;  ///< An example of a row, for messages and help
  bool (*fits)(const nlohmann::json& row);
  /// The items of a row, most often one; none if the row has no order. Throws preference::RowError.
  std::vector<Item> (*items)(const nlohmann::json& row, const std::string& file);
};

const std::vector<Benchmark>& benchmarks();
/// @throws ConfigError listing the names
const Benchmark& benchmark_named(const std::string& name);

/// Read a benchmark's files: JSON lines, or one JSON list.
/// @throws DataError naming the row, its keys and what was expected, and the benchmark that it fits if there is one
Data read_benchmark(const Benchmark& benchmark, const std::vector<std::string>& files);

}  // namespace dmoerm::eval
