#include "label_store/judge_notes.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace dmoerm::label_store {
namespace {

using nlohmann::json;

constexpr std::int64_t kSchema = 1;

std::filesystem::path file_of(const std::filesystem::path& directory) { return directory / "judges.json"; }

DataError damaged(const std::string& what) {
  return DataError("judge-notes-damaged", what + ": remove the file, the next labelling writes it again");
}

}  // namespace

std::vector<JudgeNote> read_judge_notes(const std::filesystem::path& directory) {
  const std::filesystem::path file = file_of(directory);
  if (!std::filesystem::exists(file)) return {};
  std::vector<JudgeNote> notes;
  try {
    const json stored = read_json(file);
    if (const auto schema = stored.value("schema", json(kSchema)).get<std::int64_t>(); schema > kSchema) {
      throw ConfigError("label-store-newer",
                        fmt::format("{}: expected a label store's notes of schema {} or older, found {}: use a newer dmoerm",
                                    file.string(), kSchema, schema));
    }
    for (const json& note : stored.at("judges")) {
      notes.push_back({note.at("judge").get<std::string>(), note.at("template").get<std::string>(),
                       note.at("way").get<std::string>(), note.at("since_ms").get<std::int64_t>(),
                       note.at("ask_again_from_ms").get<std::int64_t>(), note.at("ask_again_before_ms").get<std::int64_t>()});
    }
  } catch (const json::exception&) {
    throw damaged(fmt::format("{}: expected a list of judges and how they are asked", file.string()));
  } catch (const DataError& e) {  // no JSON
    throw damaged(e.what());
  }
  return notes;
}

void write_judge_notes(const std::filesystem::path& directory, const std::vector<JudgeNote>& notes) {
  json judges = json::array();
  for (const JudgeNote& note : notes) {
    judges.push_back({{"judge", note.judge},
                      {"template", note.template_name},
                      {"way", note.way},
                      {"since_ms", note.since_ms},
                      {"ask_again_from_ms", note.ask_again_from_ms},
                      {"ask_again_before_ms", note.ask_again_before_ms}});
  }
  write_json_atomically(file_of(directory), {{"schema", kSchema}, {"judges", std::move(judges)}});
}

}  // namespace dmoerm::label_store
