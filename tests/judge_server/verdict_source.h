// The test judge's verdict on two responses: replayed from preference data with the order effect of real judges, or invented from
// the texts.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace dmoerm::judge_server {

/// The parts of a prompt between its delimiters.
struct Question {
  std::string point;
  std::string first, second;  ///< Responses as shown, trimmed
  std::string rest;           ///< Prompt without the responses
};

/// Find `<response_1 TAG>` ... `</response_1 TAG>`, the same of 2, and a line `point: NAME` outside of them. Missing parts
/// stay empty.
Question read_question(std::string_view prompt);

/// The verdict as a pure function of seed, data and question.
class VerdictSource {
 public:
  /// Takes verdicts from the texts alone.
  explicit VerdictSource(std::uint64_t seed);
  /// Takes verdicts from the rows of preference data that have both texts: recorded verdicts ("verdicts" of a row), else scores
  /// of the point (or "overall"), with the order effect "Replay of a judge" and the margins of capabilities.json beside the file.
  /// @throws IoError, DataError
  VerdictSource(std::uint64_t seed, const std::filesystem::path& data);
  ~VerdictSource();

  /// "1", "2" or "tie". Safe for several threads.
  [[nodiscard]] std::string verdict(const Question& question) const;

 private:
  struct Data;
  std::uint64_t seed_;
  std::unique_ptr<Data> data_;
};

}  // namespace dmoerm::judge_server
