#include "label/recall.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "base/counted.h"
#include "base/hash.h"
#include "base/log.h"
#include "label_store/judge_notes.h"

namespace dmoerm::label {
namespace {

using label_store::JudgeNote;
using label_store::Label;

std::string template_of(const judge::Judge& judge) { return judge.answer_forms.front().judge_template().id(); }

/// A digest of what decides who answers and how, apart from the model and the template. Addresses may hold secrets.
std::string way_of(const config::JudgeConfig& judge) {
  std::vector<std::string> addresses;
  for (const config::EndpointConfig& endpoint : judge.endpoints) {
    addresses.push_back(endpoint.url);
    while (addresses.back().ends_with('/')) addresses.back().pop_back();
  }
  std::ranges::sort(addresses);
  const nlohmann::json way = {{"addresses", addresses},           {"answer", config::word(judge.answer)},
                              {"temperature", judge.temperature}, {"top_p", judge.top_p},
                              {"max_tokens", judge.max_tokens},   {"extra", judge.extra}};
  return sha256_hex(way.dump()).substr(0, 16);
}

JudgeNote* find(std::vector<JudgeNote>& notes, const judge::Judge& judge) {
  const auto found = std::ranges::find_if(
      notes, [&](const JudgeNote& note) { return note.judge == judge.config.model && note.template_name == template_of(judge); });
  return found == notes.end() ? nullptr : &*found;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The pairs of which the labels have both orders, by the time of the second.
std::vector<Ballot> ballots_of(const std::vector<Label>& latest) {
  std::map<std::tuple<std::string, std::string, Digest, std::int32_t>, const Label*> one_order;
  std::vector<Ballot> ballots;
  for (const Label& label : latest) {
    const auto [other, alone] = one_order.try_emplace({label.category, label.point, label.pair, label.sample}, &label);
    if (alone || other->second->swapped == label.swapped) {
      other->second = &label;
      continue;
    }
    const auto [first, second] = label.swapped ? std::pair(other->second, &label) : std::pair(&label, other->second);
    ballots.push_back({first->verdict, second->verdict});
    one_order.erase(other);
  }
  return ballots;
}

}  // namespace

void compare_with_notes(label_store::LabelStore& store, std::span<const judge::Judge> judges, double useless_max, bool remember) {
  std::vector<JudgeNote> notes = label_store::read_judge_notes(store.directory());
  bool differ = false;
  for (const judge::Judge& judge : judges) {
    const std::string way = way_of(judge.config);
    JudgeNote* note = find(notes, judge);
    if (note == nullptr) note = &notes.emplace_back(judge.config.model, template_of(judge), "", 0, 0, 0);
    if (note->way != way) {
      differ = true;
      if (!note->way.empty()) note->since_ms = now_ms();
      note->way = way;
      const std::vector<Label> latest = store.latest(JudgeWatch::kWindow, judge.config.model, template_of(judge));
      const std::size_t probe = std::min<std::size_t>(latest.size(), JudgeWatch::kProbe);
      const auto were_useless = [&](std::size_t count) {
        JudgeWatch earlier(judge.config, useless_max);
        for (const Label& label : std::span(latest).last(count)) earlier.recall(label.verdict);
        return earlier.known_useless();
      };
      JudgeWatch pairs(judge.config, useless_max);
      for (const Ballot& ballot : ballots_of(latest)) pairs.recall_form(ballot);
      if (note->since_ms > 0 && (were_useless(probe) || pairs.known_open())) {
        const bool always = were_useless(latest.size()) || pairs.known_open();
        note->ask_again_from_ms = always ? 0 : latest.front().time_ms;  // or it was of use before
        note->ask_again_before_ms = note->since_ms;
      }
    }
    if (note->ask_again_before_ms == 0) continue;
    const std::int64_t again =
        store.ask_again(judge.config.model, template_of(judge), note->ask_again_from_ms, note->ask_again_before_ms);
    if (again > 0)
      spdlog::info(
          "[label] judge={}: its address or settings have changed since most of its replies were of no use; the {} of {} without "
          "a verdict {} asked again",
          judge.config.model, again == 1 ? "question" : "questions", counted(again, "stored reply", "stored replies"),
          again == 1 ? "is" : "are");
  }
  if (remember && differ) label_store::write_judge_notes(store.directory(), notes);
}

void recall(const label_store::LabelStore& store, const judge::Judge& judge, JudgeWatch& watch) {
  std::vector<Label> latest = store.latest(JudgeWatch::kWindow, judge.config.model, template_of(judge));
  std::vector<JudgeNote> notes = label_store::read_judge_notes(store.directory());
  const JudgeNote* note = find(notes, judge);
  const std::int64_t since_ms = note == nullptr ? 0 : note->since_ms;
  const auto recent = std::ranges::find_if(latest, [&](const Label& label) { return label.time_ms >= since_ms; });
  if (latest.end() - recent >= JudgeWatch::kKnown) {
    latest.erase(latest.begin(), recent);
  } else if (since_ms > 0) {
    watch.changed();
  }
  const std::size_t count = std::min<std::size_t>(latest.size(), JudgeWatch::kProbe);
  for (std::size_t i = latest.size() - count; i < latest.size(); ++i) watch.recall(latest[i].verdict);
  const std::vector<Ballot> ballots = ballots_of(latest);
  for (const Ballot& ballot : ballots) watch.recall_form(ballot);
  const auto pairs = std::min<std::size_t>(ballots.size(), JudgeWatch::kPairsProbe);
  for (std::size_t i = ballots.size() - pairs; i < ballots.size(); ++i) watch.recall_pair(ballots[i]);
}

}  // namespace dmoerm::label
