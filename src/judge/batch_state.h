// Records on disk of which requests are in which batch of the provider: with them a labeller that was killed finds its batches
// again instead of paying twice.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::judge {

/// One batch, from just before its creation until its results are stored.
struct BatchRecord {
  std::string name;              ///< Our own name, which is in the batch's metadata
  std::string endpoint;          ///< Address of the provider, without a query
  std::string file_id;           ///< Provider's id of the uploaded requests
  std::string batch_id;          ///< Provider's id of the batch; empty: it may or may not have been created
  std::vector<std::string> ids;  ///< custom_id of each request, in the order of the file
  int creations = 0;             ///< Times that its creation was sent and not clearly refused: each may have been charged
};

/// A name that no other batch has: 32 random hex digits.
std::string new_batch_name();
/// Write `folder`/batch-<name>.json durably; the folder is created if it is missing. @throws IoError
void save_batch(const std::filesystem::path& folder, const BatchRecord& record);
/// Remove the record durably. @throws IoError
void forget_batch(const std::filesystem::path& folder, const std::string& name);
/// The records in `folder`, ordered by name; none if there is no such folder. @throws IoError, DataError naming a damaged file
std::vector<BatchRecord> load_batches(const std::filesystem::path& folder);

}  // namespace dmoerm::judge
