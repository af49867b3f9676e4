// The names of addresses, the words of refusals, and the keys that nothing reads.
#include "serve/addresses.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "serve/problem.h"
#include "serve/unread_keys.h"
#include "support/captured_log.h"

namespace dmoerm::serve {
namespace {

TEST(Addresses, AreThoseOfTheProtocolsAndItsOwn) {
  const std::vector<std::string> names = address_names();
  for (const char* name : {"GET /", "GET /health", "GET /ready", "GET /info", "GET /metrics", "POST /admin/reload",
                           "POST /v1/reward", "POST /", "POST /v2/models/{model}/infer"})
    EXPECT_NE(std::ranges::find(names, name), names.end()) << name;
}

TEST(Addresses, HaveOneLabelWhateverTheModel) {
  EXPECT_EQ(label_of("/classify"), "/classify");
  EXPECT_EQ(label_of("/admin/reload"), "/admin/reload");
  EXPECT_EQ(label_of("/v2/models/a/infer"), "/v2/models/{model}/infer");
  EXPECT_EQ(label_of("/v2/models/a/versions/1/infer"), "/v2/models/{model}/versions/{version}/infer");
  EXPECT_EQ(label_of("/v1/models/a"), "/v1/models/{model}");
  EXPECT_EQ(label_of("/v2/models/a/b/c/infer"), "/v2/models/{model}/infer");
  EXPECT_EQ(label_of("/v2/models//infer"), "other");
  EXPECT_EQ(label_of("/.env"), "other");
}

TEST(Addresses, HaveMethods) {
  EXPECT_EQ(methods_of("/classify"), "POST");
  EXPECT_EQ(methods_of("/health"), "GET, HEAD");
  EXPECT_EQ(methods_of("/"), "GET, HEAD, POST");
  EXPECT_EQ(methods_of("/v2/models/a"), "GET, HEAD");
  EXPECT_EQ(methods_of("/nowhere"), "");
}

TEST(Problem, HasItsCodeBesideTheWords) {
  const Problem known = problem_of(DataError("bundle-damaged", "the bundle [x] is damaged"));
  EXPECT_STREQ(known.code.text(), "bundle-damaged");
  EXPECT_EQ(known.words, "the bundle [x] is damaged");
  const Problem refused = problem_of(
      std::filesystem::filesystem_error("cannot open", "/nowhere/x", std::make_error_code(std::errc::permission_denied)));
  EXPECT_STREQ(refused.code.text(), "file-system-refused");
  EXPECT_EQ(refused.words.find("file-system-refused"), std::string::npos);
  const Problem other = problem_of(std::runtime_error("odd"));
  EXPECT_STREQ(other.code.text(), "internal-error");
  EXPECT_EQ(other.words, "internal error: odd");
}

TEST(Addresses, AreNamedWhereOneHasASlashTooMany) {
  EXPECT_EQ(unknown_address("/get_reward/"),
            "/get_reward/ is not an address of this server, did you mean /get_reward? GET /info lists all");
  EXPECT_EQ(unknown_address("/info//"), "/info// is not an address of this server, did you mean /info? GET /info lists all");
  for (const char* path : {"/nowhere", "/nowhere/", "//", "", "*"})
    EXPECT_EQ(unknown_address(path), std::string(path) + " is not an address of this server; GET /info lists them");
}

TEST(UnreadKeys, AreToldOnce) {
  const test::CapturedLog log;
  UnreadKeys keys;
  keys.tell("/classify", {"user", "prio\nrity"});
  keys.tell("/classify", {"user"});
  EXPECT_TRUE(log.has(R"(requests to /classify have keys that nothing here reads: "user", "prio\nrity" (told once))"));
  const std::size_t before = log.text().size();
  keys.tell("/classify", {"user", "prio\nrity"});
  keys.tell("/classify", {});
  EXPECT_EQ(log.text().size(), before);
  for (int i = 0; i < 1000; ++i) keys.tell("/classify", {std::to_string(i)});
  const std::size_t full = log.text().size();
  keys.tell("/rerank", {"another"});
  EXPECT_EQ(log.text().size(), full);  // strangers cannot fill the log
}

}  // namespace
}  // namespace dmoerm::serve
