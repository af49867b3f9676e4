// Exceptions as a code and words.
#include "serve/problem.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>

namespace dmoerm::serve {
namespace {

std::string code_of(const std::exception& e) {
  const Problem problem = problem_of(e);
  EXPECT_EQ(problem.words.find(with_code("", problem.code)), std::string::npos) << problem.words;
  return problem.code.text();
}

TEST(Problems, KeepTheirCodesBesideTheWords) {
  EXPECT_EQ(code_of(DataError("empty-response", "a.jsonl:3: the response is empty")), "empty-response");
  EXPECT_EQ(problem_of(DataError("empty-response", "the response [a] is empty")).words, "the response [a] is empty");
  EXPECT_EQ(code_of(Error("without")), "internal-error");
  EXPECT_EQ(code_of(std::bad_alloc()), "out-of-memory");
  EXPECT_EQ(code_of(std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again))), "no-more-threads");
  EXPECT_EQ(code_of(std::filesystem::filesystem_error("cannot open", std::make_error_code(std::errc::permission_denied))),
            "file-system-refused");
  try {
    (void)nlohmann::json::object().at("key");
  } catch (const std::exception& e) {
    EXPECT_EQ(code_of(e), "unexpected-json-value");
  }
  EXPECT_EQ(code_of(std::runtime_error("tensor [3, 4]")), "internal-error");
  EXPECT_EQ(problem_of(std::runtime_error("tensor [3, 4]")).words, "internal error: tensor [3, 4]");
}

}  // namespace
}  // namespace dmoerm::serve
