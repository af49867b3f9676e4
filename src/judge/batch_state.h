// Which requests are in which batch of the provider, on disk: what makes a killed labeller find its batches again instead of
// paying twice.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::judge {

/// One batch, from just before its creation until its results are safe elsewhere.
struct BatchRecord {
  std::string name;              ///< our own, which goes along in the batch's metadata
  std::string endpoint;          ///< address of the provider, without a query
  std::string file_id;           ///< of the uploaded requests
  std::string batch_id;          ///< the provider's; empty: it may have been created or not
  std::vector<std::string> ids;  ///< custom_id of its requests, in the order of the file
};

/// A name that no other batch has: 32 hex digits.
std::string new_batch_name();
/// Write `folder`/batch-<name>.json durably; the folder is made. @throws IoError
void save_batch(const std::filesystem::path& folder, const BatchRecord& record);
/// Remove it durably. @throws IoError
void forget_batch(const std::filesystem::path& folder, const std::string& name);
/// The records in `folder`, by name; none if there is no such folder. @throws IoError, DataError naming the file that is damaged
std::vector<BatchRecord> load_batches(const std::filesystem::path& folder);

}  // namespace dmoerm::judge
