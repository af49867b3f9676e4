// Settings that are words: the values of each type and the one spelling of each value.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace dmoerm::config {

enum class LogLevel { debug, info, warn, error };
enum class Device { automatic, cpu, cuda };
enum class Dtype { float32, bfloat16 };
/// The numbers in which a frozen backbone's matrices are multiplied in forward passes.
enum class BaseWeights { float32, int8 };
/// The split of a file's rows; `own` leaves it to the rows.
enum class InputSplit { own, train, validation, test };
enum class Split { train, validation, test };
/// What training changes: every weight of the backbone, or a LoRA adapter.
enum class Tuning { full, lora };
enum class Schedule { constant, linear, cosine };
/// What a category's base learns from: overall preferences, or these and the labels of all capability points.
enum class BaseLabels { overall, all };
/// Where a category's base begins.
enum class BaseStart { backbone, all_categories };
/// Which of the evaluated weights a training keeps.
enum class SelectBy { accuracy, loss };
/// Which ties a training has: none, those of judges, or also those of scores and of statements.
enum class Ties { none, judged, all };
enum class JudgeApi { online, batch };
enum class AnswerMode { automatic, json_schema, verdict_line };
enum class PairChoice { all, per_group, uncertain };
enum class TooLong { truncate, skip };
enum class Vote { majority, weights };
enum class Pooling { mean, last };
/// What the router is: a linear head trained on the categories, clusters of prompts, or a linear head trained on rewards.
enum class RouterKind { trained, clusters, reward };
/// Where a value head begins.
enum class HeadStart { random, ridge };
enum class AggregatorKind { mean, stack, gate, mlp, paper_mlp, wco, uwo, best };
/// Whose recipe the defaults are: this program's, or that of arXiv 2403.01197.
enum class Method { dmoerm, paper };
enum class Starter { srun, mpirun };
enum class ScreenMode { automatic, on, off };

template <class E>
using Word = std::pair<E, std::string_view>;

// word_table(E) lists the values of a type with their words, in the order in which messages and the reference show them.
constexpr auto word_table(LogLevel) {
  return std::to_array<Word<LogLevel>>(
      {{LogLevel::debug, "debug"}, {LogLevel::info, "info"}, {LogLevel::warn, "warn"}, {LogLevel::error, "error"}});
}
constexpr auto word_table(Device) {
  return std::to_array<Word<Device>>({{Device::automatic, "auto"}, {Device::cpu, "cpu"}, {Device::cuda, "cuda"}});
}
constexpr auto word_table(Dtype) {
  return std::to_array<Word<Dtype>>({{Dtype::float32, "float32"}, {Dtype::bfloat16, "bfloat16"}});
}
constexpr auto word_table(BaseWeights) {
  return std::to_array<Word<BaseWeights>>({{BaseWeights::float32, "float32"}, {BaseWeights::int8, "int8"}});
}
constexpr auto word_table(InputSplit) {
  using enum InputSplit;
  return std::to_array<Word<InputSplit>>({{own, ""}, {train, "train"}, {validation, "validation"}, {test, "test"}});
}
constexpr auto word_table(Split) {
  return std::to_array<Word<Split>>({{Split::train, "train"}, {Split::validation, "validation"}, {Split::test, "test"}});
}
constexpr auto word_table(Tuning) { return std::to_array<Word<Tuning>>({{Tuning::full, "full"}, {Tuning::lora, "lora"}}); }
constexpr auto word_table(Schedule) {
  using enum Schedule;
  return std::to_array<Word<Schedule>>({{constant, "constant"}, {linear, "linear"}, {cosine, "cosine"}});
}
constexpr auto word_table(BaseLabels) {
  return std::to_array<Word<BaseLabels>>({{BaseLabels::overall, "overall"}, {BaseLabels::all, "all"}});
}
constexpr auto word_table(BaseStart) {
  return std::to_array<Word<BaseStart>>({{BaseStart::backbone, "backbone"}, {BaseStart::all_categories, "all_categories"}});
}
constexpr auto word_table(SelectBy) {
  return std::to_array<Word<SelectBy>>({{SelectBy::accuracy, "accuracy"}, {SelectBy::loss, "loss"}});
}
constexpr auto word_table(Ties) {
  return std::to_array<Word<Ties>>({{Ties::none, "none"}, {Ties::judged, "judged"}, {Ties::all, "all"}});
}
constexpr auto word_table(JudgeApi) {
  return std::to_array<Word<JudgeApi>>({{JudgeApi::online, "online"}, {JudgeApi::batch, "batch"}});
}
constexpr auto word_table(AnswerMode) {
  using enum AnswerMode;
  return std::to_array<Word<AnswerMode>>({{automatic, "auto"}, {json_schema, "json_schema"}, {verdict_line, "verdict_line"}});
}
constexpr auto word_table(PairChoice) {
  using enum PairChoice;
  return std::to_array<Word<PairChoice>>({{all, "all"}, {per_group, "per_group"}, {uncertain, "uncertain"}});
}
constexpr auto word_table(TooLong) {
  return std::to_array<Word<TooLong>>({{TooLong::truncate, "truncate"}, {TooLong::skip, "skip"}});
}
constexpr auto word_table(Vote) { return std::to_array<Word<Vote>>({{Vote::majority, "majority"}, {Vote::weights, "weights"}}); }
constexpr auto word_table(Pooling) { return std::to_array<Word<Pooling>>({{Pooling::mean, "mean"}, {Pooling::last, "last"}}); }
constexpr auto word_table(RouterKind) {
  using enum RouterKind;
  return std::to_array<Word<RouterKind>>({{trained, "trained"}, {clusters, "clusters"}, {reward, "reward"}});
}
constexpr auto word_table(HeadStart) {
  return std::to_array<Word<HeadStart>>({{HeadStart::random, "random"}, {HeadStart::ridge, "ridge"}});
}
constexpr auto word_table(AggregatorKind) {
  using enum AggregatorKind;
  return std::to_array<Word<AggregatorKind>>({{mean, "mean"},
                                              {stack, "stack"},
                                              {gate, "gate"},
                                              {mlp, "mlp"},
                                              {paper_mlp, "paper_mlp"},
                                              {wco, "wco"},
                                              {uwo, "uwo"},
                                              {best, "best"}});
}
constexpr auto word_table(Method) { return std::to_array<Word<Method>>({{Method::dmoerm, "dmoerm"}, {Method::paper, "paper"}}); }
constexpr auto word_table(Starter) {
  return std::to_array<Word<Starter>>({{Starter::srun, "srun"}, {Starter::mpirun, "mpirun"}});
}
constexpr auto word_table(ScreenMode) {
  return std::to_array<Word<ScreenMode>>({{ScreenMode::automatic, "auto"}, {ScreenMode::on, "on"}, {ScreenMode::off, "off"}});
}

/// A type whose values are written as words.
template <class E>
concept WordSetting = std::is_enum_v<E> && requires(E value) {
  word_table(value);
};

/// The word for a value.
template <WordSetting E>
std::string word(E value) {
  for (const auto& [known, text] : word_table(value)) {
    if (known == value) return std::string(text);
  }
  return "";
}

/// The value that a word stands for; nothing if there is none.
template <WordSetting E>
std::optional<E> from_word(std::string_view text) {
  for (const auto& [value, known] : word_table(E{})) {
    if (known == text) return value;
  }
  return std::nullopt;
}

/// All words of a type.
template <WordSetting E>
std::vector<std::string> words() {
  std::vector<std::string> all;
  for (const auto& [value, text] : word_table(E{})) all.emplace_back(text);
  return all;
}

}  // namespace dmoerm::config
