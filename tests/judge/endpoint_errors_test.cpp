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

TEST(EndpointErrors, RepeatsOnlyWhereARepetitionCanHelp) {
  for (const int status : {408, 409, 425, 500, 502}) EXPECT_EQ(decide(status, "{}").next, Next::retry) << status;
  for (const int status : {429, 503}) EXPECT_EQ(decide(status, "{}").next, Next::retry_throttled) << status;
  for (const int status : {302, 400, 401, 402, 403, 404, 422}) EXPECT_EQ(decide(status, "{}").next, Next::finish) << status;
}

}  // namespace
}  // namespace dmoerm::judge
