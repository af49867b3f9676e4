// A front whose ranks come and go. A rank is a shell that says that it is ready, and ends when it gets its first request; those
// that are started in its place end at once.
#include "serve/front.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>

#include "support/scratch.h"

namespace dmoerm::serve {
namespace {

/// @param pause  seconds from its first request to its end
std::vector<std::string> rank_that_ends(const std::filesystem::path& marker, const std::string& pause = "0") {
  // A frame is the sizes of header and body, the header, and the body.
  const std::string script = R"(if [ -e "$0" ]; then exit 2; fi; touch "$0"
    printf '\016\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0{"ready":true}' >&$3; head -c 1 <&$3 >/dev/null; sleep $1)";
  return {"/bin/bash", "-c", script, marker.string(), pause};
}

HttpRequest request_to(const std::string& path, const std::string& method = "POST") {
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.headers = {{"host", "localhost"}};
  return request;
}

HttpAnswer answer_to(Front& front, const HttpRequest& request) {
  std::promise<HttpAnswer> answer;
  front.handle(Exchange::make(request, [&](HttpAnswer got) { answer.set_value(std::move(got)); }));
  return answer.get_future().get();
}

std::string header_of(const HttpAnswer& answer, const std::string& name) {
  for (const auto& [key, value] : answer.headers) {
    if (key == name) return value;
  }
  return "";
}

std::string code_of(const HttpAnswer& answer) { return nlohmann::json::parse(answer.body).at("error").at("code"); }

class FrontOfOneRank : public test::Scratch {};

TEST_F(FrontOfOneRank, AnswersAtOnceWhileNoRankIsReady) {
  Front front({}, rank_that_ends(directory_ / "started"), 1, 60);
  EXPECT_EQ(front.check(request_to("/ready", "GET")).value().status, 200);
  EXPECT_FALSE(front.check(request_to("/v1/reward")).has_value());

  const HttpAnswer lost = answer_to(front, request_to("/v1/reward"));  // its rank ends, and the next does not start
  EXPECT_EQ(lost.status, 503);
  EXPECT_EQ(code_of(lost), "rank-gone");

  const Totals before = front.totals();
  const HttpAnswer ready = front.check(request_to("/ready", "GET")).value();
  EXPECT_EQ(ready.status, 503);
  EXPECT_NE(ready.body.find("starting"), std::string::npos);
  EXPECT_EQ(front.totals().answered, before.answered + 1) << "the probe was told what it asked";
  EXPECT_EQ(front.totals().failed, before.failed);
  for (const HttpAnswer& refused : {front.check(request_to("/v1/reward")).value(), answer_to(front, request_to("/v1/reward")),
                                    answer_to(front, request_to("/admin/reload"))}) {
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(code_of(refused), "no-rank-ready");
    EXPECT_EQ(header_of(refused, "Retry-After"), "1");
  }
  EXPECT_EQ(front.check(request_to("/health", "GET")).value().status, 200);
  EXPECT_EQ(front.check(request_to("/", "GET")).value().type, "text/html; charset=utf-8");
}

TEST_F(FrontOfOneRank, CountsWhatItAnswersItself) {
  Front front({"key"}, rank_that_ends(directory_ / "started"), 1, 60);
  EXPECT_EQ(front.check(request_to("/classify")).value().status, 401);
  EXPECT_EQ(front.refuse(request_to("/v1/reward"), 413, ErrorCode("body-too-long"), "long").status, 413);
  HttpRequest scrape = request_to("/metrics", "GET");
  scrape.headers["x-api-key"] = "key";
  ASSERT_FALSE(front.check(scrape).has_value());
  EXPECT_EQ(answer_to(front, request_to("/v1/reward")).status, 503);  // the rank ends

  const std::string text = answer_to(front, scrape).body;
  for (const char* line :
       {R"(dmoerm_requests_total{rank="front",endpoint="/classify",status="401"} 1)",
        R"(dmoerm_requests_total{rank="front",endpoint="/v1/reward",status="413"} 1)",
        R"(dmoerm_requests_total{rank="front",endpoint="/v1/reward",status="503"} 1)", R"(dmoerm_ready{rank="front"} 0)"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  const Totals totals = front.totals();
  EXPECT_EQ(totals.requests, 4);
  EXPECT_EQ(totals.mistaken, 2);
  EXPECT_EQ(totals.failed, 1);
  EXPECT_EQ(totals.answered, 1);
}

TEST_F(FrontOfOneRank, CountsTheSecondsThatItsOwnAnswersTake) {
  Front front({}, rank_that_ends(directory_ / "started", "0.1"), 1, 60);
  EXPECT_EQ(answer_to(front, request_to("/metrics", "GET")).status, 200);  // when the rank ends
  const std::string text = answer_to(front, request_to("/metrics", "GET")).body,
                    line = R"(dmoerm_request_seconds_sum{rank="front",endpoint="/metrics"} )";
  const std::size_t at = text.find(line);
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_GE(std::stod(text.substr(at + line.size())), 0.1);
}

TEST_F(FrontOfOneRank, SaysThatItStops) {
  Front front({}, rank_that_ends(directory_ / "started"), 1, 60);
  front.drain();
  EXPECT_NE(front.check(request_to("/ready", "GET")).value().body.find("draining"), std::string::npos);
  EXPECT_EQ(code_of(front.check(request_to("/v1/reward")).value()), "server-is-stopping");
  EXPECT_EQ(front.check(request_to("/v2/health/ready", "GET")).value().status, 503);
}

}  // namespace
}  // namespace dmoerm::serve
