#include "run/features_file.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "nn/safetensors_writer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnfinished = ".unfinished";

/// How many responses and prompts are written, from the first of each.
struct Written {
  std::int64_t responses = 0, prompts = 0;
};

/// What the names of unfinished files of a task with these settings end with.
std::string ending_of(const TaskParts& parts) { return "." + parts.key().substr(0, 16) + kUnfinished; }

/// The part that says that a file is written. It stands for the file's content, which has no key of its own.
std::string mark_of(const fs::path& file) { return file.stem().string(); }

/// A features file under way. A note among the task's parts says how much of it is on the disk.
class FeaturesWriter {
 public:
  FeaturesWriter(const fs::path& file, const std::vector<nn::TensorLayout>& tensors, TaskParts& parts)
      : file_(file), unfinished_(file.string() + ending_of(parts)), note_(file.stem().string() + "-written"), parts_(parts) {
    fs::create_directories(file.parent_path());
    if (const auto before = parts.load(note_)) {
      const at::Tensor counts = before->front().second;
      if (counts.numel() == 2 && nn::SafetensorsWriter::is_begun(unfinished_, tensors))
        noted_ = {counts[0].item<std::int64_t>(), counts[1].item<std::int64_t>()};
      else
        parts.drop(note_);  // it would be believed of the file that begins now
    }
    writer_.emplace(unfinished_, tensors, noted_.responses > 0);
    written_ = noted_;
  }

  [[nodiscard]] const Written& written() const { return written_; }
  [[nodiscard]] const Written& noted() const { return noted_; }
  [[nodiscard]] nn::SafetensorsWriter& rows() { return *writer_; }
  /// Say that so much is written. It is noted from time to time.
  void advance(const Written& written) {
    written_ = written;
    if (parts_.due()) note();
  }
  /// Bring what is written to the disk, and note how much it is, or log a warning if that fails.
  void note() {
    writer_->flush();
    const at::Tensor counts = at::tensor({written_.responses, written_.prompts}, at::TensorOptions().dtype(at::kLong));
    if (parts_.keep(note_, {{"counts", counts}})) noted_ = written_;
  }
  /// Move the file to its name, and mark it as written with these settings. The mark of other settings goes first: it would be
  /// believed of this file if this one's mark could not be kept.
  void publish() {
    parts_.drop(mark_of(file_));
    writer_->publish(file_);
    parts_.keep(mark_of(file_), {{"responses", at::tensor({written_.responses})}});
  }

 private:
  fs::path file_, unfinished_;
  std::string note_;
  TaskParts& parts_;
  std::optional<nn::SafetensorsWriter> writer_;
  Written written_, noted_;
};

std::int64_t responses_of(const std::vector<train::LabelledGroup>& groups) {
  std::int64_t count = 0;
  for (const train::LabelledGroup& group : groups) count += std::ssize(group.responses);
  return count;
}

/// Tensors of the file. @param width  of the states
std::vector<nn::TensorLayout> layout_of(const RatedGroups& rated, std::int64_t experts, std::int64_t width, bool with_base) {
  const std::int64_t n = responses_of(rated.groups), g = std::ssize(rated.groups);
  std::vector<nn::TensorLayout> tensors = {{"states", at::kFloat, {n, experts, width}},
                                           {"rewards", at::kFloat, {n, experts}},
                                           {"lengths", at::kFloat, {n}},
                                           {"prompts", at::kFloat, {g, width}}};
  if (with_base) tensors.push_back({"base", at::kFloat, {n}});
  return tensors;
}

at::Tensor lengths_of(const data::TokenStore& store, const std::vector<train::LabelledGroup>& groups) {
  std::vector<float> lengths;
  for (const train::LabelledGroup& g : groups) {
    const data::TokenGroup group = store.group(g.group);
    for (const std::int32_t r : g.responses) {
      const std::size_t own = group.responses[static_cast<std::size_t>(r)].size(), all = group.prefix.size() + own;
      lengths.push_back(moe::log_length(std::max(own, all - std::min(all, group.prompt.size()))));
    }
  }
  return at::tensor(at::ArrayRef<float>(lengths));
}

void tell(const RunContext& context, std::int64_t done, std::int64_t all, const std::string& what) {
  if (context.progress().doing) context.progress().doing(fmt::format("{} of {} {}", done, all, what));
}

/// Compute states and rewards, and write those that are not written yet. Collective. @param file  on the first rank
void write_responses(RunContext& context, const RatedGroups& rated, const std::vector<nn::RewardModel>& models,
                     std::int64_t experts, std::optional<FeaturesWriter>& file, comm::Communicator& ranks) {
  const std::int64_t all = responses_of(rated.groups);
  const std::string what = "responses of " + rated.what;
  train::StatesUnderWay under_way;
  if (file) under_way.known = file->written().responses;
  under_way.take = [&](const train::GroupStates& some, std::int64_t first) {
    file->rows().write("states", first, some.states_NKD.narrow(1, 0, experts));
    file->rows().write("rewards", first, some.rewards_NK.narrow(1, 0, experts));
    if (std::ssize(models) > experts) file->rows().write("base", first, some.rewards_NK.select(1, experts));
    file->advance({first + some.rewards_NK.size(0), 0});
    tell(context, file->written().responses, all, what);
  };
  under_way.leave = [&](std::int64_t done) {
    file->note();
    leave_after(rated.task, what, done, file->noted().responses);
  };
  context.scorer(ranks).stream_states(models, rated.groups, under_way);
}

/// Compute the states of the prompts, and write those that are not written yet. @throws Stopped on a signal
void write_prompts(const RunContext& context, const RatedGroups& rated, const nn::Backbone& backbone, FeaturesWriter& file) {
  const std::int64_t responses = responses_of(rated.groups), all = std::ssize(rated.groups);
  const std::string what = "prompts of " + rated.what;
  moe::PromptsInBatches prompts{all, file.written().prompts, {}, {}};
  prompts.prompt = [&](std::int64_t i) { return context.store().group(rated.groups[static_cast<std::size_t>(i)].group).prompt; };
  prompts.take = [&](const at::Tensor& pooled_BD, std::int64_t first) {
    file.rows().write("prompts", first, pooled_BD);
    file.advance({responses, first + pooled_BD.size(0)});
    tell(context, file.written().prompts, all, what);
    if (!stop_requested()) return;
    file.note();
    leave_after(rated.task, what, file.written().prompts, file.noted().prompts);
  };
  moe::pool_in_batches(backbone, prompts, moe::kGateReading, context.config().compute.micro_batch_tokens);
}

}  // namespace

void write_features(RunContext& context, const RatedGroups& rated, const fs::path& file, TaskParts& parts,
                    comm::Communicator& ranks) {
  std::vector<nn::RewardModel> models = context.load_experts(rated.category, rated.fold);
  const auto experts = std::ssize(models);
  const bool with_base = context.config().aggregator.base_reward;
  if (with_base) models.push_back(context.load_model(plan::TaskId::base(context.category(rated.category).name, rated.fold)));
  const nn::Backbone& backbone = models.front().backbone();
  std::optional<FeaturesWriter> writer;
  if (ranks.rank() == 0) {
    writer.emplace(file, layout_of(rated, experts, backbone.spec().width, with_base), parts);
    if (writer->written().responses > 0)
      spdlog::info("[features] task={} part={} goes on after {} responses", rated.task, file.stem().string(),
                   writer->written().responses);
  }
  write_responses(context, rated, models, experts, writer, ranks);
  std::optional<Stopped> stopped;  // the other ranks wait to hear it
  try {
    if (writer) write_prompts(context, rated, backbone, *writer);
  } catch (const Stopped& e) {
    stopped = e;
  }
  if (comm::largest_of(ranks, stopped ? 1 : 0) > 0)
    throw stopped ? *stopped : Stopped("stopped-on-request", "the first rank was interrupted");
  if (!writer) return;
  writer->rows().write("lengths", 0, lengths_of(context.store(), rated.groups));
  writer->publish();
}

bool features_written(const fs::path& file, TaskParts& parts) {
  return parts.load(mark_of(file)).has_value() && fs::exists(file);
}

moe::ExpertFeatures read_features(const fs::path& file) {
  const auto reader = nn::SafetensorsReader::open(file);
  moe::ExpertFeatures features{moe::LazyRows::of_file(reader, "states"), reader.load("rewards")};
  if (reader.has("base")) features.base_N = reader.load("base");
  features.length_N = reader.load("lengths"), features.prompts_GH = moe::LazyRows::of_file(reader, "prompts");
  return features;
}

void remove_unfinished_features(const fs::path& task_folder, const TaskParts& parts) {
  std::vector<fs::path> others;
  std::error_code none;  // a task that begins has no folder
  for (const auto& entry : fs::directory_iterator(task_folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kUnfinished) && !name.ends_with(ending_of(parts))) others.push_back(entry.path());
  }
  for (const fs::path& other : others) fs::remove(other);
}

}  // namespace dmoerm::run
