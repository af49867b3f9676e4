// Tests which failures are repeated and which end a request, and that refusals of the answer form are recognised by what the
// server says, not by our own message.
#include "judge/endpoint_errors.h"

#include <gtest/gtest.h>

namespace dmoerm::judge {
namespace {

using Next = RetryDecision::Next;
using Reason = JudgeReply::Reason;

EndpointErrors errors(const std::string& url = "http://127.0.0.1:8000/v1") {
  config::EndpointConfig endpoint;
  endpoint.url = url;
  return {endpoint, 60};
}

RetryDecision decide(int status, const std::string& body, const std::string& url = "http://127.0.0.1:8000/v1") {
  HttpResult result;
  result.end = HttpResult::End::replied;
  result.status = status;
  result.body = body;
  return errors(url).decide(result);
}

TEST(EndpointErrors, NamesARefusedResponseFormatAsTheReason) {
  for (const char* body : {
           R"({"error": {"message": "Invalid parameter", "param": "response_format"}})",
           R"({"error": {"message": "'response_format' of type 'json_schema' is not supported with this model"}})",
           R"({"error": {"message": "guided decoding is off", "code": 400}})",
           R"({"detail": "structured output needs another backend"})",
       }) {
    EXPECT_EQ(decide(400, body).reason, Reason::response_format) << body;
    EXPECT_EQ(decide(422, body).reason, Reason::response_format) << body;
    EXPECT_EQ(decide(501, body).reason, Reason::response_format) << body;
    EXPECT_EQ(decide(500, body).reason, Reason::other) << body;
  }
  EXPECT_EQ(decide(400, R"({"error": {"message": "maximum context length exceeded"}})").reason, Reason::other);
}

TEST(EndpointErrors, TakesTheReasonFromTheServerAndNotFromTheAddress) {
  const RetryDecision decision = decide(400, R"({"error": {"message": "too long"}})", "http://127.0.0.1:8000/schema/v1");
  EXPECT_NE(decision.problem.find("schema"), std::string::npos) << "the message shows the address";
  EXPECT_EQ(decision.reason, Reason::other);
}

TEST(EndpointErrors, ReportsTheHttpStatusOfEachReply) {
  for (const int status : {302, 400, 401, 402, 404, 408, 429, 500, 503}) EXPECT_EQ(decide(status, "{}").http_status, status);
  EXPECT_EQ(errors().decide_on_bad_body("an empty body").http_status, 200);
  EXPECT_EQ(errors().decide(HttpResult{}).http_status, 0) << "not reached";
}

TEST(EndpointErrors, TakesModeratedTextsForAnOutcomeOfOneQuestion) {
  for (const char* body : {
           R"({"error": {"message": "Your chosen model requires moderation and your input was flagged", "code": 403}})",
           R"({"error": {"message": "no", "code": "content_filter"}})",
           R"({"error": {"message": "filtered due to Azure OpenAI's content management policy", "type": null}})",
           R"({"error": {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}})",
       }) {
    for (const int status : {400, 403, 422, 451}) EXPECT_EQ(decide(status, body).status, JudgeReply::refused) << body;
    EXPECT_EQ(decide(401, body).status, JudgeReply::unauthorised);
  }
  EXPECT_EQ(decide(403, R"({"error": {"message": "Country, region, or territory not supported"}})").status,
            JudgeReply::unauthorised);
  EndpointErrors worked = errors();
  worked.accept_key();
  EXPECT_EQ(worked.decide_on_report(403, {}, {}).status, JudgeReply::error) << "the key is good, the question is not";
  EXPECT_EQ(worked.decide_on_report(401, {}, {}).status, JudgeReply::unauthorised);
}

TEST(EndpointErrors, NamesTheSettingThatTheServerObjectsTo) {
  const auto problem = [](const char* body) { return decide(400, body).problem; };
  EXPECT_NE(problem(R"({"error": {"message": "'temperature' does not support 0"}})").find("temperature: 1"), std::string::npos);
  EXPECT_NE(problem(R"({"error": {"message": "Use 'max_completion_tokens' instead"}})").find("\"max_tokens\": null"),
            std::string::npos);
  EXPECT_NE(problem(R"({"error": {"message": "logprobs are not allowed"}})").find("probabilities: false"), std::string::npos);
  EXPECT_NE(problem(R"({"error": {"message": "json_schema is not supported"}})").find("answer: verdict_line"), std::string::npos);
  EXPECT_EQ(decide(400, R"({"error": {"message": "x", "code": "unsupported_value"}})").status, JudgeReply::unusable);
  EXPECT_EQ(decide(400, R"({"error": {"message": "max_tokens: maximum context length is 8"}})").status, JudgeReply::error);
}

TEST(EndpointErrors, ShowsTheAddressThatWasAsked) {
  HttpResult result;
  result.end = HttpResult::End::replied;
  result.status = 404;
  result.asked = "http://127.0.0.1:8000/wrong/chat/completions";
  const std::string problem = errors("http://127.0.0.1:8000/wrong").decide(result).problem;
  EXPECT_EQ(problem.find("http://127.0.0.1:8000/wrong/chat/completions answered 404"), 0U) << problem;
  EXPECT_NE(problem.find("https://host/v1"), std::string::npos) << problem;
}

TEST(EndpointErrors, RepeatsOnlyWhereARepetitionCanHelp) {
  for (const int status : {408, 409, 425, 500, 502}) EXPECT_EQ(decide(status, "{}").next, Next::retry) << status;
  for (const int status : {429, 503}) EXPECT_EQ(decide(status, "{}").next, Next::retry_throttled) << status;
  for (const int status : {302, 400, 401, 402, 403, 404, 422}) EXPECT_EQ(decide(status, "{}").next, Next::finish) << status;
}

}  // namespace
}  // namespace dmoerm::judge
