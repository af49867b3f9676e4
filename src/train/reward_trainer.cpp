#include "train/reward_trainer.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "nn/device.h"
#include "train/checkpoint.h"
#include "train/portion_push.h"
#include "train/trainee_state.h"
#include "watch/status_file.h"
#include "watch/tensorboard.h"

namespace dmoerm::train {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
constexpr double kReportS = 2.0;

/// One call of train_rewards().
class Training {
 public:
  Training(const TrainerContext& context, std::vector<Trainee>& trainees)
      : context_(context), writer_(context.directory, static_cast<int>(context.train.checkpoints_kept)) {
    for (Trainee& trainee : trainees) {
      DMOERM_CHECK(trainee.model.adapter() != nullptr || trainees.size() == 1,
                   "a backbone under training belongs to one trainee");
      trainees_.push_back(std::make_unique<TraineeState>(trainee, context));
    }
  }

  std::vector<TrainOutcome> run() {
    started_ = saved_ = reported_ = Clock::now();
    resume();
    tokens_reported_ = tokens_;
    for (;;) {
      evaluate_or_leave();
      if (std::ranges::none_of(trainees_, [](const auto& c) { return c->active(); })) break;
      if (const std::int64_t next = next_step(); next > step_) {
        step_ = next;
        continue;
      }
      save_or_leave();
      report_if_due();
      take_step();
      ++step_;
    }
    // Save the successful trainees' work: a retry of the task then trains only those that failed.
    if (trainees_.size() > 1 && std::ranges::any_of(trainees_, [](const auto& c) { return !c->failure().empty(); })) save();
    writer_.wait();  // before the ranks meet in peak_mib(): the first of them may then remove the checkpoints
    std::vector<TrainOutcome> outcomes;
    const double peak = peak_mib();
    for (const auto& trainee : trainees_) {
      outcomes.push_back(trainee->finish(tokens_, seconds(), peak));
      outcomes.back().state_mib = static_cast<double>(trainee->state_bytes()) / (1 << 20);
      const comm::Traffic now = context_.ranks.traffic();
      outcomes.back().traffic = {now.seconds - traffic_before_.seconds, now.bytes - traffic_before_.bytes};
    }
    return outcomes;
  }

 private:
  [[nodiscard]] double seconds() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - started_).count();
  }

  /// Largest memory of a rank so far: what it holds of its GPU, or else what is resident in the host's.
  [[nodiscard]] double peak_mib() const {
    struct rusage usage {};
    getrusage(RUSAGE_SELF, &usage);
    const at::Device device = trainees_.front()->model().backbone().device();
    const double own = device.is_cuda() ? nn::peak_gpu_memory_mib(device) : static_cast<double>(usage.ru_maxrss) / 1024;
    double largest = 0;
    for (const auto& bytes : context_.ranks.all_gather(std::as_bytes(std::span(&own, 1)))) {
      double other = 0;
      std::memcpy(&other, bytes.data(), sizeof other);
      largest = std::max(largest, other);
    }
    return largest;
  }

  /// The first step from this one on in which a trainee takes part: those that are tried again go on where each of them failed.
  [[nodiscard]] std::int64_t next_step() const {
    std::int64_t next = std::numeric_limits<std::int64_t>::max();
    for (const auto& trainee : trainees_) {
      if (trainee->active()) next = std::min(next, std::max(step_, trainee->resumes_at()));
    }
    return next;
  }

  /// Evaluate the trainees that are due. If a signal interrupts that, save the step; a later run evaluates the others.
  void evaluate_or_leave() {
    try {
      evaluate_due();
    } catch (const Stopped& e) {
      const std::string problem = save_and_wait();
      if (problem.empty()) throw;
      throw Stopped(e.code(), fmt::format("{}; {}", e.what(), not_saved(problem)));
    }
  }

  void evaluate_due() {
    bool any = false;
    for (std::size_t i = 0; i < trainees_.size(); ++i) {
      TraineeState& trainee = *trainees_[i];
      if (!trainee.takes_part(step_) || trainee.evaluated_at(step_)) continue;
      if (step_ % context_.train.eval_every_steps != 0 && step_ != trainee.steps_total()) continue;
      trainee.evaluate(context_, step_, steps_since_ > 0 ? loss_since_ / static_cast<double>(steps_since_) : 0.0, seconds());
      any = true;
    }
    if (!any) return;
    report_if_due(true);
    loss_since_ = 0;
    steps_since_ = 0;
    if (context_.ranks.rank() == 0) {
      std::string lines;
      for (const auto& trainee : trainees_) {
        for (const json& line : trainee->history()) lines += line.dump() + "\n";
      }
      write_if_possible("metrics.jsonl", [&] {
        std::filesystem::create_directories(context_.directory);
        write_file_atomically(context_.directory / "metrics.jsonl", lines);
      });
      if (context_.tensorboard) write_if_possible("TensorBoard file", [&] { write_tensorboards(); });
    }
  }

  void write_tensorboards() const {
    for (const auto& trainee : trainees_) {
      const std::string point = trainee->name().substr(trainee->name().rfind('/') + 1);
      watch::write_tensorboard(trainees_.size() == 1 ? context_.directory : context_.directory / point, trainee->history(),
                               watch::wall_clock());
    }
  }

  /// Write a file that the result does not need. An error is only a warning: the other ranks are already in the next step, so
  /// this one must not fail because of a full disk.
  template <class Write>
  void write_if_possible(const char* what, const Write& write) const {
    const auto warn = [&](const std::exception& e) {
      spdlog::warn("[train] no {} at step {}, training continues: {}", what, step_, failure_of(e).message);
    };
    try {
      write();
    } catch (const IoError& e) {
      warn(e);
    } catch (const std::filesystem::filesystem_error& e) {
      warn(e);
    }
  }

  void take_step() {
    std::vector<TraineeState*> active;
    std::vector<std::vector<MicroBatch>> cuts;
    std::size_t passes = 0;
    for (const auto& trainee : trainees_) {
      if (!trainee->takes_part(step_)) continue;
      active.push_back(trainee.get());
      cuts.push_back(cut_step(context_.store, trainee->groups_of_step(step_, context_.train.groups_per_step),
                              trainee->model().backbone().packing(), context_.compute.micro_batch_tokens));
      passes = std::max(passes, cuts.back().size());
    }
    for (std::size_t c = 0; c < active.size(); ++c) {
      active[c]->sums().begin(static_cast<std::int64_t>(cuts[c].size()), static_cast<std::int64_t>(passes));
      for (const MicroBatch& batch : cuts[c]) tokens_ += tokens_in(*active[c], batch);
    }
    const std::vector<std::int64_t> numbers = active.front()->sums().numbers(static_cast<std::int64_t>(passes));
    std::string bad_group;
    const PortionPushes pushes = push_portions(context_, step_, active, cuts, numbers, bad_group);
    std::optional<MicroBatchPass> pass;  // the pass that is being filled
    const auto compute = [&] {
      if (!pass) return;
      pass->run();
      if (bad_group.empty()) bad_group = pass->bad_group();
      pass.reset();
    };
    for (const std::int64_t number : numbers) {
      for (std::size_t c = 0; c < active.size(); ++c) {
        if (static_cast<std::size_t>(number) >= cuts[c].size()) continue;
        const MicroBatch& batch = cuts[c][static_cast<std::size_t>(number)];
        // Trainees share a pass as long as it stays within micro_batch_tokens.
        if (pass && pass->tokens() + tokens_in(*active[c], batch) > context_.compute.micro_batch_tokens) compute();
        if (!pass) pass.emplace(context_, step_, number);
        const auto known = pushes.find({c, number});
        pass->add(*active[c], batch, known == pushes.end() ? nullptr : &known->second);
      }
      compute();
    }
    for (TraineeState* trainee : active) trainee->sums().start();
    const auto step_groups = static_cast<double>(context_.train.groups_per_step * static_cast<std::int64_t>(active.size()));
    const std::vector<std::vector<double>> measured = TraineeState::measure(active);
    for (std::size_t c = 0; c < active.size(); ++c) {
      TraineeState* trainee = active[c];
      const double loss = trainee->update(context_, step_, measured[c]) / step_groups;
      if (trainee->active()) loss_since_ += loss;  // the loss of a failed trainee may be NaN
      if (!trainee->active()) name_failure(*trainee, bad_group);
    }
    ++steps_since_;
  }

  [[nodiscard]] std::int64_t tokens_in(const TraineeState& trainee, const MicroBatch& batch) const {
    return tokens_of(context_.store, batch, trainee.model().backbone().packing());
  }

  /// Tell all ranks which group made a trainee fail.
  void name_failure(TraineeState& trainee, const std::string& bad_group) {
    std::string named;
    for (const std::string& group : context_.ranks.gather_text(bad_group)) {
      if (named.empty()) named = group;
    }
    trainee.fail(fmt::format("{}: loss or gradient became NaN or infinite at step {}{}", trainee.name(), step_,
                             named.empty() ? "; lower the learning rate"
                                           : fmt::format(", group {}; lower the learning rate or look at that group", named)),
                 step_);
    if (context_.ranks.rank() == 0)
      spdlog::error("[train] task={} failed: not finite at step {} group={}", trainee.name(), step_,
                    named.empty() ? "unknown" : named);
  }

  /// Between two steps the ranks agree whether to save, and whether to pause or stop after that.
  void save_or_leave() {
    enum Wish { none, save_now, pause, stop };
    const bool first = context_.ranks.rank() == 0;
    const bool pauses = first && context_.progress.pause_asked && context_.progress.pause_asked();
    const int wish = stop_requested() ? stop : pauses ? pause : first && due() ? save_now : none;
    const int agreed = comm::largest_of(context_.ranks, wish);
    if (agreed == none) return;
    if (agreed == save_now) return save();
    const std::string problem = save_and_wait();
    const std::string where =
        problem.empty() ? fmt::format("{} is saved at step {}", trainees_.front()->name(), step_) : not_saved(problem);
    if (agreed == stop) throw Stopped("stopped-on-request", where);
    if (problem.empty()) throw Paused("paused-on-request", where);
    if (!first) return;  // its work would be lost, so it goes on
    spdlog::warn("[train] {}; it does not pause", where);
    if (context_.progress.pause_refused) context_.progress.pause_refused(where);
  }

  /// Save this step. @return why that failed on a rank, the same text on all ranks; "" if it is saved
  std::string save_and_wait() {
    save();
    for (const std::string& problem : context_.ranks.gather_text(writer_.wait())) {
      if (!problem.empty()) return problem;
    }
    return "";
  }

  [[nodiscard]] std::string not_saved(const std::string& problem) const {
    return fmt::format("{} could not be saved at step {} and would continue from an earlier checkpoint: {}",
                       trainees_.front()->name(), step_, problem);
  }

  [[nodiscard]] bool due() const {
    const double every = context_.train.checkpoint_every_s;
    const bool free = every == 0 || !writer_.busy();  // with 0 every step gets a checkpoint
    return free && std::chrono::duration<double>(Clock::now() - saved_).count() >= every;
  }

  /// Report the progress to the coordinator, at every evaluation and every few seconds.
  void report_if_due(bool now = false) {
    if (context_.progress.doing) context_.progress.doing(fmt::format("step {}", step_));
    const double since = std::chrono::duration<double>(Clock::now() - reported_).count();
    if (!context_.progress.report || context_.ranks.rank() != 0 || (!now && since < kReportS)) return;
    double fraction = 1;  // progress of the slowest trainee
    std::int64_t steps_max = 0;
    json progress = json::object();
    for (const auto& trainee : trainees_) {
      if (!trainee->active()) continue;
      const double share = static_cast<double>(step_) / static_cast<double>(trainee->steps_total());
      if (share > fraction) continue;
      fraction = share;
      steps_max = trainee->steps_total();
    }
    for (const auto& trainee : trainees_) {
      if (trainee->history().empty() || trainee->active() != (steps_max > 0)) continue;
      for (const char* key : {"train_loss", "validation_accuracy", "validation_loss", "lr", "gradient_norm"}) {
        if (const json& value = trainee->history().back().at(key); !value.is_null()) progress[key] = value;
      }
    }
    const auto tokens = static_cast<double>(tokens_ - tokens_reported_);
    progress.update({{"step", step_},
                     {"steps_max", std::max(steps_max, step_)},
                     {"fraction", fraction},
                     {"tokens", tokens_},
                     {"seconds", seconds()}});
    if (since > 0 && tokens > 0)
      progress.update({{"tokens_per_s", tokens / since},
                       {"flops_per_s", tokens / since * trainees_.front()->model().training_flops_per_token()}});
    if (const double rate = writer_.mib_per_s(); rate > 0) progress["checkpoint_mib_per_s"] = rate;
    context_.progress.report(progress);
    reported_ = Clock::now();
    tokens_reported_ = tokens_;
  }

  /// Start a checkpoint. Every rank writes its shard if the optimizer's state is sharded; otherwise the first rank writes
  /// everything.
  void save() {
    const bool shards = trainees_.front()->sharded();
    if (context_.ranks.rank() != 0 && !shards) return;
    Checkpoint checkpoint;
    checkpoint.step = step_;
    if (shards) {
      checkpoint.shard = context_.ranks.rank();
      checkpoint.shards = context_.ranks.size();
    }
    checkpoint.identity = {{"key", context_.key}, {"settings", context_.settings}};
    checkpoint.state = {{"seconds", seconds()},
                        {"tokens", tokens_},
                        {"loss_since", loss_since_},
                        {"steps_since", steps_since_},
                        {"courses", json::array()}};
    for (std::size_t i = 0; i < trainees_.size(); ++i) trainees_[i]->write(checkpoint, fmt::format("{}.", i));
    writer_.start(std::move(checkpoint));
    saved_ = Clock::now();
  }

  /// Continue from a checkpoint, if there is one.
  void resume() {
    // The first rank chooses the checkpoint, so that all ranks take the same one.
    std::int64_t step = -1;
    std::optional<CheckpointReader> checkpoint;
    if (context_.ranks.rank() == 0) {
      checkpoint = find_checkpoint(context_.directory, context_.key);
      if (checkpoint) step = checkpoint->step();
    }
    context_.ranks.broadcast(std::as_writable_bytes(std::span(&step, 1)), 0);
    if (step < 0) return;
    if (context_.ranks.rank() != 0) checkpoint = find_checkpoint(context_.directory, context_.key, step);
    if (!checkpoint || checkpoint->step() != step)
      throw IoError("checkpoint-unseen",
                    fmt::format("{}: rank {} does not see the checkpoint of step {}: is the run directory shared?",
                                context_.directory.string(), context_.ranks.rank(), step));
    const json& state = checkpoint->state();
    step_ = step;
    seconds_before_ = state.at("seconds");
    tokens_ = state.at("tokens");
    loss_since_ = state.at("loss_since");
    steps_since_ = state.at("steps_since");
    for (std::size_t i = 0; i < trainees_.size(); ++i)
      trainees_[i]->read(*checkpoint, state.at("courses").at(i), fmt::format("{}.", i));
    if (std::ranges::none_of(trainees_, [](const auto& c) { return c->active(); })) try_failed_again();
    if (context_.ranks.rank() == 0) spdlog::info("[train] {} resumes at step {}", trainees_.front()->name(), step_);
  }

  /// Let each failed trainee go on at the step in which it failed.
  void try_failed_again() {
    std::int64_t first = step_;
    for (const auto& trainee : trainees_) {
      if (trainee->failure().empty()) continue;
      trainee->try_again();
      first = std::min(first, trainee->resumes_at());
    }
    if (first < step_) loss_since_ = 0, steps_since_ = 0;
    step_ = first;
  }

  const TrainerContext& context_;
  std::vector<std::unique_ptr<TraineeState>> trainees_;
  CheckpointWriter writer_;
  std::int64_t step_ = 0, tokens_ = 0, tokens_reported_ = 0, steps_since_ = 0;
  double loss_since_ = 0, seconds_before_ = 0;
  Clock::time_point started_, saved_, reported_;
  comm::Traffic traffic_before_ = context_.ranks.traffic();
};

}  // namespace

std::vector<TrainOutcome> train_rewards(const TrainerContext& context, std::vector<Trainee>& trainees) {
  return Training(context, trainees).run();
}

}  // namespace dmoerm::train
