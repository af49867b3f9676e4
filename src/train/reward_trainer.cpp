#include "train/reward_trainer.h"

#include <ATen/ops/from_blob.h>
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
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "model/pairwise_loss.h"
#include "train/adamw.h"
#include "train/checkpoint.h"
#include "train/score_groups.h"

namespace dmoerm::train {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

std::vector<std::int32_t> copies_of(const data::TokenStore& store, const std::vector<LabelledGroup>& groups) {
  std::vector<std::int32_t> copies;
  for (const LabelledGroup& g : groups) copies.push_back(static_cast<std::int32_t>(std::lround(store.group(g.group).weight)));
  return copies;
}

/// A fixed seeded draw of at most `count` groups, in order.
std::vector<LabelledGroup> draw(std::vector<LabelledGroup> groups, std::int64_t count, std::uint64_t seed,
                                const std::string& name) {
  if (count <= 0 || static_cast<std::int64_t>(groups.size()) <= count) return groups;
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, "validation/" + name).shuffle(order);
  order.resize(static_cast<std::size_t>(count));
  std::ranges::sort(order);
  std::vector<LabelledGroup> drawn;
  for (const std::size_t i : order) drawn.push_back(groups[i]);
  return drawn;
}

/// One trainee with its buffers: parameters, gradients, moments, the best weights so far.
class Course {
 public:
  Course(Trainee& trainee, const TrainerContext& context)
      : trainee_(trainee),
        validation_(draw(trainee.validation, context.train.eval_groups_max, context.seed, trainee.name)),
        order_(copies_of(context.store, trainee.training), context.seed, trainee.name),
        steps_total_(total_steps(context.train, context.store, trainee.training)),
        gradient_expert_(trainee.backbone->spec(), trainee.expert->lora(), trainee.backbone->device()) {
    if (trainee.trains_all) {
      gradient_weights_ = std::make_unique<model::Weights>(trainee.backbone->spec(), trainee.backbone->device());
      parameters_ = {trainee.backbone->weights().flat, trainee.expert->head_D};
      gradients_ = {gradient_weights_->flat, gradient_expert_.head_D};
    } else {
      parameters_ = {trainee.expert->flat};
      gradients_ = {gradient_expert_.flat};
    }
    for (const at::Tensor& p : parameters_) best_.push_back(p.clone());
    optimizer_ = std::make_unique<AdamW>(parameters_, context.train);
  }

  [[nodiscard]] const std::string& name() const { return trainee_.name; }
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] std::int64_t steps_total() const { return steps_total_; }
  [[nodiscard]] const Trainee& trainee() const { return trainee_; }
  [[nodiscard]] std::vector<at::Tensor>& gradients() { return gradients_; }
  [[nodiscard]] model::Expert* gradient_expert() { return &gradient_expert_; }
  [[nodiscard]] model::Weights* gradient_weights() { return gradient_weights_.get(); }
  [[nodiscard]] const model::Expert* adapter() const { return trainee_.trains_all ? nullptr : trainee_.expert.get(); }

  /// The groups of one step.
  std::vector<const LabelledGroup*> groups_of_step(std::int64_t step, std::int64_t count) {
    std::vector<const LabelledGroup*> groups;
    for (std::int64_t i = 0; i < count; ++i) groups.push_back(&trainee_.training[order_.at(step * count + i)]);
    return groups;
  }

  void update(const TrainerContext& context, std::int64_t step) {
    const double norm = gradient_norm(gradients_);
    if (!std::isfinite(norm)) {
      fail("the gradient is not finite");
      return;
    }
    const double clip = context.train.clip_norm > 0 && norm > context.train.clip_norm ? context.train.clip_norm / norm : 1.0;
    optimizer_->step(parameters_, gradients_, learning_rate(context.train, step, steps_total_), step + 1, clip);
    last_norm_ = norm;
  }

  void fail(const std::string& why) {
    outcome_.failure = why;
    active_ = false;
  }

  /// Look at the validation groups; keep the weights if they are the best, stop if patience is over.
  void evaluate(const TrainerContext& context, std::int64_t step, double train_loss, double seconds) {
    outcome_.steps = step;
    const FrozenModel frozen{trainee_.backbone.get(), adapter(), trainee_.expert->head_D, &context.trunks};
    const PairFigures figures = pair_figures(
        score_groups(context.store, frozen, validation_, context.compute.micro_batch_tokens, false, context.group), validation_);
    const bool first = history_.empty();
    const bool better = first || figures.pairs == 0 || figures.accuracy > outcome_.accuracy ||
                        (figures.accuracy == outcome_.accuracy && figures.loss < outcome_.loss);
    if (better) {
      outcome_.accuracy = figures.accuracy, outcome_.loss = figures.loss, outcome_.best_step = step;
      for (std::size_t i = 0; i < best_.size(); ++i) best_[i].copy_(parameters_[i]);
    }
    // The accuracy of few pairs is a coarse measure: a falling loss shows progress too, and patience starts again.
    waited_ = better || figures.loss < lowest_loss_ ? 0 : waited_ + 1;
    lowest_loss_ = std::min(lowest_loss_, figures.loss);
    history_.push_back({{"task", name()},
                        {"step", step},
                        {"train_loss", train_loss},
                        {"validation_accuracy", figures.accuracy},
                        {"validation_loss", figures.loss},
                        {"lr", learning_rate(context.train, step, steps_total_)},
                        {"gradient_norm", last_norm_},
                        {"seconds", seconds}});
    if (context.group.rank() == 0) {
      spdlog::info("[train] task={} step={}/{} train_loss={:.4f} validation_accuracy={:.4f} validation_loss={:.4f}{}", name(),
                   step, steps_total_, train_loss, figures.accuracy, figures.loss, better ? " best" : "");
    }
    if (step >= steps_total_ || waited_ >= context.train.patience) active_ = false;
  }

  /// Put the best weights back and report.
  TrainOutcome finish(std::int64_t tokens, double seconds, double peak_mib) {
    for (std::size_t i = 0; i < best_.size(); ++i) parameters_[i].copy_(best_[i]);
    outcome_.tokens = tokens, outcome_.seconds = seconds, outcome_.peak_mib = peak_mib;
    return outcome_;
  }

  void write(Checkpoint& checkpoint, const std::string& prefix) const {
    checkpoint.state["courses"].push_back({{"name", name()},
                                           {"active", active_},
                                           {"accuracy", outcome_.accuracy},
                                           {"loss", outcome_.loss},
                                           {"best_step", outcome_.best_step},
                                           {"steps", outcome_.steps},
                                           {"failure", outcome_.failure},
                                           {"waited", waited_},
                                           {"lowest_loss", lowest_loss_},
                                           {"norm", last_norm_},
                                           {"history", history_}});
    for (const auto& [label, tensors] : slots()) {
      for (std::size_t i = 0; i < tensors->size(); ++i)
        checkpoint.tensors.emplace_back(fmt::format("{}{}.{}", prefix, label, i), (*tensors)[i]);
    }
  }

  void read(const Checkpoint& checkpoint, const json& state, const std::string& prefix) {
    active_ = state.at("active"), waited_ = state.at("waited"), lowest_loss_ = state.at("lowest_loss"),
    last_norm_ = state.at("norm"), history_ = state.at("history");
    outcome_.accuracy = state.at("accuracy"), outcome_.loss = state.at("loss"), outcome_.best_step = state.at("best_step");
    outcome_.steps = state.at("steps"), outcome_.failure = state.at("failure");
    std::map<std::string, at::Tensor> stored(checkpoint.tensors.begin(), checkpoint.tensors.end());
    for (const auto& [label, tensors] : slots()) {
      for (std::size_t i = 0; i < tensors->size(); ++i) (*tensors)[i].copy_(stored.at(fmt::format("{}{}.{}", prefix, label, i)));
    }
  }

  [[nodiscard]] const json& history() const { return history_; }

 private:
  [[nodiscard]] std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> slots() const {
    return {{"parameter", &parameters_}, {"best", &best_}, {"first", &optimizer_->first}, {"second", &optimizer_->second}};
  }

  Trainee& trainee_;
  std::vector<LabelledGroup> validation_;
  GroupOrder order_;
  std::int64_t steps_total_;
  model::Expert gradient_expert_;
  std::unique_ptr<model::Weights> gradient_weights_;
  std::vector<at::Tensor> parameters_, gradients_, best_;
  std::unique_ptr<AdamW> optimizer_;
  TrainOutcome outcome_;
  bool active_ = true;
  std::int64_t waited_ = 0;
  double lowest_loss_ = std::numeric_limits<double>::max();
  double last_norm_ = 0;
  json history_ = json::array();
};

/// One forward and backward pass: micro batch number `number` of each course that has one.
class Pass {
 public:
  Pass(const TrainerContext& context, std::int64_t step, std::int64_t number) : context_(context), step_(step), number_(number) {}

  void add(Course& course, const std::vector<const LabelledGroup*>& step_groups, const std::vector<std::size_t>& chosen) {
    const model::Backbone& backbone = *course.trainee().backbone;
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

  /// Compute; every course's gradients are overwritten by this pass's. Returns the loss of each added course, summed over its
  /// groups.
  std::vector<double> run() {
    const model::Backbone& backbone = *parts_.front().course->trainee().backbone;
    std::vector<model::ExpertRows> rows;
    model::BackboneGradients sinks;
    for (Part& part : parts_) {
      rows.push_back(part.rows);
      for (at::Tensor& gradient : part.course->gradients()) gradient.zero_();
      sinks.experts.push_back(part.course->gradient_expert());
      sinks.weights = part.course->gradient_weights();
    }
    model::ForwardState keep;
    const at::Tensor states_RD = backbone.forward(batch_, rows, &keep, trunk());
    const at::Tensor grad_RD = at::zeros_like(states_RD);
    std::vector<double> losses;
    for (Part& part : parts_)
      losses.push_back(head_pass(part, states_RD.narrow(0, part.rows.first_read, part.rows.reads),
                                 grad_RD.narrow(0, part.rows.first_read, part.rows.reads)));
    backbone.backward(grad_RD, keep, sinks);
    return losses;
  }

  [[nodiscard]] const std::string& bad_group() const { return bad_group_; }

 private:
  /// States of all parts' rows below the adapted layers, which every part shares.
  [[nodiscard]] model::Trunk trunk() const {
    std::vector<const LabelledGroup*> groups;
    for (const Part& part : parts_) groups.insert(groups.end(), part.groups.begin(), part.groups.end());
    return context_.trunks.of(*parts_.front().course->trainee().backbone, parts_.front().course->adapter(), context_.store,
                              groups);
  }

  struct Part {
    Course* course;
    model::ExpertRows rows;
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
      const double group_loss = model::pairwise_loss(own, group->pairs, scale, slope) +
                                model::centring_loss(own, context_.train.reward_centring, scale, slope);
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
  Training(const TrainerContext& context, std::vector<Trainee>& trainees) : context_(context) {
    for (Trainee& trainee : trainees) {
      DMOERM_CHECK(!trainee.trains_all || trainees.size() == 1, "a backbone under training belongs to one trainee");
      courses_.push_back(std::make_unique<Course>(trainee, context));
    }
  }

  std::vector<TrainOutcome> run() {
    started_ = saved_ = Clock::now();
    bool evaluated = resume();
    for (;; ++step_, evaluated = false) {
      if (!evaluated) evaluate_due();
      if (std::ranges::none_of(courses_, [](const auto& c) { return c->active(); })) break;
      stop_if_asked();
      save_if_due();
      take_step();
    }
    std::vector<TrainOutcome> outcomes;
    const double peak = peak_mib();
    for (const auto& course : courses_) outcomes.push_back(course->finish(tokens_, seconds(), peak));
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

  void evaluate_due() {
    bool any = false;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      Course& course = *courses_[i];
      if (!course.active() || (step_ % context_.train.eval_every_steps != 0 && step_ != course.steps_total())) continue;
      course.evaluate(context_, step_, steps_since_ > 0 ? loss_since_ / static_cast<double>(steps_since_) : 0.0, seconds());
      any = true;
    }
    if (!any) return;
    loss_since_ = 0, steps_since_ = 0;
    if (context_.group.rank() == 0) {
      std::string lines;
      for (const auto& course : courses_) {
        for (const json& line : course->history()) lines += line.dump() + "\n";
      }
      std::filesystem::create_directories(context_.directory);
      write_file_atomically(context_.directory / "metrics.jsonl", lines);
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
      cuts.push_back(
          cut_micro_batches(context_.store, groups.back(), course->trainee().backbone->shares_prefix(), tokens_of_a_pass()));
      passes = std::max(passes, cuts.back().size());
    }
    // One tree of sums for each course and buffer, over the numbers of the micro batches. The last buffer carries the loss behind
    // the gradient.
    std::vector<std::vector<comm::TreeSum>> sums(active.size());
    for (std::size_t c = 0; c < active.size(); ++c) {
      const auto& gradients = active[c]->gradients();
      for (std::size_t b = 0; b < gradients.size(); ++b)
        sums[c].emplace_back(static_cast<std::size_t>(gradients[b].numel()) + (b + 1 == gradients.size() ? 1 : 0));
      for (const LabelledGroup* g : groups[c])
        tokens_ +=
            data::packed_tokens(context_.store.group(g->group), g->responses, active[c]->trainee().backbone->shares_prefix());
    }
    const comm::MicroBatchRange range =
        comm::micro_batch_range(static_cast<std::int64_t>(passes), context_.group.rank(), context_.group.size());
    std::string bad_group;
    for (std::int64_t number = range.first; number < range.last; ++number) {
      Pass pass(context_, step_, number);
      std::vector<std::size_t> taking;
      for (std::size_t c = 0; c < active.size(); ++c) {
        if (static_cast<std::size_t>(number) >= cuts[c].size()) continue;
        pass.add(*active[c], groups[c], cuts[c][static_cast<std::size_t>(number)]);
        taking.push_back(c);
      }
      const std::vector<double> losses = pass.run();
      if (bad_group.empty()) bad_group = pass.bad_group();
      for (std::size_t i = 0; i < taking.size(); ++i) add_leaf(active[taking[i]]->gradients(), losses[i], sums[taking[i]]);
    }
    for (std::size_t c = 0; c < active.size(); ++c) {
      const int contributors = contributors_of(static_cast<std::int64_t>(cuts[c].size()), static_cast<std::int64_t>(passes));
      for (std::size_t b = 0; b < sums[c].size(); ++b) {
        std::vector<float> sum = sums[c][b].finish();
        context_.group.tree_sum(sum, contributors);
        at::Tensor& gradient = active[c]->gradients()[b];
        gradient.copy_(at::from_blob(sum.data(), gradient.sizes(), at::TensorOptions().dtype(at::kFloat)));
        if (b + 1 == sums[c].size())
          loss_since_ +=
              sum.back() / static_cast<double>(context_.train.groups_per_step * static_cast<std::int64_t>(active.size()));
      }
      active[c]->update(context_, step_);
      if (!active[c]->active()) name_failure(*active[c], bad_group);
    }
    ++steps_since_;
  }

  /// Tokens of one expert in a pass: the experts that step together share micro_batch_tokens, which bounds memory. Those that
  /// have stopped still count, so that the cut does not depend on them.
  [[nodiscard]] std::int64_t tokens_of_a_pass() const {
    return std::max<std::int64_t>(1, context_.compute.micro_batch_tokens / static_cast<std::int64_t>(courses_.size()));
  }

  /// One micro batch's gradients, and its loss behind the last of them, into their trees.
  static void add_leaf(const std::vector<at::Tensor>& gradients, double loss, std::vector<comm::TreeSum>& sums) {
    for (std::size_t b = 0; b < gradients.size(); ++b) {
      const at::Tensor local = gradients[b].cpu();
      const std::span<const float> values(local.const_data_ptr<float>(), static_cast<std::size_t>(local.numel()));
      if (b + 1 < gradients.size()) {
        sums[b].add(values);
      } else {
        std::vector<float> leaf(values.begin(), values.end());
        leaf.push_back(static_cast<float>(loss));
        sums[b].add(leaf);
      }
    }
  }

  /// Leading ranks of the group that hold at least one of a course's `count` micro batches when `passes` are shared out.
  [[nodiscard]] int contributors_of(std::int64_t count, std::int64_t passes) const {
    int contributors = 0;
    for (int r = 0; r < context_.group.size(); ++r) {
      const comm::MicroBatchRange range = comm::micro_batch_range(passes, r, context_.group.size());
      if (range.first < range.last && range.first < count) contributors = r + 1;
    }
    return contributors;
  }

  /// All ranks learn which group broke a course.
  void name_failure(Course& course, const std::string& bad_group) {
    std::string named;
    for (const auto& bytes : context_.group.all_gather(std::as_bytes(std::span<const char>(bad_group)))) {
      if (named.empty()) named.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    course.fail(
        fmt::format("{}: loss or gradient became NaN or infinite at step {}{}; lower the learning rate or look at that group",
                    course.name(), step_, named.empty() ? "" : ", group " + named));
    if (context_.group.rank() == 0)
      spdlog::error("[train] task={} broke off: not finite at step {} group={}", course.name(), step_, named);
  }

  /// The ranks agree at a step's edge that it is the last one now.
  void stop_if_asked() {
    if (!comm::any_rank(context_.group, stop_requested())) return;
    if (context_.group.rank() == 0) save();
    throw Stopped(fmt::format("{} broke off at step {} and is saved", courses_.front()->name(), step_));
  }

  void save_if_due() {
    if (context_.group.rank() == 0 &&
        std::chrono::duration<double>(Clock::now() - saved_).count() >= context_.train.checkpoint_every_s)
      save();
  }

  void save() {
    Checkpoint checkpoint;
    checkpoint.step = step_;
    checkpoint.state = {{"key", context_.key},       {"seconds", seconds()},        {"tokens", tokens_},
                        {"loss_since", loss_since_}, {"steps_since", steps_since_}, {"courses", json::array()}};
    for (std::size_t i = 0; i < courses_.size(); ++i) courses_[i]->write(checkpoint, fmt::format("{}.", i));
    try {
      save_checkpoint(context_.directory, checkpoint);
    } catch (const IoError& e) {  // the other ranks are in the next step already, and the result does not need it
      spdlog::warn("[train] no checkpoint at step {}, training goes on: {}", step_, e.what());
    }
    saved_ = Clock::now();
  }

  /// True if a checkpoint was loaded: it was written after the evaluation of its step.
  bool resume() {
    // The first rank chooses, so that all take the same one.
    std::int64_t step = -1;
    std::optional<Checkpoint> checkpoint;
    if (context_.group.rank() == 0) {
      checkpoint = load_checkpoint(context_.directory, context_.key);
      if (checkpoint) step = checkpoint->step;
    }
    context_.group.broadcast(std::as_writable_bytes(std::span(&step, 1)), 0);
    if (step < 0) return false;
    if (context_.group.rank() != 0) checkpoint = load_checkpoint(context_.directory, context_.key);
    if (!checkpoint || checkpoint->step != step)
      throw IoError(fmt::format("{}: rank {} does not see the checkpoint of step {}: is the run directory shared?",
                                context_.directory.string(), context_.group.rank(), step));
    step_ = step;
    seconds_before_ = checkpoint->state.at("seconds"), tokens_ = checkpoint->state.at("tokens");
    loss_since_ = checkpoint->state.at("loss_since"), steps_since_ = checkpoint->state.at("steps_since");
    for (std::size_t i = 0; i < courses_.size(); ++i)
      courses_[i]->read(*checkpoint, checkpoint->state.at("courses").at(i), fmt::format("{}.", i));
    if (context_.group.rank() == 0) spdlog::info("[train] {} resumes at step {}", courses_.front()->name(), step_);
    return true;
  }

  const TrainerContext& context_;
  std::vector<std::unique_ptr<Course>> courses_;
  std::int64_t step_ = 0, tokens_ = 0, steps_since_ = 0;
  double loss_since_ = 0, seconds_before_ = 0;
  Clock::time_point started_, saved_;
};

}  // namespace

std::int64_t total_steps(const config::TrainConfig& train, const data::TokenStore& store,
                         const std::vector<LabelledGroup>& groups) {
  if (train.steps_max > 0) return train.steps_max;
  std::int64_t pass = 0;
  for (const std::int32_t copies : copies_of(store, groups)) pass += std::max(1, copies);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(train.epochs_max * static_cast<double>(pass) /
                                                                       static_cast<double>(train.groups_per_step))));
}

std::vector<TrainOutcome> train_rewards(const TrainerContext& context, std::vector<Trainee>& trainees) {
  return Training(context, trainees).run();
}

}  // namespace dmoerm::train
