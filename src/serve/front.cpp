#include "serve/front.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "serve/addresses.h"
#include "serve/callers.h"

namespace dmoerm::serve {

Front::Front(std::vector<std::string> keys, std::vector<std::string> command, int ranks, double deadline_s)
    : keys_(std::move(keys)),
      ranks_(
          std::move(command), ranks,
          [this](const HttpRequest& request, const HttpAnswer& answer, int rank, double seconds) {
            count(request, answer, rank, seconds);
          },
          deadline_s) {}

void Front::count(const HttpRequest& request, const HttpAnswer& answer, int rank, double seconds) {
  const std::string endpoint = label_of(request.path);
  if (rank < 0) own_.add(endpoint, answer.status, seconds);
  const std::lock_guard lock(mutex_);
  totals_.add(endpoint, answer.status);
  totals_.texts += answer.texts;
  totals_.tokens += answer.tokens;
}

HttpAnswer Front::counted(const HttpRequest& request, HttpAnswer answer) {
  count(request, answer, -1, 0);
  return answer;
}

HttpAnswer Front::refuse(const HttpRequest& request, int status, ErrorCode code, const std::string& message) {
  return counted(request, refusal_of(request, status, code, message));
}

Totals Front::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

std::optional<HttpAnswer> Front::check(const HttpRequest& request) {
  const bool draining = draining_, ready = ranks_.ready();
  const Standing standing = draining ? Standing::draining : ready ? Standing::ready : Standing::starting;
  if (auto answer = answer_at_once(request, keys_, standing); answer) return counted(request, std::move(*answer));
  if (draining && request.path.ends_with("/ready")) return counted(request, stopping(family_of(request)));
  if (!ready && request.path != "/metrics") return counted(request, Ranks::not_ready(request));
  return std::nullopt;
}

void Front::handle(std::shared_ptr<Exchange> exchange) {
  const HttpRequest& request = exchange->request;
  if (request.path == "/metrics" && (request.method == "GET" || request.method == "HEAD"))
    return ranks_.ask_all(std::move(exchange),
                          [this](std::map<int, HttpAnswer> answers) { return join_metrics_of(std::move(answers)); });
  if (request.path == "/admin/reload" && request.method == "POST")
    return ranks_.ask_all(exchange, [exchange](const std::map<int, HttpAnswer>& answers) {
      if (answers.empty()) return Ranks::not_ready(exchange->request);
      return std::ranges::max_element(answers, {}, [](const auto& a) { return a.second.status; })->second;
    });
  ranks_.handle(std::move(exchange));
}

HttpAnswer Front::join_metrics_of(std::map<int, HttpAnswer> answers) const {
  std::map<std::string, std::string> texts;
  for (auto& [rank, answer] : answers) {
    if (answer.status == 200) texts[std::to_string(rank)] = std::move(answer.body);
  }
  std::string& own = texts["front"];
  own = own_.text() + text_of_ready(ranks_.ready() && !draining_);
  if (const HttpServer* server = server_; server != nullptr) own += text_of(server->gauges());
  const std::string again = fmt::format(
      "# HELP dmoerm_rank_restarts_total Ranks that died and were started again\n"
      "# TYPE dmoerm_rank_restarts_total counter\ndmoerm_rank_restarts_total {}\n",
      restarts());
  return {200, join_metrics(texts) + again, "text/plain; version=0.0.4; charset=utf-8"};
}

std::string join_metrics(const std::map<std::string, std::string>& texts) {
  struct Family {
    std::string name, head, lines;
  };
  std::vector<Family> families;
  for (const auto& [rank, own] : texts) {
    std::stringstream text(own);
    Family* family = nullptr;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("# HELP ")) {
        const std::string name = line.substr(7, line.find(' ', 7) - 7);
        const auto found = std::ranges::find(families, name, &Family::name);
        family = found == families.end() ? &families.emplace_back(Family{name, line + "\n", ""}) : &*found;
      } else if (line.starts_with("# TYPE ")) {
        if (family->head.find("# TYPE") == std::string::npos) family->head += line + "\n";
      } else if (family != nullptr) {
        const std::size_t brace = line.find('{'), space = line.find(' ');
        const bool labelled = brace < space;
        const std::size_t at = labelled ? brace : space;
        family->lines += line.substr(0, at) + fmt::format("{{rank=\"{}\"{}", rank, labelled ? "," : "}") +
                         line.substr(labelled ? at + 1 : at) + "\n";
      }
    }
  }
  std::string out;
  for (const Family& family : families) out += family.head + family.lines;
  return out;
}

}  // namespace dmoerm::serve
