// Benchmark of the judge client: asks one server as fast as it answers, or for a given time, and prints the figures as one JSON
// line.
//
//   bench_label_client --url http://127.0.0.1:PORT/v1 (--requests N | --seconds S) [--in-flight 256]
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "judge/judge_client.h"

namespace {

using namespace dmoerm;
using Steady = std::chrono::steady_clock;

/// A question of ordinary size: two responses of 800 bytes.
std::string body_of(std::uint64_t number) {
  const std::string words = fmt::format("{} lorem ipsum dolor sit amet consectetur adipiscing elit ", number);
  std::string text;
  while (text.size() < 800) text += words;
  return fmt::format(
      R"({{"messages":[{{"content":"Which is better?\npoint: clarity\n<response_1 k3>\n{0}\n</response_1 k3>\n<response_2 k3>\n)"
      R"({1} {0}\n</response_2 k3>\n","role":"user"}}],"model":"judge","temperature":0}})",
      text, number * 7);
}

/// A value of /proc/self/status in MB.
double status_mb(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::stod(line.substr(name.size() + 1)) / 1024;
  }
  return 0;
}

double cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  config::EndpointConfig endpoint;
  std::uint64_t requests = 0;
  double seconds = 0;
  CLI::App app("benchmark of the judge client");
  app.add_option("--url", endpoint.url)->required();
  app.add_option("--requests", requests, "0 = as many as fit into --seconds");
  app.add_option("--seconds", seconds);
  app.add_option("--in-flight", endpoint.concurrency_max);
  CLI11_PARSE(app, argc, argv);
  try {
    judge::JudgeClient client({endpoint});
    const auto begun = Steady::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Steady::now() - begun).count(); };
    std::uint64_t next = 0, done = 0, ok = 0;
    std::vector<double> memory_mb;  // resident, at each twentieth of the requests
    while (requests ? done < requests : elapsed() < seconds) {
      for (; (requests == 0 || next < requests) && !client.full(); ++next) client.submit(next, body_of(next), 500);
      for (const judge::JudgeReply& reply : client.poll(std::chrono::milliseconds(100))) {
        ++done;
        ok += reply.status == judge::JudgeReply::ok ? 1 : 0;
        if (requests && done % std::max<std::uint64_t>(1, requests / 20) == 0) memory_mb.push_back(status_mb("VmRSS"));
      }
    }
    const double wall = elapsed(), cpu = cpu_s();
    const judge::ClientStats stats = client.stats();
    const nlohmann::json line = {{"done", done},   {"ok", ok},     {"sent", stats.sent},  {"throttled", stats.throttled},
                                 {"wall_s", wall}, {"cpu_s", cpu}, {"rss_mb", memory_mb}, {"peak_mb", status_mb("VmHWM")}};
    std::puts(line.dump().c_str());
  } catch (const Error& e) {
    std::fprintf(stderr, "bench_label_client: %s\n", e.what());
    return e.exit_code();
  }
  return 0;
}
