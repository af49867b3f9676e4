#include "judge/batch_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"

namespace dmoerm::judge {
namespace {

constexpr int kVersion = 1;

std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& name) {
  return folder / ("batch-" + name + ".json");
}

BatchRecord read_record(const std::filesystem::path& file) {
  const nlohmann::json value = read_json(file);
  try {
    if (value.at("version").get<int>() != kVersion) {
      throw DataError("batch-record-newer", fmt::format("{}: the batch record has version {}, this program reads version {}",
                                                        file.string(), value.at("version").get<int>(), kVersion));
    }
    BatchRecord record{value.at("name").get<std::string>(),
                       value.at("endpoint").get<std::string>(),
                       value.at("file_id").get<std::string>(),
                       value.at("batch_id").get<std::string>(),
                       value.at("ids").get<std::vector<std::string>>(),
                       value.value("creations", 1)};  // an earlier version did not count: it may have been sent
    if (file.filename() != file_of("", record.name).filename())
      throw DataError(
          "batch-record-renamed",
          fmt::format("{}: expected the record of the batch that the file is named after, found {}", file.string(), record.name));
    return record;
  } catch (const nlohmann::json::exception& e) {
    throw DataError("batch-record-damaged", fmt::format("{}: not a batch record: {}", file.string(), json_mismatch(e)));
  }
}

}  // namespace

std::string new_batch_name() {
  std::random_device random;
  std::string name;
  for (int i = 0; i < 4; ++i) name += fmt::format("{:08x}", random());
  return name;
}

void save_batch(const std::filesystem::path& folder, const BatchRecord& record) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw IoError("cannot-create-folder", fmt::format("{}: cannot create the folder: {}", folder.string(), error.message()));
  write_json_atomically(file_of(folder, record.name), {{"version", kVersion},
                                                       {"name", record.name},
                                                       {"endpoint", record.endpoint},
                                                       {"file_id", record.file_id},
                                                       {"batch_id", record.batch_id},
                                                       {"ids", record.ids},
                                                       {"creations", record.creations}});
}

void forget_batch(const std::filesystem::path& folder, const std::string& name) {
  std::error_code error;
  std::filesystem::remove(file_of(folder, name), error);
  if (error)
    throw IoError("cannot-remove-file", fmt::format("{}: cannot remove: {}", file_of(folder, name).string(), error.message()));
  sync_path(folder);
}

std::vector<BatchRecord> load_batches(const std::filesystem::path& folder) {
  std::vector<BatchRecord> records;
  if (!std::filesystem::exists(folder)) return records;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("batch-") && name.ends_with(".json")) records.push_back(read_record(entry.path()));
  }
  std::sort(records.begin(), records.end(), [](const BatchRecord& a, const BatchRecord& b) { return a.name < b.name; });
  return records;
}

}  // namespace dmoerm::judge
