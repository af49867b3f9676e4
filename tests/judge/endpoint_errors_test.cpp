// Tests which failures are repeated and which end a request, and that refusals of the answer form are recognised by what the
// server says, not by our own message.
#include "judge/endpoint_errors.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "judge/chat_reply.h"

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

TEST(EndpointErrors, AReportThatCountsTokensOfAnAnswerIsCharged) {
  for (const char* body : {R"({"error":{"message":"down","code":502}})", R"({"error":{"message":"slow down","code":429}})",
                           R"({"error":{"message":"bad","code":400}})"}) {
    EXPECT_FALSE(errors().decide_on_report_inside(parse_api_problem(body), {}).charged) << body;
    EXPECT_TRUE(errors().decide_on_report_inside(parse_api_problem(body), {}, "", 200, true).charged) << body;
  }
  const auto refused = errors().decide_on_report_inside(
      parse_api_problem(R"({"error":{"message":"no","type":"content_filter"}})"), {}, "", 200, true);
  EXPECT_EQ(refused.status, JudgeReply::refused);
  EXPECT_FALSE(refused.charged) << "it is booked as an answer";
}

TEST(EndpointErrors, HeadersThatAreTooLongAreChargedAndNotRepeated) {
  HttpResult result;
  result.end = HttpResult::End::long_headers;
  result.problem = "the headers of the reply are too long";
  const RetryDecision decision = errors().decide(result);
  EXPECT_EQ(decision.next, Next::finish);
  EXPECT_EQ(decision.status, JudgeReply::error);
  EXPECT_TRUE(decision.charged);
  EXPECT_NE(decision.problem.find("headers of the reply are too long"), std::string::npos);
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

TEST(EndpointErrors, ChargesForATryThatAGatewayGaveUp) {
  for (const int status : {408, 504, 524, 598}) {
    EXPECT_TRUE(decide(status, "upstream request timeout").charged) << status;
    EXPECT_EQ(decide(status, "").next, Next::retry) << status;
  }
  for (const int status : {409, 500, 502, 503}) EXPECT_FALSE(decide(status, "{}").charged) << status;
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

TEST(EndpointErrors, KnowsHowProvidersSayThatATextWasModerated) {
  struct Body {
    int status;
    const char* body;
  };
  for (
      const auto& [status, body] : std::vector<Body>{
          // OpenAI
          {400,
           R"({"error":{"message":"Your request was rejected.","type":"invalid_request_error","param":null,"code":"content_policy_violation"}})"},
          {400,
           R"({"error":{"message":"Invalid prompt: please try again with a different prompt.","type":"invalid_request_error","code":"invalid_prompt"}})"},
          // Azure
          {400,
           R"({"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400}})"},
          {400,
           R"({"error":{"message":"filtered","code":null,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}})"},
          // Anthropic
          {400,
           R"({"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}})"},
          // Gemini puts its errors into a list
          {400, R"([{"error":{"code":400,"message":"The prompt was blocked: prohibited content","status":"INVALID_ARGUMENT"}}])"},
          // OpenRouter
          {403,
           R"({"error":{"code":403,"message":"Forbidden","metadata":{"reasons":["violence"],"flagged_input":"...","provider_name":"x"}}})"},
          {403, R"({"error":{"code":403,"message":"Your input was flagged for \"harassment\". No credits were charged."}})"},
          // DashScope, its own form and OpenAI's
          {400, R"({"code":"DataInspectionFailed","message":"Output data may contain inappropriate content.","request_id":"1"})"},
          {400, R"({"error":{"code":"data_inspection_failed","param":null,"message":"no","type":"data_inspection_failed"}})"},
          // Zhipu
          {400,
           R"({"contentFilter":[{"level":1,"role":"user"}],"error":{"code":"1301","message":"系统检测到输入或生成内容可能包含不安全或敏感内容"}})"},
          {400, R"({"error":{"code":1301,"message":""}})"},
          // DeepSeek, Moonshot, Volcengine, xAI, a LiteLLM proxy
          {400, R"({"error":{"message":"Content Exists Risk","type":"invalid_request_error","code":"invalid_request_error"}})"},
          {400,
           R"({"error":{"message":"The request was rejected because it was considered high risk","type":"content_filter"}})"},
          {400, R"({"error":{"code":"SensitiveContentDetected","message":"no","type":"BadRequest"}})"},
          {403,
           R"({"code":"The caller does not have permission to execute the operation","error":"Content violates usage guidelines."})"},
          {400,
           R"({"error":{"message":"litellm.BadRequestError: litellm.ContentPolicyViolationError: no","type":null,"code":"400"}})"},
          {500, R"({"error":{"message":"upstream","type":"content_filter"}})"},
          // 451, with any body that does not speak of the caller's place
          {451, ""},
          {451, "<html><title>Unavailable For Legal Reasons</title></html>"},
          {451, R"({"error":{"message":"no"}})"},
          // Guardrails of gateways: Cloudflare, Bedrock, LiteLLM, Portkey, Google's Model Armor, Azure
          {424, R"({"error":[{"code":2016,"message":"Prompt blocked due to security configurations"}]})"},
          {424, R"({"success":false,"errors":[{"code":2017,"message":"Response blocked due to security configurations"}]})"},
          {400, R"({"error":{"message":"Blocked by guardrail abc: input","type":"invalid_request_error"}})"},
          {400, R"({"error":{"message":"{'error': 'Violated guardrail policy'}","type":"None","code":"400"}})"},
          {446, R"({"error":{"message":"The guardrail checks defined in the config failed","type":"hooks_failed"}})"},
          {400, R"({"error":{"message":"Blocked by Model Armor Floor Setting: the prompt violated RAI filters"}})"},
          {400, R"({"error":{"message":"no","innererror":{"code":"ResponsibleAIPolicyViolation"}}})"},
          {400, R"({"error":{"message":"The prompt was classed as a jailbreak"}})"},
          // Cohere, Together, Groq
          {400, R"({"message":"blocked output: please ensure your prompt and response follow our guidelines"})"},
          {422, R"({"error":{"message":"Input has harmful content","type":"invalid_request_error"}})"},
          {403, R"({"error":{"message":"Your request violates our terms of use"}})"},
          {400, R"({"error":{"message":"no","type":"cyber_policy_violation"}})"}}) {
    const RetryDecision decision = decide(status, body);
    EXPECT_EQ(to_string(decision.status), to_string(JudgeReply::refused)) << body;
    EXPECT_EQ(decision.next, Next::finish) << body;
  }
}

TEST(EndpointErrors, TakesOtherRefusalsForWhatTheyAre) {
  const auto status = [](int http, const char* body) { return decide(http, body).status; };
  EXPECT_EQ(status(403, R"({"error":{"message":"Your account was flagged and is suspended"}})"), JudgeReply::unauthorised);
  EXPECT_EQ(status(403, R"({"error":{"message":"You do not have access to this model"}})"), JudgeReply::unauthorised);
  EXPECT_EQ(status(403, "<html><title>Access denied</title></html>"), JudgeReply::unauthorised);
  EXPECT_EQ(status(451, R"({"error":{"message":"This service is not available in your country"}})"), JudgeReply::error);
  EXPECT_EQ(status(403, R"({"error":{"message":"Requests from your IP address are blocked"}})"), JudgeReply::unauthorised);
  EXPECT_EQ(status(403, R"({"error":{"message":"Your organization has been blocked for violating our policy"}})"),
            JudgeReply::unauthorised);
  EXPECT_EQ(status(403, "<html>Sorry, you have been blocked<br>content</html>"), JudgeReply::unauthorised);
  EXPECT_EQ(status(400, R"({"error":{"message":"Invalid value for 'content': expected a string"}})"), JudgeReply::error);
  EXPECT_EQ(status(429, R"({"error":{"code":"1113","message":"no balance"}})"), JudgeReply::quota_exhausted);
  EXPECT_EQ(
      status(
          400,
          R"({"object":"error","message":"This model's maximum context length is 512 tokens. However, you requested 900 tokens.","type":"BadRequestError","param":null,"code":400})"),
      JudgeReply::error);
  EXPECT_EQ(status(400, R"({"error":{"message":"inappropriate value for top_k"}})"), JudgeReply::error);
  EXPECT_EQ(decide(500, R"({"error":{"message":"while reading: the content policy of ..."}})").next, Next::retry);
  EXPECT_TRUE(decide(403, R"({"error":{"message":"no"}})").unclear) << "perhaps this one question";
  EXPECT_TRUE(decide(403, "").unclear);
  EXPECT_FALSE(decide(403, R"({"error":{"message":"Invalid API key"}})").unclear);
  EXPECT_EQ(
      errors().decide_on_report_inside(parse_api_problem(R"({"error":{"message":"no","type":"content_filter"}})"), {}).status,
      JudgeReply::refused)
      << "HTTP 200 with an error report";
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

TEST(EndpointErrors, AdvisesByWhatTheServerSaysOfAccess) {
  const auto advice = [](int status, const char* body) { return decide(status, body).problem; };
  for (
      const auto& [status, body, words] : std::initializer_list<std::tuple<int, const char*, const char*>>{
          {403,
           R"({"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported"}})",
           "does not serve the country or region"},
          {401, R"({"error":{"message":"This model is not available in your region"}})", "does not serve the country or region"},
          {451, R"({"error":{"message":"This service is not available in your country"}})",
           "does not serve the country or region"},
          {400,
           R"([{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}])",
           "does not serve the country or region"},
          {403, R"({"error":{"message":"Requests from your IP address are blocked"}})", "the address of this machine"},
          {403, "<html>Sorry, you have been blocked</html>", "page of a firewall or proxy"},
          {403, R"({"error":{"message":"Your account was flagged and is suspended"}})", "the account of the key is blocked"}}) {
    const std::string said = advice(status, body);
    EXPECT_NE(said.find(words), std::string::npos) << said;
    EXPECT_EQ(said.find("no API key was sent"), std::string::npos) << said;
  }
  for (const char* body :
       {R"({"error":{"message":"Incorrect API key provided"}})", "<html>401 Authorization Required</html>", "{}"})
    EXPECT_NE(advice(401, body).find("no API key was sent: name the variable or file"), std::string::npos) << body;
  EXPECT_EQ(decide(400, R"({"error":{"message":"User location is not supported for the API use."}})").status,
            JudgeReply::unusable)
      << "it is so for every question";
}

TEST(EndpointErrors, SaysWhatToDoAboutTextsThatAreTooLongForAGateway) {
  const RetryDecision decision = decide(413, "<html>413 Request Entity Too Large</html>");
  EXPECT_EQ(decision.status, JudgeReply::error);
  for (const char* words : {"gateway or proxy", "context_tokens", "labels.too_long: skip"})
    EXPECT_NE(decision.problem.find(words), std::string::npos) << decision.problem;
}

TEST(EndpointErrors, ShowsTheAddressThatWasAsked) {
  HttpResult result;
  result.end = HttpResult::End::replied;
  result.status = 404;
  result.asked = "http://127.0.0.1:8000/wrong/chat/completions";
  const std::string problem = errors("http://127.0.0.1:8000/wrong").decide(result).problem;
  EXPECT_EQ(problem.find("http://127.0.0.1:8000/wrong/chat/completions answered 404"), 0U) << problem;
  EXPECT_NE(problem.find("https://host/v1"), std::string::npos) << problem;
  const auto bad_body = errors("http://h/v1").decide_on_bad_body("an empty body", "http://h/v1/chat/completions");
  EXPECT_EQ(bad_body.problem, "http://h/v1/chat/completions answered 200 with an empty body");
}

TEST(EndpointErrors, RepeatsOnlyWhereARepetitionCanHelp) {
  for (const int status : {408, 409, 425, 500, 502}) EXPECT_EQ(decide(status, "{}").next, Next::retry) << status;
  for (const int status : {429, 503}) EXPECT_EQ(decide(status, "{}").next, Next::retry_throttled) << status;
  for (const int status : {302, 400, 401, 402, 403, 404, 422}) EXPECT_EQ(decide(status, "{}").next, Next::finish) << status;
}

TEST(EndpointErrors, KnowsReportsOfStatus400ThatConcernAllQuestions) {
  struct Case {
    const char* message;
    JudgeReply::Status status;
    const char* advice;
  };
  for (const auto& [message, status, advice] : std::vector<Case>{
           {"API key not valid. Please pass a valid API key.", JudgeReply::unauthorised, "no API key was sent"},
           {"Your credit balance is too low to access the Anthropic API.", JudgeReply::quota_exhausted, ""},
           {"foo/bar is not a valid model ID", JudgeReply::model_unknown, "check the judge's model name"},
           {"Model Not Exist", JudgeReply::model_unknown, "check the judge's model name"},
           {"No models loaded. Please load a model in the developer page", JudgeReply::model_unknown, "model name"}}) {
    const std::string body = nlohmann::json{{"error", {{"message", message}}}}.dump();
    const RetryDecision decision = decide(400, body);
    EXPECT_EQ(decision.next, Next::finish) << message;
    EXPECT_EQ(decision.status, status) << message;
    EXPECT_EQ(decision.http_status, 400);
    EXPECT_NE(decision.problem.find("answered 400"), std::string::npos) << decision.problem;
    EXPECT_NE(decision.problem.find(advice), std::string::npos) << decision.problem;
  }
}

TEST(EndpointErrors, DoesNotReadTheTextsThatABodyRepeatsAsWordsAboutTheAccount) {
  const char* body = R"({"input":"Why do I have an overdue payment and insufficient balance?","valid":false})";
  EXPECT_NE(to_string(decide(400, body).status), to_string(JudgeReply::quota_exhausted));
}

TEST(EndpointErrors, TellsAnEmptyAccountFromAQuestionAboutOne) {
  for (const char* body :
       {R"({"error":{"message":"Failed to render input: 'The bank said insufficient funds again' contains a bad character"}})",
        R"({"error":{"message":"1 error [type=string_type, input_value='You have no credits left', input_type=str]"}})"})
    EXPECT_EQ(to_string(decide(400, body).status), to_string(JudgeReply::error)) << body;
  for (const char* body :
       {R"({"error":{"message":"litellm.BadRequestError: {\"error\":{\"message\":\"Your credit balance is too low\"}}"}})",
        R"({"error":{"message":"Error code: 402 - {'error': {'message': 'Insufficient Balance'}}"}})"})
    EXPECT_EQ(to_string(decide(400, body).status), to_string(JudgeReply::quota_exhausted)) << body;
}

TEST(EndpointErrors, KnowsHowProvidersSayThatAnAccountIsUsedUp) {
  const std::vector<std::pair<int, const char*>> cases = {
      {400, R"({"error":{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}})"},
      {403,
       R"({"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance."}})"},
      {403, R"({"code":30001,"message":"Sorry, your account balance is insufficient","data":null})"},
      {412, R"({"status":"failure","message":"Portkey Error: Budget/Usage limit exceeded. Error Code: 02"})"},
      {400,
       R"({"error":{"message":"Budget has been exceeded! Current cost: 10.01, Max budget: 10.0","type":"budget_exceeded"}})"},
      {400, R"({"error":{"message":"You have reached your specified API usage limits. You will regain access later."}})"},
      {401, R"({"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":401}})"},
      {429, R"({"error":"Your team has either used all available credits or reached its monthly spending limit."})"},
      {403, R"({"error":{"message":"Key limit exceeded (total limit).","code":403}})"},
      {429, R"({"error":{"message":"Your account org is suspended, please check your plan and billing details",
                         "type":"exceeded_current_quota_error"}})"},
      {403, R"({"error":{"message":"余额不足"}})"},
      {429, R"({"error":{"code":"x","message":"账户余额不足"}})"}};
  for (const auto& [status, body] : cases) {
    EndpointErrors known = errors();
    known.accept_key();  // it worked until now
    HttpResult result;
    result.end = HttpResult::End::replied;
    result.status = status;
    result.body = body;
    for (const RetryDecision& decision : {decide(status, body), known.decide(result)}) {
      EXPECT_EQ(decision.next, Next::finish) << body;
      EXPECT_EQ(to_string(decision.status), to_string(JudgeReply::quota_exhausted)) << body;
    }
  }
  EXPECT_EQ(
      decide(400, R"({"error":{"message":"maximum context length is 8 tokens; your account balance is insufficient for more",
                           "code":"context_length_exceeded"}})")
          .status,
      JudgeReply::error)
      << "it is about one text";
  EXPECT_EQ(decide(429, R"({"error":{"message":"Rate limit reached for requests per minute"}})").next, Next::retry_throttled);
  EXPECT_EQ(decide(400, R"({"error":{"message":"What a balance sheet is was not asked"}})").status, JudgeReply::error);
}

TEST(EndpointErrors, ReadsAPauseThatIsWrittenInWords) {
  const auto of = [](const std::string& message) {
    return decide(429, nlohmann::json{{"error", {{"message", message}}}}.dump());
  };
  const RetryDecision day =
      of("Rate limit of 150 per 86400s exceeded for UserByModelByDay. Please wait 60000 seconds before retrying.");
  EXPECT_EQ(day.status, JudgeReply::quota_exhausted);
  EXPECT_NE(day.problem.find("a pause of 60000 s"), std::string::npos) << day.problem;
  EXPECT_NE(of("tokens per day (TPD): Please try again in 1h7m13.2s.").problem.find("a pause of 4033 s"), std::string::npos);
  EXPECT_NE(of("Try again in 2 hours, 5 minutes").problem.find("a pause of 7500 s"), std::string::npos);
  for (const char* soon : {"Please try again in 7.5s", "try again in 250ms. Visit", "wait 20 seconds", "please wait",
                           "wait 9 lives", "try again in 1e300 days", "wait -5 hours"})
    EXPECT_EQ(of(soon).next, Next::retry_throttled) << soon;
}

TEST(EndpointErrors, NamesTheSettingForGroqsReports) {
  const RetryDecision json = decide(
      400, R"({"error":{"message":"Failed to generate JSON.","type":"invalid_request_error","code":"json_validate_failed"}})");
  EXPECT_EQ(json.reason, Reason::response_format);
  EXPECT_NE(json.problem.find("answer: verdict_line"), std::string::npos) << json.problem;
  const RetryDecision large = decide(
      413, R"({"error":{"message":"Request too large on tokens per minute (TPM): Limit 6000, Requested 7000","type":"tokens"}})");
  EXPECT_NE(large.problem.find("more tokens than the provider allows in a minute"), std::string::npos) << large.problem;
  EXPECT_EQ(large.problem.find("nginx"), std::string::npos);
}

TEST(EndpointErrors, ReadsTheStatusOfAReportInsideAReply) {
  const auto inside = [](const std::string& body) { return errors().decide_on_report_inside(parse_api_problem(body), {}); };
  const RetryDecision endpoint = inside(R"-({"error":"Unexpected endpoint or method. (POST /chat/completions)"})-");
  EXPECT_EQ(endpoint.next, Next::finish);
  EXPECT_EQ(endpoint.status, JudgeReply::model_unknown);
  EXPECT_NE(endpoint.problem.find("answered 200 with an error report: Unexpected endpoint"), std::string::npos)
      << endpoint.problem;
  for (const char* body : {R"({"error":{"code":"429","message":"slow down"}})", R"({"error":{"message":"x","status":429}})",
                           R"({"error":{"message":"x","status":"RESOURCE_EXHAUSTED"}})"})
    EXPECT_EQ(inside(body).next, Next::retry_throttled) << body;
  const RetryDecision unnamed = inside(R"({"error":{"message":"it broke"}})");
  EXPECT_EQ(unnamed.next, Next::retry);
  EXPECT_NE(unnamed.problem.find("answered 200 with an error report: it broke"), std::string::npos) << unnamed.problem;
}

}  // namespace
}  // namespace dmoerm::judge
