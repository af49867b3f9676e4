// What the server does with requests, without HTTP.
#include "serve/service.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "support/bundle.h"

namespace dmoerm::serve {
namespace {

/// Counts answers by status, and waits for them.
class Answers {
 public:
  std::shared_ptr<Exchange> exchange(const std::string& path, const std::string& body) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    request.headers = {{"host", "localhost"}};
    request.body = body;
    return Exchange::make(std::move(request), [this](const HttpAnswer& answer) {
      const std::lock_guard lock(mutex_);
      ++statuses_[answer.status];
      last_ = answer.body;
      ++count_;
      changed_.notify_all();
    });
  }
  std::map<int, int> wait_for(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
    return statuses_;
  }
  std::string last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, int> statuses_;
  std::string last_;
  int count_ = 0;
};

TEST(Service, ServesManyWhoAskForAReloadWithFewReadings) {
  Answers answers;
  Bundles bundles({{"m", test::earlier_bundle_folder()}}, {{"alias", "m"}}, at::kCPU, 1);
  Service service({}, {}, bundles);
  constexpr int kAskers = 60;
  for (int i = 0; i < kAskers; ++i)
    service.handle(answers.exchange("/admin/reload", i % 2 == 0 ? R"({"model": "m"})" : R"({"model": "alias"})"));
  EXPECT_EQ(answers.wait_for(kAskers), (std::map<int, int>{{200, kAskers}}));
  EXPECT_GE(bundles.reloads(), 1);
  EXPECT_LE(bundles.reloads(), 10);
  service.handle(answers.exchange("/admin/reload", R"({"model": "other"})"));
  EXPECT_EQ(answers.wait_for(kAskers + 1).at(404), 1);
}

TEST(Service, RefusesTextsThatAreTooLongByTheirBytes) {
  Answers answers;
  Bundles bundles({{"m", test::earlier_bundle_folder()}}, {}, at::kCPU, 1);
  ServiceOptions options;
  options.request_tokens_max = 100;
  Service service(options, {}, bundles);
  service.handle(answers.exchange("/v1/reward", R"({"prompt": "x", "response": ")" + std::string(2000, 'y') + R"("})"));
  EXPECT_EQ(answers.wait_for(1), (std::map<int, int>{{413, 1}}));
  EXPECT_NE(answers.last().find("2001 bytes"), std::string::npos) << answers.last();
  EXPECT_NE(answers.last().find("request-too-long"), std::string::npos) << answers.last();
}

}  // namespace
}  // namespace dmoerm::serve
