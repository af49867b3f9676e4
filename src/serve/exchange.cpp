#include "serve/exchange.h"

#include "base/text.h"

namespace dmoerm::serve {

std::string HttpRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : std::string(trim(found->second));
}

void Exchange::answer(HttpAnswer answer) {
  std::function<void()> resume;
  {
    const std::lock_guard lock(mutex_);
    if (answer_) return;
    answer_ = std::move(answer);
    cancel_ = nullptr;
    resume = std::exchange(resume_, nullptr);
  }
  if (resume) resume();
}

void Exchange::when_gone(std::function<void()> cancel) {
  {
    const std::lock_guard lock(mutex_);
    if (answer_) return;
    if (!gone_) {
      cancel_ = std::move(cancel);
      return;
    }
  }
  cancel();
}

void Exchange::hang_up() {
  std::function<void()> cancel;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    cancel = std::exchange(cancel_, nullptr);
  }
  if (cancel) cancel();
}

std::shared_ptr<Exchange> Exchange::make(HttpRequest request, std::function<void(HttpAnswer)> deliver) {
  auto exchange = std::make_shared<Exchange>();
  exchange->request = std::move(request);
  exchange->resume_ = [own = exchange.get(), deliver = std::move(deliver)] { deliver(std::move(*own->answer_)); };
  return exchange;
}

}  // namespace dmoerm::serve
