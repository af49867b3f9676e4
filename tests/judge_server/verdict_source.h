// What the test judge thinks of two responses: replayed from preference data with the order effect of real judges, or made up
// from the texts.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace dmoerm::judge_server {

/// What a prompt asks: the parts between its delimiters.
struct Question {
  std::string point;
  std::string first, second;  ///< the responses as shown, trimmed
  std::string rest;           ///< the prompt without them
};

/// Find `<response_1 TAG>` ... `</response_1 TAG>`, the same of 2, and a line `point: NAME` outside of them. Parts that are not
/// there stay empty.
Question read_question(std::string_view prompt);

/// The verdict function. A pure function of seed, data and question.
class VerdictSource {
 public:
  /// Verdicts from the texts alone.
  explicit VerdictSource(std::uint64_t seed);
  /// Verdicts from rows of preference data where both texts are found there: recorded verdicts ("verdicts" of a row), else scores
  /// of the point (or "overall"), with the order effect "Replay of a judge" and the margins of capabilities.json beside the file.
  /// @throws IoError, DataError
  VerdictSource(std::uint64_t seed, const std::filesystem::path& data);
  ~VerdictSource();

  /// "1", "2" or "tie". May be called by several threads.
  [[nodiscard]] std::string verdict(const Question& question) const;

 private:
  struct Data;
  std::uint64_t seed_;
  std::unique_ptr<Data> data_;
};

}  // namespace dmoerm::judge_server
