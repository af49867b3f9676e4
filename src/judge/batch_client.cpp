#include "judge/batch_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <unordered_set>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "judge/batch_files.h"
#include "judge/batch_job.h"
#include "judge/batch_state.h"
#include "judge/batch_status.h"
#include "judge/endpoint_errors.h"
#include "judge/http_multi.h"
#include "judge/rate_limit.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;
constexpr int kLooks = 2;       // searches for a batch that may have been created
constexpr int kEmptyEnds = 3;   // times that the status "completed" without files is polled again
constexpr int kReadings = 3;    // readings after which a result that is not there, or a line that is damaged, counts as lost
constexpr int kPause_s = 3600;  // longest pause that a server may ask for

}  // namespace

struct BatchClient::Impl {
  Impl(const config::EndpointConfig& endpoint, std::filesystem::path where, const BatchPolicy& limits, RateRegistry* registry)
      : policy(limits),
        folder(std::move(where)),
        rng(policy.seed ? policy.seed : std::random_device{}()),
        errors(endpoint, kPause_s),
        http(4, policy.results_bytes_max) {
    if (registry != nullptr) rates = registry->of(endpoint, errors.key().secret());
    HttpTarget target{.endpoint = endpoint, .bearer = errors.key().secret()};
    target.endpoint.request_timeout_s = policy.transfer_time_s;
    base = http.add_target(target);
    target.path = "/batches";
    batches = http.add_target(target);
    target.path = "/files";
    target.content_type = kUploadType;
    files = http.add_target(target);
    for (BatchRecord& record : load_batches(folder)) {
      if (record.endpoint != errors.shown()) {
        throw DataError(
            "batch-other-endpoint",
            fmt::format(
                "{}/batch-{}.json: its {} requests are in a batch at {}, but this run asks {}: run with the first address "
                "to collect them, or remove the file to ask and pay for them again",
                folder.string(), record.name, record.ids.size(), record.endpoint, errors.shown()));
      }
      ids.insert(record.ids.begin(), record.ids.end());
      auto job = std::make_unique<Job>();
      job->stage = record.batch_id.empty() ? Stage::look : Stage::poll;
      job->progress.status = record.batch_id.empty() ? "creating" : "unknown";
      if (record.creations == 0) job->looks = kLooks - 1;  // nothing was sent that the list may not show yet
      job->record = std::move(record);
      jobs.push_back(std::move(job));
    }
  }

  // --- sending ---

  void close_file() {
    if (lines.empty()) return;
    auto job = std::make_unique<Job>();
    job->record.name = new_batch_name();
    job->record.endpoint = errors.shown();
    job->record.ids = std::exchange(added, {});
    job->content = upload_body(std::exchange(lines, {}));
    job->progress.status = "uploading";
    jobs.push_back(std::move(job));
  }

  Job* next_job() {
    Job* next = nullptr;
    for (const auto& job : jobs) {
      if (job->stage != Stage::delivered && (!next || job->due < next->due)) next = job.get();
    }
    return next;
  }

  void begin(Job& job) {
    calling = &job;
    switch (job.stage) {
      case Stage::upload:
        return http.start(0, files, job.content);
      case Stage::create:
        ++job.record.creations;
        save_batch(folder, job.record);  // before it is sent, which costs money
        job.content = json{{"input_file_id", job.record.file_id},
                           {"endpoint", "/v1/chat/completions"},
                           {"completion_window", "24h"},
                           {"metadata", {{kNameField, job.record.name}}}}
                          .dump();
        return http.start(0, batches, job.content);
      case Stage::look:
        return http.get(0, base, "/batches?limit=100" + (job.page.empty() ? "" : "&after=" + job.page));
      case Stage::poll:
        return http.get(0, base, "/batches/" + job.record.batch_id);
      case Stage::output:
        return http.get(0, base, "/files/" + job.output_file + "/content");
      case Stage::errors:
        return http.get(0, base, "/files/" + job.error_file + "/content");
      case Stage::delivered:
        DMOERM_CHECK(false, "a call for a batch that is done");
    }
  }

  // --- receiving ---

  void stop(JudgeReply::Status status, const std::string& detail) {
    stopped.emplace();
    stopped->status = status;
    stopped->detail = detail;
  }

  void go(Job& job, Stage stage, double delay_s = 0) {
    job.stage = stage;
    job.due = after(Clock::now(), delay_s);
  }

  void look_for(Job& job, double delay_s) {
    job.looks = 0;
    job.page.clear();
    go(job, Stage::look, delay_s);
  }

  void keep_batch_id(Job& job, const std::string& id) {
    job.record.batch_id = id;
    job.content.clear();
    go(job, Stage::poll, policy.poll_min_s);  // before save_batch() can throw: the batch must not be created again
    save_batch(folder, job.record);
    spdlog::info("[label] batch={} provider_id={} requests={}: created", job.record.name, id, job.record.ids.size());
  }

  // Each takes the body of a reply with status 200. @return what is wrong with it; empty if nothing is
  std::string uploaded(Job& job, const json& body) {
    job.record.file_id = text_at(body, "id");
    if (!is_plain_id(job.record.file_id)) return "a file without a usable id";
    save_batch(folder, job.record);  // before the batch is created, which costs money
    job.content.clear();
    job.progress.status = "creating";
    go(job, Stage::create);
    return "";
  }

  std::string created(Job& job, const json& body) {
    const std::string id = text_at(body, "id");
    if (!is_plain_id(id)) return "a batch without a usable id";
    keep_batch_id(job, id);
    return "";
  }

  std::string looked(Job& job, const json& body) {
    const auto data = body.find("data");
    if (data == body.end() || !data->is_array()) return "no list of batches";
    for (const json& batch : *data) {
      if (!is_of(job, batch)) continue;
      const std::string id = text_at(batch, "id");
      if (!is_plain_id(id)) return "a batch without a usable id";
      keep_batch_id(job, id);
      return "";
    }
    const bool more = body.value("has_more", json(false)) == true && !data->empty() && data->back().is_object();
    const std::string last = more ? text_at(data->back(), "id") : "";
    if (more && (!is_plain_id(last) || last == job.page)) return "a list of batches whose pages do not go on";
    job.page = last;
    if (more) {
      go(job, Stage::look);
    } else if (++job.looks < kLooks) {
      go(job, Stage::look, policy.lookup_pause_s);
    } else {
      if (job.record.creations > 0)
        spdlog::warn(
            "[label] batch={} file_id={} requests={}: the reply to its creation was lost, and the provider's list of batches "
            "does "
            "not show it; it is created again, and the budget counts the first one at its maximum cost: look for a batch of this "
            "file at the provider, and cancel it if there are two",
            job.record.name, job.record.file_id, job.record.ids.size());
      go(job, Stage::create);
    }
    return "";
  }

  std::string polled(Job& job, const json& body) {
    BatchProgress& progress = job.progress;
    progress.status = one_line(text_at(body, "status"), 40);
    if (const auto counts = body.find("request_counts"); counts != body.end() && counts->is_object()) {
      progress.total = count_at(*counts, "total");
      progress.completed = count_at(*counts, "completed");
      progress.failed = count_at(*counts, "failed");
    }
    if (progress.status.empty()) return "a batch without a status";
    const std::string end = batch_end(progress.status);
    if (end.empty()) {
      if (!is_batch_under_way(progress.status) && unknown.insert(progress.status).second)
        spdlog::warn(
            "[label] batch={} provider_id={} status=\"{}\": not known to this program, which takes the batch to be under way",
            job.record.name, job.record.batch_id, progress.status);
      const double pause = std::min(policy.poll_max_s, policy.poll_min_s * std::pow(1.5, std::min(++job.polls, 40)));
      go(job, Stage::poll, pause * (0.9 + 0.2 * rng.uniform()));
      return "";
    }
    progress.status = end;
    job.output_file = text_at(body, "output_file_id");
    job.error_file = text_at(body, "error_file_id");
    for (const std::string& id : {job.output_file, job.error_file}) {
      if (!id.empty() && !is_plain_id(id)) return "a file without a usable id";
    }
    if (progress.status == "completed" && job.output_file.empty() && job.error_file.empty() && ++job.empty_ends <= kEmptyEnds) {
      go(job, Stage::poll, policy.poll_min_s);
      return "";
    }
    if (progress.status == "completed" && job.output_file.empty() && job.error_file.empty() && progress.completed > 0)
      return fmt::format("a batch that has {} and no file of results", counted(progress.completed, "answer"));
    if (progress.status == "failed") refuse_all(job, body);
    go(job, !job.output_file.empty() ? Stage::output : !job.error_file.empty() ? Stage::errors : Stage::delivered);
    return "";
  }

  /// The provider refused the batch, so nothing was asked. At a limit that passes the questions go back and the client stops;
  /// another refusal would come again, so that it is the reply to each of them.
  void refuse_all(Job& job, const json& body) {
    std::string why, codes;
    const auto found = body.find("errors");
    if (found != body.end() && found->is_object()) {
      for (const json& error : found->value("data", json::array())) {
        if (error.is_object() && why.size() < 300) why += (why.empty() ? "" : "; ") + text_at(error, "message");
        if (error.is_object()) codes += text_at(error, "code") + " ";
      }
    }
    std::string detail = errors.key().redact(fmt::format("{} refused batch {}: {}", errors.shown(), job.record.batch_id,
                                                         why.empty() ? "it does not say why" : one_line(why)));
    if (passes_by_itself(codes + why)) {
      detail += "; nothing of it was asked or paid for: run again later";
      return stop(JudgeReply::quota_exhausted, detail);
    }
    spdlog::error("[label] {}", detail);
    for (const std::string& id : job.record.ids) job.found.replies[id].detail = detail;
  }

  /// The results in the files, unless these are damaged: whoever forgot the batch then would pay for its answers again.
  std::string read(Job& job, const HttpResult& result) {
    if (std::string problem = read_batch_results(errors.key().redact_data(result.body), errors, job.found); !problem.empty()) {
      return problem;
    }
    if (job.stage == Stage::output && !job.error_file.empty()) {
      go(job, Stage::errors);
      return "";
    }
    const BatchProgress& progress = job.progress;
    const std::int64_t expected = progress.status == "completed" ? std::ssize(job.record.ids) : progress.completed;
    const std::int64_t found = std::ssize(job.found.replies);
    const bool any = found > 0 || (progress.total > 0 && progress.completed == 0);
    const bool undamaged = job.found.bad_lines == 0 || found + job.found.cut_lines >= expected;
    if (found >= expected || (++job.readings >= kReadings && any && undamaged)) {
      go(job, Stage::delivered);
      return "";
    }
    const std::int64_t bad = job.found.bad_lines;
    job.found = {};
    job.stage = job.output_file.empty() ? Stage::errors : Stage::output;
    return fmt::format("files of batch {} that have {} of {}, and {}", job.record.batch_id, found, counted(expected, "result"),
                       counted(bad, "damaged line"));
  }

  std::string answered(Job& job, const HttpResult& result) {
    if (job.stage == Stage::output || job.stage == Stage::errors) return read(job, result);
    const auto body = parse_json(result.body);
    if (!body || !body->is_object()) return "a body that is not a JSON object";
    switch (job.stage) {
      case Stage::upload:
        return uploaded(job, *body);
      case Stage::create:
        return created(job, *body);
      case Stage::look:
        return looked(job, *body);
      default:
        return polled(job, *body);
    }
  }

  /// The provider does not have the batch's file: its requests come back, and whoever wants them adds them again.
  void give_up_file(Job& job, const std::string& problem) {
    --job.record.creations;
    job.no_file = problem;
    job.progress.status = "not created";
    job.stage = Stage::delivered;
    spdlog::warn("[label] batch={} file_id={} requests={}: {}: the batch was not created, and they are uploaded again",
                 job.record.name, job.record.file_id, job.record.ids.size(), problem);
  }

  /// Take requests without an answer out of a batch, so that they can be added again while it is kept for other replies.
  void let_go(Job& job, const BatchResults& results) {
    std::unordered_set<std::string_view> unanswered;
    for (const BatchReply& reply : results.replies) {
      if (reply.reply.status == JudgeReply::cancelled) unanswered.insert(reply.id);
    }
    if (unanswered.empty()) return;
    std::erase_if(job.record.ids, [&](const std::string& id) { return unanswered.contains(id); });
    for (const BatchReply& reply : results.replies) {
      if (unanswered.contains(reply.id)) ids.erase(reply.id);
    }
    save_batch(folder, job.record);
  }

  BatchResults deliver(Job& job) {
    BatchResults results;
    results.batch = job.record.name;
    const std::string& status = job.progress.status;
    for (const std::string& id : job.record.ids) {
      const auto found = job.found.replies.find(id);
      BatchReply reply{id, {}};
      if (found != job.found.replies.end()) {
        reply.reply = std::move(found->second);
      } else if (status == "completed") {
        reply.reply.maybe_billed = true;
        reply.reply.billed_tries = 1;
        reply.reply.detail = fmt::format("batch {} is complete, but has no result for this request", job.record.batch_id);
      } else if (!job.no_file.empty()) {
        reply.reply.status = JudgeReply::cancelled;
        reply.reply.detail = job.no_file;
      } else {
        reply.reply.status = JudgeReply::cancelled;
        reply.reply.detail = fmt::format("batch {} was {} before this request was answered", job.record.batch_id, status);
      }
      book_lost_creations(job, reply.reply);
      results.replies.push_back(std::move(reply));
    }
    spdlog::info("[label] batch={} status={} requests={} bad_lines={}: collected", job.record.name, status,
                 results.replies.size(), job.found.bad_lines);
    job.found = {};
    let_go(job, results);
    return results;
  }

  /// Where a batch is recorded; "" before its file is uploaded.
  [[nodiscard]] std::string where(const Job& job) const {
    if (job.record.file_id.empty()) return "";
    const std::string what =
        job.record.batch_id.empty() ? "the batch of file " + job.record.file_id : "batch " + job.record.batch_id;
    return fmt::format(
        " ({} with {} requests is still recorded in {}/batch-{}.json; remove that file to ask and pay for them again)", what,
        job.record.ids.size(), folder.string(), job.record.name);
  }

  void failed(Job& job, const RetryDecision& decision, const RateHeaders& headers) {
    using Next = RetryDecision::Next;
    const TimePoint now = Clock::now();
    if (job.stage == Stage::create && !decision.charged) {  // it was refused, or failed without a charge
      --job.record.creations;
      save_batch(folder, job.record);
    }
    if (decision.next == Next::finish) return stop(decision.status, decision.problem + where(job));
    failing_since = failing_since.value_or(now);
    if (seconds_between(*failing_since, now) > policy.outage_max_s) {
      return stop(JudgeReply::unreachable,
                  fmt::format("no call to the provider has worked for {:.0f} s, the last problem: {}; run again when it works{}",
                              policy.outage_max_s, decision.problem, where(job)));
    }
    spdlog::debug("[label] batch={} problem=\"{}\": trying again", job.record.name, decision.problem);
    double delay = Backoff{policy.backoff_base_s, policy.backoff_cap_s}.delay_s(job.failures++, rng);
    if (headers.retry_after_s) delay += *headers.retry_after_s;
    if (headers.retry_after_s && rates && decision.outcome == EndpointGate::Outcome::throttled)
      rates->requests.hold(after(now, std::min<double>(*headers.retry_after_s, kPause_s)));
    // Unless the provider clearly refused it, the batch may have been created.
    const bool unclear = job.stage == Stage::create && decision.next != Next::retry_unreached &&
                         decision.outcome != EndpointGate::Outcome::throttled;
    if (unclear) {
      look_for(job, delay);
    } else {
      go(job, job.stage, delay);
    }
  }

  std::vector<BatchResults> step(std::chrono::milliseconds wait) {
    std::vector<BatchResults> results;
    const TimePoint now = Clock::now();
    Job* next = calling ? nullptr : next_job();
    if (stopped || (!calling && !next)) return results;
    const TimePoint due = !next ? now : rates ? std::max(next->due, rates->requests.ready_at(1, now)) : next->due;
    if (due > now) {
      wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(due - now));
    } else if (next) {
      if (rates) rates->requests.take(1, now);
      begin(*next);
    }
    for (HttpResult& result : http.step(wait)) {
      Job& job = *std::exchange(calling, nullptr);
      std::string problem;
      const bool ok = succeeded(result);
      if (ok) problem = answered(job, result);
      if (!ok && job.stage == Stage::create && is_about_file(result)) {
        give_up_file(job, errors.decide(result).problem);
        results.push_back(deliver(job));
        continue;
      }
      if (!ok || !problem.empty()) {
        failed(job, ok ? errors.decide_on_bad_body(problem, result.asked, result.status) : errors.decide(result), result.headers);
        continue;
      }
      errors.accept_key();
      if (job.readings == 0 || job.stage == Stage::delivered) {  // reading damaged files again is no success
        failing_since.reset();
        job.failures = 0;
      }
      if (job.stage == Stage::delivered) results.push_back(deliver(job));
    }
    return results;
  }

  void acknowledge(const std::string& name) {
    const auto at = std::find_if(jobs.begin(), jobs.end(), [&](const auto& job) { return job->record.name == name; });
    DMOERM_CHECK(at != jobs.end() && (*at)->stage == Stage::delivered, "acknowledge() of a batch that was not collected");
    forget_batch(folder, name);
    for (const std::string& id : (*at)->record.ids) ids.erase(id);
    jobs.erase(at);
  }

  BatchPolicy policy;
  std::filesystem::path folder;
  Rng rng;
  EndpointErrors errors;
  std::shared_ptr<SharedRates> rates;       ///< nullptr: not shared
  int files = -1, batches = -1, base = -1;  ///< Targets of http
  std::vector<std::unique_ptr<Job>> jobs;
  std::unordered_set<std::string> ids;      ///< Ids in all jobs and in the open file
  std::string lines;                        ///< Lines of the open file
  std::vector<std::string> added;           ///< Ids in the open file
  std::unordered_set<std::string> unknown;  ///< Statuses that are warned about
  Job* calling = nullptr;                   ///< Job whose call has no reply yet
  std::optional<TimePoint> failing_since;
  std::optional<JudgeReply> stopped;
  HttpMulti http;  ///< Last member, so destroyed first: it points at the contents in `jobs`
};

BatchClient::BatchClient(const config::EndpointConfig& endpoint, std::filesystem::path folder, BatchPolicy policy,
                         RateRegistry* rates)
    : impl_(std::make_unique<Impl>(endpoint, std::move(folder), policy, rates)) {}
BatchClient::~BatchClient() = default;

bool BatchClient::has(const std::string& id) const { return impl_->ids.contains(id); }
std::size_t BatchClient::pending() const { return impl_->ids.size(); }

void BatchClient::add(const std::string& id, std::string_view body) {
  DMOERM_CHECK(!full(), "add() to a full batch client");
  DMOERM_CHECK(!has(id), "two requests with one id");
  const std::string line = batch_line(id, body);
  if (line.size() > impl_->policy.bytes_max) {
    throw DataError("batch-request-too-large", fmt::format("request {}: it has {} bytes, but a batch file may have at most {}",
                                                           id, line.size(), impl_->policy.bytes_max));
  }
  if (impl_->lines.size() + line.size() > impl_->policy.bytes_max) impl_->close_file();
  impl_->lines += line;
  impl_->added.push_back(id);
  impl_->ids.insert(id);
  if (impl_->added.size() >= impl_->policy.requests_max) impl_->close_file();
}

bool BatchClient::full() const {
  const auto& jobs = impl_->jobs;
  return static_cast<int>(jobs.size()) >= impl_->policy.batches_max ||
         std::any_of(jobs.begin(), jobs.end(), [](const auto& job) { return job->stage == Stage::upload; });
}

void BatchClient::close_file() { impl_->close_file(); }
std::vector<BatchResults> BatchClient::step(std::chrono::milliseconds wait) { return impl_->step(wait); }
void BatchClient::acknowledge(const std::string& batch) { impl_->acknowledge(batch); }
const std::optional<JudgeReply>& BatchClient::stopped() const { return impl_->stopped; }

std::vector<BatchProgress> BatchClient::progress() const {
  std::vector<BatchProgress> all;
  for (const auto& job : impl_->jobs) {
    all.push_back(job->progress);
    all.back().batch = job->record.name;
    all.back().provider_id = job->record.batch_id;
    if (all.back().total == 0) all.back().total = static_cast<std::int64_t>(job->record.ids.size());
  }
  return all;
}

}  // namespace dmoerm::judge
