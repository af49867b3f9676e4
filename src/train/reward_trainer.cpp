#include "train/reward_trainer.h"

#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "nn/pairwise_loss.h"
#include "plan/training_steps.h"
#include "train/checkpoint.h"
#include "train/course.h"
#include "watch/status_file.h"
#include "watch/tensorboard.h"

namespace dmoerm::train {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
constexpr double kReportS = 2.0;

/// One forward and backward pass: micro batch number `number` of each course that has one.
class Pass {
 public:
  Pass(const TrainerContext& context, std::int64_t step, std::int64_t number) : context_(context), step_(step), number_(number) {}

  void add(Course& course, const std::vector<const LabelledGroup*>& step_groups, const std::vector<std::size_t>& chosen) {
    const nn::Backbone& backbone = *course.trainee().backbone;
    Part part{&course, {}, {}};
    part.rows.expert = course.adapter();
    part.rows.first_row = batch_.tokens(), part.rows.first_read = static_cast<std::int64_t>(batch_.responses.size());
    for (const std::size_t i : chosen) {
      data::append_group(batch_, context_.store.group(step_groups[i]->group), step_groups[i]->responses, backbone.shares_prefix(),
                         backbone.reads_last());
      part.groups.push_back(step_groups[i]);
    }
    part.rows.rows = batch_.tokens() - part.rows.first_row,
    part.rows.reads = static_cast<std::int64_t>(batch_.responses.size()) - part.rows.first_read;
    part.rows.dropout_key =
        Rng(context_.seed, "dropout/" + course.name(), static_cast<std::uint64_t>(step_ * 4096 + number_)).next() | 1;
    parts_.push_back(std::move(part));
  }

  /// Compute; the gradients and the loss go into the sums of each course that was added.
  void run() {
    const nn::Backbone& backbone = *parts_.front().course->trainee().backbone;
    std::vector<nn::ExpertRows> rows;
    nn::BackboneGradients sinks;
    for (Part& part : parts_) {
      rows.push_back(part.rows);
      part.course->before_leaf(sinks);
    }
    nn::ForwardState keep;
    keep.recompute = context_.train.recompute;
    const at::Tensor states_RD = backbone.forward(batch_, rows, &keep, trunk());
    const at::Tensor grad_RD = at::zeros_like(states_RD);
    std::vector<double> losses;
    for (Part& part : parts_)
      losses.push_back(head_pass(part, states_RD.narrow(0, part.rows.first_read, part.rows.reads),
                                 grad_RD.narrow(0, part.rows.first_read, part.rows.reads)));
    backbone.backward(grad_RD, keep, sinks);
    for (std::size_t i = 0; i < parts_.size(); ++i) parts_[i].course->after_leaf(losses[i]);
  }

  [[nodiscard]] const std::string& bad_group() const { return bad_group_; }
  [[nodiscard]] std::int64_t tokens() const { return batch_.tokens(); }

 private:
  /// States of all parts' rows below the adapted layers, which every part shares.
  [[nodiscard]] nn::Trunk trunk() const {
    std::vector<const LabelledGroup*> groups;
    for (const Part& part : parts_) groups.insert(groups.end(), part.groups.begin(), part.groups.end());
    return context_.trunks.of(*parts_.front().course->trainee().backbone, parts_.front().course->adapter(), context_.store,
                              groups);
  }

  struct Part {
    Course* course;
    nn::ExpertRows rows;
    std::vector<const LabelledGroup*> groups;
  };

  /// Rewards, loss and the gradient in the head and the states of one course's responses.
  double head_pass(Part& part, const at::Tensor& states_RD, const at::Tensor& grad_RD) {
    const at::Tensor& head_D = part.course->trainee().expert->head_D;
    const at::Tensor rewards = at::mv(states_RD, head_D).cpu();
    std::vector<float> push(static_cast<std::size_t>(rewards.numel()), 0.0F);
    const double scale = 1.0 / static_cast<double>(context_.train.groups_per_step);
    double loss = 0;
    std::size_t first = 0;
    for (const LabelledGroup* group : part.groups) {
      const std::size_t n = group->responses.size();
      const std::span<const float> own(rewards.const_data_ptr<float>() + first, n);
      const std::span<float> slope(push.data() + first, n);
      const double group_loss = nn::pairwise_loss(own, group->pairs, scale, slope) +
                                nn::centring_loss(own, context_.train.reward_centring, scale, slope);
      if (!std::isfinite(group_loss) && bad_group_.empty()) bad_group_ = std::string(context_.store.group(group->group).id);
      loss += group_loss;
      first += n;
    }
    const at::Tensor push_R = at::tensor(at::ArrayRef<float>(push)).to(states_RD.device());
    part.course->gradient_expert()->head_D.add_(at::mv(states_RD.t(), push_R));
    grad_RD.copy_(at::outer(push_R, head_D));
    return loss;
  }

  const TrainerContext& context_;
  std::int64_t step_, number_;
  data::PackedBatch batch_;
  std::vector<Part> parts_;
  std::string bad_group_;
};

/// Everything of one call of train_rewards().
class Training {
 public:
  Training(const TrainerContext& context, std::vector<Trainee>& trainees)
      : context_(context), writer_(context.directory, static_cast<int>(context.train.checkpoints_kept)) {
    for (Trainee& trainee : trainees) {
      DMOERM_CHECK(!trainee.trains_all || trainees.size() == 1, "a backbone under training belongs to one trainee");
      courses_.push_back(std::make_unique<Course>(trainee, context));
    }
  }

  std::vector<TrainOutcome> run() {
    started_ = saved_ = reported_ = Clock::now();
    resume();
    tokens_reported_ = tokens_;
    for (;; ++step_) {
      evaluate_or_leave();
      if (std::ranges::none_of(courses_, [](const auto& c) { return c->active(); })) break;
      save_or_leave();
      report_if_due();
      take_step();
    }
    // The others' work is kept for when the failed ones are tried again.
    if (courses_.size() > 1 && std::ranges::any_of(courses_, [](const auto& c) { return !c->failure().empty(); })) save();
    std::vector<TrainOutcome> outcomes;
    const double peak = peak_mib();
    for (const auto& course : courses_) {
      outcomes.push_back(course->finish(tokens_, seconds(), peak));
      outcomes.back().state_mib = static_cast<double>(course->state_bytes()) / (1 << 20);
      const comm::Traffic now = context_.group.traffic();
      outcomes.back().traffic = {now.seconds - traffic_before_.seconds, now.bytes - traffic_before_.bytes};
    }
    return outcomes;
  }

 private:
  [[nodiscard]] double seconds() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - started_).count();
  }

  /// Largest resident memory of the group's ranks so far.
  [[nodiscard]] double peak_mib() const {
    struct rusage usage {};
    getrusage(RUSAGE_SELF, &usage);
    const double own = static_cast<double>(usage.ru_maxrss) / 1024;
    double largest = 0;
    for (const auto& bytes : context_.group.all_gather(std::as_bytes(std::span(&own, 1)))) {
      double other = 0;
      std::memcpy(&other, bytes.data(), sizeof other);
      largest = std::max(largest, other);
    }
    return largest;
  }

  /// A signal breaks an evaluation off: the step is saved, and what was not evaluated at it is when training goes on.
  void evaluate_or_leave() {
    try {
      evaluate_due();
    } catch (const Stopped&) {
      save();
      writer_.wait();
      throw;
    }
  }

  void evaluate_due() {
    bool any = false;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      Course& course = *courses_[i];
      if (!course.active() || course.evaluated_at(step_)) continue;
      if (step_ % context_.train.eval_every_steps != 0 && step_ != course.steps_total()) continue;
      course.evaluate(context_, step_, steps_since_ > 0 ? loss_since_ / static_cast<double>(steps_since_) : 0.0, seconds());
      any = true;
    }
    if (!any) return;
    report_if_due(true);
    loss_since_ = 0, steps_since_ = 0;
    if (context_.group.rank() == 0) {
      std::string lines;
      for (const auto& course : courses_) {
        for (const json& line : course->history()) lines += line.dump() + "\n";
      }
      write_if_possible("metrics.jsonl", [&] {
        std::filesystem::create_directories(context_.directory);
        write_file_atomically(context_.directory / "metrics.jsonl", lines);
      });
      if (context_.tensorboard) write_if_possible("TensorBoard file", [&] { write_tensorboards(); });
    }
  }

  void write_tensorboards() const {
    for (const auto& course : courses_) {
      const std::string point = course->name().substr(course->name().rfind('/') + 1);
      watch::write_tensorboard(courses_.size() == 1 ? context_.directory : context_.directory / point, course->history(),
                               watch::wall_clock());
    }
  }

  /// Write what the result does not need. The other ranks are in the next step already: a full disk must not keep this one.
  template <class Write>
  void write_if_possible(const char* what, const Write& write) const {
    const auto warn = [&](const std::exception& e) {
      spdlog::warn("[train] no {} at step {}, training goes on: {}", what, step_, failure_of(e).message);
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
    std::vector<Course*> active;
    std::vector<std::vector<const LabelledGroup*>> groups;
    std::vector<std::vector<std::vector<std::size_t>>> cuts;
    std::size_t passes = 0;
    for (const auto& course : courses_) {
      if (!course->active()) continue;
      active.push_back(course.get());
      groups.push_back(course->groups_of_step(step_, context_.train.groups_per_step));
      cuts.push_back(cut_micro_batches(context_.store, groups.back(), course->trainee().backbone->shares_prefix(),
                                       context_.compute.micro_batch_tokens));
      passes = std::max(passes, cuts.back().size());
    }
    for (std::size_t c = 0; c < active.size(); ++c) {
      active[c]->sums().begin(static_cast<std::int64_t>(cuts[c].size()), static_cast<std::int64_t>(passes));
      for (const LabelledGroup* g : groups[c])
        tokens_ +=
            data::packed_tokens(context_.store.group(g->group), g->responses, active[c]->trainee().backbone->shares_prefix());
    }
    std::string bad_group;
    std::optional<Pass> pass;  // that is being filled
    const auto compute = [&] {
      if (!pass) return;
      pass->run();
      if (bad_group.empty()) bad_group = pass->bad_group();
      pass.reset();
    };
    for (const std::int64_t number : active.front()->sums().numbers(static_cast<std::int64_t>(passes))) {
      for (std::size_t c = 0; c < active.size(); ++c) {
        if (static_cast<std::size_t>(number) >= cuts[c].size()) continue;
        const std::vector<std::size_t>& chosen = cuts[c][static_cast<std::size_t>(number)];
        // Experts share a pass while it stays within micro_batch_tokens.
        if (pass && pass->tokens() + tokens_of(*active[c], groups[c], chosen) > context_.compute.micro_batch_tokens) compute();
        if (!pass) pass.emplace(context_, step_, number);
        pass->add(*active[c], groups[c], chosen);
      }
      compute();
    }
    for (Course* course : active) course->sums().start();
    const auto step_groups = static_cast<double>(context_.train.groups_per_step * static_cast<std::int64_t>(active.size()));
    for (Course* course : active) {
      const double loss = course->update(context_, step_) / step_groups;
      if (course->active()) loss_since_ += loss;  // else it may be NaN
      if (!course->active()) name_failure(*course, bad_group);
    }
    ++steps_since_;
  }

  [[nodiscard]] std::int64_t tokens_of(const Course& course, const std::vector<const LabelledGroup*>& step_groups,
                                       const std::vector<std::size_t>& chosen) const {
    std::int64_t tokens = 0;
    for (const std::size_t i : chosen) {
      tokens += data::packed_tokens(context_.store.group(step_groups[i]->group), step_groups[i]->responses,
                                    course.trainee().backbone->shares_prefix());
    }
    return tokens;
  }

  /// All ranks learn which group broke a course.
  void name_failure(Course& course, const std::string& bad_group) {
    std::string named;
    for (const auto& bytes : context_.group.all_gather(std::as_bytes(std::span<const char>(bad_group)))) {
      if (named.empty()) named.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    course.fail(fmt::format("{}: loss or gradient became NaN or infinite at step {}{}", course.name(), step_,
                            named.empty() ? "; lower the learning rate"
                                          : fmt::format(", group {}; lower the learning rate or look at that group", named)),
                step_);
    if (context_.group.rank() == 0)
      spdlog::error("[train] task={} broke off: not finite at step {} group={}", course.name(), step_,
                    named.empty() ? "unknown" : named);
  }

  /// The ranks agree at a step's edge to save, and whether the step was the last one now or the last in this group.
  void save_or_leave() {
    enum Wish { none, save_now, pause, stop };
    const bool pauses = context_.line.pause_asked && context_.line.pause_asked();
    const int wish = stop_requested() ? stop : pauses ? pause : context_.group.rank() == 0 && due() ? save_now : none;
    const int agreed = comm::largest_of(context_.group, wish);
    if (agreed == none) return;
    save();
    if (agreed == save_now) return;
    writer_.wait();
    const std::string where = fmt::format("{} broke off at step {} and is saved", courses_.front()->name(), step_);
    if (agreed == stop) throw Stopped(where);
    throw Paused(where);
  }

  [[nodiscard]] bool due() const {
    const double every = context_.train.checkpoint_every_s;
    const bool free = every == 0 || !writer_.busy();  // 0: every step has its own
    return free && std::chrono::duration<double>(Clock::now() - saved_).count() >= every;
  }

  /// Tell the coordinator how far it is, at evaluations and every few seconds between.
  void report_if_due(bool now = false) {
    if (context_.line.doing) context_.line.doing(fmt::format("step {}", step_));
    const double since = std::chrono::duration<double>(Clock::now() - reported_).count();
    if (!context_.line.report || context_.group.rank() != 0 || (!now && since < kReportS)) return;
    double fraction = 1;  // of the slowest course
    std::int64_t steps_max = 0;
    json progress = json::object();
    for (const auto& course : courses_) {
      if (!course->active()) continue;
      const double share = static_cast<double>(step_) / static_cast<double>(course->steps_total());
      if (share <= fraction) fraction = share, steps_max = course->steps_total();
    }
    for (const auto& course : courses_) {
      if (course->history().empty() || course->active() != (steps_max > 0)) continue;
      for (const char* key : {"train_loss", "validation_accuracy", "validation_loss", "lr", "gradient_norm"}) {
        if (const json& value = course->history().back().at(key); !value.is_null()) progress[key] = value;
      }
    }
    const auto tokens = static_cast<double>(tokens_ - tokens_reported_);
    progress.update({{"step", step_},
                     {"steps_max", std::max(steps_max, step_)},
                     {"fraction", fraction},
                     {"tokens", tokens_},
                     {"seconds", seconds()}});
    if (since > 0 && tokens > 0)
      progress.update({{"tokens_per_s", tokens / since}, {"flops_per_s", tokens / since * courses_.front()->flops_per_token()}});
    context_.line.report(progress);
    reported_ = Clock::now(), tokens_reported_ = tokens_;
  }

  /// Every rank writes its part if the optimizer's state is spread over the group, else the first rank writes all.
  void save() {
    const bool parts = courses_.front()->sharded();
    if (context_.group.rank() != 0 && !parts) return;
    Checkpoint checkpoint;
    checkpoint.step = step_;
    if (parts) checkpoint.part = context_.group.rank(), checkpoint.parts = context_.group.size();
    checkpoint.identity = {{"key", context_.key}, {"settings", context_.settings}};
    checkpoint.state = {{"seconds", seconds()},
                        {"tokens", tokens_},
                        {"loss_since", loss_since_},
                        {"steps_since", steps_since_},
                        {"courses", json::array()}};
    for (std::size_t i = 0; i < courses_.size(); ++i) courses_[i]->write(checkpoint, fmt::format("{}.", i));
    writer_.start(std::move(checkpoint));
    saved_ = Clock::now();
  }

  /// Go on from a checkpoint, if there is one.
  void resume() {
    // The first rank chooses, so that all take the same one.
    std::int64_t step = -1;
    std::optional<CheckpointReader> checkpoint;
    if (context_.group.rank() == 0) {
      checkpoint = find_checkpoint(context_.directory, context_.key);
      if (checkpoint) step = checkpoint->step();
    }
    context_.group.broadcast(std::as_writable_bytes(std::span(&step, 1)), 0);
    if (step < 0) return;
    if (context_.group.rank() != 0) checkpoint = find_checkpoint(context_.directory, context_.key, step);
    if (!checkpoint || checkpoint->step() != step)
      throw IoError(fmt::format("{}: rank {} does not see the checkpoint of step {}: is the run directory shared?",
                                context_.directory.string(), context_.group.rank(), step));
    const json& state = checkpoint->state();
    step_ = step;
    seconds_before_ = state.at("seconds"), tokens_ = state.at("tokens");
    loss_since_ = state.at("loss_since"), steps_since_ = state.at("steps_since");
    for (std::size_t i = 0; i < courses_.size(); ++i)
      courses_[i]->read(*checkpoint, state.at("courses").at(i), fmt::format("{}.", i));
    if (std::ranges::none_of(courses_, [](const auto& c) { return c->active(); })) {  // only what failed is left
      for (const auto& course : courses_) {
        if (!course->failure().empty()) step_ = std::min(step_, course->try_again());
      }
    }
    if (context_.group.rank() == 0) spdlog::info("[train] {} resumes at step {}", courses_.front()->name(), step_);
  }

  const TrainerContext& context_;
  std::vector<std::unique_ptr<Course>> courses_;
  CheckpointWriter writer_;
  std::int64_t step_ = 0, tokens_ = 0, tokens_reported_ = 0, steps_since_ = 0;
  double loss_since_ = 0, seconds_before_ = 0;
  Clock::time_point started_, saved_, reported_;
  comm::Traffic traffic_before_ = context_.group.traffic();
};

}  // namespace

std::int64_t total_steps(const config::TrainConfig& train, const data::TokenStore& store,
                         const std::vector<LabelledGroup>& groups) {
  return plan::training_steps(train, static_cast<double>(epoch_groups(store, groups)));
}

std::vector<TrainOutcome> train_rewards(const TrainerContext& context, std::vector<Trainee>& trainees) {
  return Training(context, trainees).run();
}

}  // namespace dmoerm::train
