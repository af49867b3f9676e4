#include "serve/engine.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/thread.h"
#include "serve/problem.h"

namespace dmoerm::serve {
namespace {

constexpr double kNewSpeed = 0.2;     // weight of the last batch in the speed
constexpr std::size_t kLongOnes = 4;  // requests of several batches that take turns at a time
constexpr double kCaution = 1.25;     // the speed is an estimate, and what is scored too late was scored in vain

std::uint64_t hash_of(const Work& work) {
  auto hash =
      reinterpret_cast<std::uintptr_t>(work.bundle.get()) * 0x9E3779B97F4A7C15ULL ^ std::hash<std::string>()(work.category);
  for (const std::int32_t id : work.texts.prompt) hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x100000001B3ULL;
  return hash;
}

bool same_prompt(const Work& a, const Work& b) {
  return a.bundle == b.bundle && a.category == b.category && a.texts.prompt == b.texts.prompt;
}

/// Tokens of the prompt that its responses share: encoders read each text whole.
std::int64_t shared_tokens(const Work& work) {
  const std::shared_ptr<nn::Backbone>& backbone = work.bundle->model.backbone;
  const bool causal = backbone == nullptr || backbone->packing() == data::PackingRule::causal;
  return causal ? std::ssize(work.texts.prompt) : 0;
}

}  // namespace

std::int64_t Engine::tokens_of(const Work& work) {
  const std::int64_t shared = shared_tokens(work);
  std::int64_t tokens = shared;
  for (const auto& response : work.texts.responses) tokens += std::max<std::int64_t>(std::ssize(response) - shared, 1);
  return tokens;
}

Engine::Engine(const EngineOptions& options, OnBatch on_batch, Score score)
    : options_(options),
      on_batch_(std::move(on_batch)),
      score_(score ? std::move(score)
                   : [](const moe::Bundle& bundle, std::span<const moe::ScoreCall> calls) { return bundle.model.score(calls); }) {
  computer_ = start_thread("the thread that scores", [this] { compute_loop(); });
  expirer_ = start_thread("the thread that watches deadlines", [this] { expire_loop(); });
}

Engine::~Engine() {
  stop();
  computer_.join();
  expirer_.join();
}

void Engine::stop() {
  std::vector<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    for (const auto& requests = std::map(requests_); const auto& [ticket, request] : requests)
      end(request, {.end = End::stopped}, ended);
    more_.notify_all();
    expire_.notify_all();
  }
  tell(ended);
}

Engine::Admission Engine::submit(Ask ask, Done done) {
  std::int64_t tokens = 0, texts = 0;
  for (const Work& work : ask.works) {
    tokens += tokens_of(work);
    texts += std::ssize(work.texts.responses);
  }
  const std::lock_guard lock(mutex_);
  const std::int64_t ahead = tokens_ + computing_;
  const double wait_s = seconds_for(ahead), left_s = seconds_between(Clock::now(), ask.deadline);
  // A request that alone is larger than the queue is taken when the queue is empty.
  const bool full = tokens_ > 0 && (tokens_ + tokens > options_.queue_tokens_max || texts_ + texts > options_.queue_texts_max ||
                                    (options_.queue_s_max > 0 && wait_s > options_.queue_s_max));
  // A score is there when its whole batch is. Where nobody waits, a request is taken whatever the speed was.
  const std::int64_t own = ask.works.empty() ? 0 : std::max(tokens, budget_of(ask.works[0]));
  const double done_s = ahead > 0 ? kCaution * seconds_for(ahead + own) : 0;
  const Refused refused = ends_                            ? Refused::stopped
                          : full                           ? Refused::full
                          : done_s > left_s || left_s <= 0 ? Refused::deadline
                                                           : Refused::no;
  if (refused != Refused::no) return {0, std::clamp(wait_s, 1.0, 60.0), refused, wait_s, seconds_for(tokens), done_s};
  auto request = std::make_shared<Request>();
  request->ticket = ++tickets_;
  request->done = std::move(done);
  request->groups.resize(ask.works.size());
  request->ask = std::move(ask);
  for (std::size_t w = 0; w < request->ask.works.size(); ++w) request->left += add_items(request, w);
  requests_[request->ticket] = request;
  more_.notify_one();
  return {request->ticket};
}

/// Queue a work's responses. @return the number of items
std::size_t Engine::add_items(const std::shared_ptr<Request>& request, std::size_t w) {
  const Work& work = request->ask.works[w];
  const std::int64_t budget = budget_of(work), shared = shared_tokens(work);
  const std::uint64_t prompt = hash_of(work);
  Queue& queue = queues_[request->ask.client];
  request->groups[w].responses.resize(work.texts.responses.size());
  std::size_t items = 0;
  for (std::size_t first = 0; first < work.texts.responses.size(); ++items) {
    Item item{request, w, first, 0, shared, shared, prompt};
    while (first < work.texts.responses.size()) {
      const std::int64_t own = std::max<std::int64_t>(std::ssize(work.texts.responses[first]) - shared, 1);
      if (item.count > 0 && item.tokens + own > budget) break;
      item.tokens += own;
      ++item.count;
      ++first;
    }
    tokens_ += item.tokens;
    request->tokens_left += item.tokens;
    texts_ += static_cast<std::int64_t>(item.count);
    queue.push_back(std::move(item));
  }
  return items;
}

bool Engine::full() const {
  const std::lock_guard lock(mutex_);
  return tokens_ >= options_.queue_tokens_max || texts_ >= options_.queue_texts_max;
}

double Engine::retry_after_s() const {
  const std::lock_guard lock(mutex_);
  return std::clamp(seconds_for(tokens_ + computing_), 1.0, 60.0);
}

std::int64_t Engine::budget_of(const Work& work) const {
  return options_.batch_tokens > 0 ? options_.batch_tokens : work.bundle->model.limits.batch_tokens;
}

void Engine::cancel(Ticket ticket) {
  std::vector<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(ticket);
    if (found == requests_.end()) return;
    const std::shared_ptr<Request> request = found->second;
    end(request, {.end = End::cancelled}, ended);
  }
  tell(ended);
}

Engine::State Engine::state() const {
  const std::lock_guard lock(mutex_);
  State state{std::ssize(requests_), texts_, tokens_, tokens_per_s_};
  if (!requests_.empty()) state.oldest_s = seconds_between(requests_.begin()->second->came, Clock::now());
  return state;
}

double Engine::seconds_for(std::int64_t tokens) const {
  return tokens_per_s_ > 0 ? static_cast<double>(tokens) / tokens_per_s_ : 0;
}

void Engine::tell(std::vector<Ended>& ended) {
  for (Ended& one : ended) one.request->done(std::move(one.outcome));
  ended.clear();
}

/// Mark a request as ended and take what is left of it out of the queue. The caller tells it without the lock.
void Engine::end(const std::shared_ptr<Request>& request, Outcome outcome, std::vector<Ended>& ended) {
  if (request->ended) return;
  request->ended = true;
  const bool begun = request->begun != Clock::time_point{};
  outcome.queue_s = seconds_between(request->came, begun ? request->begun : Clock::now());
  outcome.compute_s = begun ? seconds_between(request->begun, Clock::now()) : 0;
  outcome.busy_s = request->busy_s;
  remove_items_of(*request);
  requests_.erase(request->ticket);
  ended.push_back({request, std::move(outcome)});
}

void Engine::remove_items_of(const Request& request) {
  const auto queue = queues_.find(request.ask.client);
  if (queue == queues_.end()) return;
  for (auto item = queue->second.begin(); item != queue->second.end();) {
    const auto next = std::next(item);
    if (item->request.get() == &request) take(queue->second, item);
    item = next;
  }
  if (queue->second.empty()) queues_.erase(queue);
}

void Engine::take(Queue& queue, Queue::iterator item) {
  tokens_ -= item->tokens;
  texts_ -= static_cast<std::int64_t>(item->count);
  queue.erase(item);
}

/// Drop requests whose deadline passes in the queue.
void Engine::expire_loop() {
  constexpr auto kEvery = std::chrono::milliseconds(20);
  std::unique_lock lock(mutex_);
  while (!expire_.wait_for(lock, kEvery, [this] { return ends_; })) {
    std::vector<std::shared_ptr<Request>> late;
    for (const auto& [ticket, request] : requests_) {
      if (request->ask.deadline <= Clock::now()) late.push_back(request);
    }
    if (late.empty()) continue;
    std::vector<Ended> ended;
    for (const auto& request : late) end(request, {.end = End::expired}, ended);
    lock.unlock();
    tell(ended);
    lock.lock();
  }
}

void Engine::compute_loop() {
  at::set_num_threads(options_.threads);
  for (;;) {
    std::unique_lock lock(mutex_);
    std::vector<Shared> batch = next_batch(lock);
    if (batch.empty()) return;
    lock.unlock();
    compute(std::move(batch));
  }
}

/// Wait for work and take it; nothing if the engine ends.
std::vector<Engine::Shared> Engine::next_batch(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    more_.wait(lock, [this] { return ends_ || !queues_.empty(); });
    if (ends_) return {};
    const Item& first = queues_.begin()->second.front();
    const std::int64_t budget = budget_of(first.request->ask.works[first.work]);
    Clock::time_point oldest = Clock::now();
    for (const auto& [client, queue] : queues_) oldest = std::min(oldest, queue.front().request->came);
    const auto until = oldest + duration_of(options_.batch_wait_s);
    more_.wait_until(lock, until, [&] { return ends_ || queues_.empty() || tokens_ >= budget; });
    if (ends_) return {};
    if (std::vector<Shared> batch = pick(budget); !batch.empty()) return batch;
  }
}

/// Whether a request needs several batches. Many short texts that fit one are no reason to wait.
bool Engine::is_long(const Request& request) const {
  return request.left > 1 && request.tokens_left > budget_of(request.ask.works[0]);
}

/// Long requests take turns with others, but only a few of them at a time: if all did, none would be finished in time. Each
/// client's oldest comes first, in the order in which they became that, so that no client waits for all that another sent.
void Engine::choose_long_ones() {
  std::vector<Request*> chosen, others;
  std::set<std::string_view> clients;
  for (const auto& [ticket, request] : requests_) {
    request->stands_back = is_long(*request);
    if (!request->stands_back) continue;
    const bool oldest = clients.insert(request->ask.client).second;
    if (oldest && request->place == 0) request->place = ++places_;
    (oldest ? chosen : others).push_back(request.get());
  }
  std::ranges::sort(chosen, {}, &Request::place);
  chosen.insert(chosen.end(), others.begin(), others.end());
  if (chosen.size() > kLongOnes) chosen.resize(kLongOnes);
  for (Request* request : chosen) request->stands_back = false;
}

/// Take works of one bundle up to the budget. What stands back gets the room that the others leave.
std::vector<Engine::Shared> Engine::pick(std::int64_t budget) {
  choose_long_ones();
  Filling filling{.budget = budget};
  fill(filling, false);
  fill(filling, true);
  computing_ = filling.tokens;
  return std::move(filling.batch);
}

/// Add works, one of each client in turn, and those that share their prompts.
void Engine::fill(Filling& filling, bool with_those_that_stand_back) {
  std::vector<Shared>& batch = filling.batch;
  const auto fits = [&](const Item& item) {
    if (item.request->stands_back && !with_those_that_stand_back) return false;
    if (batch.empty()) return true;
    const Item& first = batch.front().items.front();
    return item.request->ask.works[item.work].bundle == first.request->ask.works[first.work].bundle &&
           filling.tokens + item.tokens <= filling.budget;
  };
  auto turn = queues_.upper_bound(last_client_);
  for (std::size_t passed = 0; passed < queues_.size() && filling.tokens < filling.budget;) {
    if (turn == queues_.end()) turn = queues_.begin();
    Queue& queue = turn->second;
    const auto found = std::ranges::find_if(queue, fits);
    if (found == queue.end()) {
      ++passed;  // a smaller work of another client may fit
      ++turn;
      continue;
    }
    passed = 0;
    last_client_ = turn->first;
    filling.tokens += found->tokens;
    batch.push_back({{*found}, {}});
    take(queue, found);
    if (queue.empty()) queues_.erase(turn);
    filling.tokens = join(batch.back(), filling.budget, filling.tokens);
    turn = queues_.upper_bound(last_client_);
  }
}

/// Let queued works with the same prompt join, as long as their responses fit the budget too. @return the batch's tokens
std::int64_t Engine::join(Shared& shared, std::int64_t budget, std::int64_t tokens) {
  const Item first = shared.items.front();
  const Work& work = first.request->ask.works[first.work];
  for (auto queue = queues_.begin(); queue != queues_.end();) {
    for (auto item = queue->second.begin(); item != queue->second.end();) {
      const auto next = std::next(item);
      const Work& other = item->request->ask.works[item->work];
      const std::int64_t own = item->tokens - item->shared_tokens;
      if (item->prompt == first.prompt && same_prompt(work, other) && tokens + own <= budget) {
        tokens += own;
        shared.items.push_back(*item);
        take(queue->second, item);
      }
      item = next;
    }
    queue = queue->second.empty() ? queues_.erase(queue) : std::next(queue);
  }
  return tokens;
}

/// Score each call by itself, so that one that cannot be scored does not harm the others.
std::vector<std::optional<moe::GroupScore>> Engine::score_each(const moe::Bundle& bundle,
                                                               const std::vector<moe::ScoreCall>& calls,
                                                               std::vector<std::string>& problems) const {
  std::vector<std::optional<moe::GroupScore>> scores;
  for (std::size_t c = 0; c < calls.size(); ++c) {
    try {
      scores.emplace_back(score_(bundle, {&calls[c], 1}).at(0));
    } catch (const std::exception& e) {
      scores.emplace_back();
      problems[c] = problem_of(e).words;
    }
  }
  return scores;
}

void Engine::compute(std::vector<Shared> batch) {
  const Clock::time_point begun = Clock::now();
  BatchFacts facts{.prompts = std::ssize(batch)};
  std::vector<moe::ScoreCall> calls;
  {
    const std::lock_guard lock(mutex_);
    for (Shared& shared : batch) {
      for (const Item& item : shared.items) {
        if (item.request->begun == Clock::time_point{}) {
          item.request->begun = begun;
          ++facts.requests;
        }
      }
    }
  }
  for (Shared& shared : batch) {
    const Work& first = shared.items.front().request->ask.works[shared.items.front().work];
    shared.texts.prompt = first.texts.prompt;
    for (const Item& item : shared.items) {
      const auto begin = item.request->ask.works[item.work].texts.responses.begin() + static_cast<std::ptrdiff_t>(item.first);
      shared.texts.responses.insert(shared.texts.responses.end(), begin, begin + static_cast<std::ptrdiff_t>(item.count));
      facts.tokens += item.tokens;
    }
    facts.tokens -= (std::ssize(shared.items) - 1) * shared.items.front().shared_tokens;
    facts.shared += std::ssize(shared.items) - 1;
    facts.texts += std::ssize(shared.texts.responses);
    calls.push_back({&shared.texts, first.category});
  }
  const Item& front = batch.front().items.front();
  const std::shared_ptr<const moe::Bundle> bundle = front.request->ask.works[front.work].bundle;  // lives as long as this batch
  std::vector<std::string> problems(calls.size());
  std::vector<std::optional<moe::GroupScore>> scores;
  try {
    for (moe::GroupScore& score : score_(*bundle, calls)) scores.emplace_back(std::move(score));
  } catch (const std::exception&) {
    scores = score_each(*bundle, calls, problems);
  }
  facts.seconds = seconds_between(begun, Clock::now());
  std::vector<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    computing_ = 0;
    const double speed = static_cast<double>(facts.tokens) / std::max(facts.seconds, 1e-6);
    std::set<Request*> busy;
    for (const Shared& shared : batch) {
      for (const Item& item : shared.items) busy.insert(item.request.get());
    }
    for (Request* request : busy) request->busy_s += facts.seconds;
    tokens_per_s_ += (tokens_per_s_ > 0 ? kNewSpeed : 1) * (speed - tokens_per_s_);
    for (std::size_t c = 0; c < batch.size(); ++c) {
      std::size_t first = 0;
      for (const Item& item : batch[c].items) {
        std::optional<moe::GroupScore> part;
        if (scores[c]) {
          const auto begin = scores[c]->responses.begin() + static_cast<std::ptrdiff_t>(first);
          part = moe::GroupScore{scores[c]->category, scores[c]->route, {begin, begin + static_cast<std::ptrdiff_t>(item.count)}};
        }
        first += item.count;
        settle(item, std::move(part), problems[c], ended);
      }
    }
  }
  if (on_batch_) on_batch_(facts);
  tell(ended);
}

void Engine::settle(const Item& item, std::optional<moe::GroupScore> score, const std::string& problem,
                    std::vector<Ended>& ended) {
  Request& request = *item.request;
  if (request.ended) return;  // cancelled or expired while it was computed
  if (!score) return end(item.request, {.end = End::failed, .groups = {}, .problem = problem}, ended);
  moe::GroupScore& group = request.groups[item.work];
  group.category = score->category;
  group.route = score->route;
  std::ranges::move(score->responses, group.responses.begin() + static_cast<std::ptrdiff_t>(item.first));
  request.tokens_left -= item.tokens;
  if (--request.left == 0) end(item.request, {.end = End::scored, .groups = std::move(request.groups)}, ended);
}

}  // namespace dmoerm::serve
