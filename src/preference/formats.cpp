#include "preference/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json_problem.h"
#include "base/repeated_keys.h"
#include "base/text.h"
#include "base/utf8.h"
#include "preference/fast_json.h"
#include "preference/formats_of_datasets.h"
#include "preference/formats_of_groups.h"
#include "preference/formats_of_pairs.h"
#include "preference/messages_in_text.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

bool prompt_is(const json& row, json::value_t type) {
  const char* column = pair_prompt_column(row);
  return column != nullptr && row[column].type() == type;
}

/// The word at that column of the line if it is one that programs write for NaN or infinity; else "".
std::string_view not_finite(std::string_view line, std::size_t column) {
  for (const std::string_view word : {"NaN", "nan", "Infinity", "Inf", "inf"}) {
    if (column >= 1 && column <= line.size() && line.substr(column - 1).starts_with(word)) return word;
  }
  return {};
}

/// Whether a line is what a server sends in place of a file that it does not give.
bool is_refusal_of_server(std::string_view line) {
  constexpr std::array<std::string_view, 13> kBeginnings = {
      "entry not found", "not found", "404",          "file not found", "repository not found",  "invalid username or password",
      "access to ",      "forbidden", "unauthorized", "access denied",  "internal server error", "too many requests",
      "bad gateway"};
  const std::string text = lower(trim(line.substr(0, 200)));
  return std::ranges::any_of(kBeginnings, [&](std::string_view beginning) { return text.starts_with(beginning); });
}

/// Parse a line by the parser that knows what is wrong with it, and where. @throws RowError
json parse_with_reasons(const std::string& line) {
  RepeatedKeys keys;
  const auto limit = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDepthMax) throw RowError("row-nested-too-deep", fmt::format("nested deeper than {} levels", kDepthMax));
    if (keys.repeats(event, value))
      throw RowError("key-given-twice", fmt::format("the key {} stands twice in {}", shown(value),
                                                    depth == 1 ? "the row" : "one object of the row"));
    return true;
  };
  try {
    return json::parse(line, limit);
  } catch (const json::out_of_range& e) {  // 1e999
    throw RowError("number-not-finite", fmt::format("expected finite numbers: {}", json_mismatch(e)));
  } catch (const json::parse_error& e) {
    if (const std::string_view word = not_finite(line, e.byte); !word.empty())
      throw RowError("number-not-finite", fmt::format("expected finite numbers, found {} at column {}", word, e.byte));
    const char* error_of_server =
        is_refusal_of_server(line) ? ", perhaps the error of a server that sent no data: download the file again" : "";
    const JsonProblem problem = json_problem(line, e);
    if (problem.column == 1 && problem.what.starts_with('\'') && is_utf8(line))
      throw RowError("row-not-json", fmt::format("expected one JSON object in one line, found the text {}{}", shown(json(line)),
                                                 error_of_server));
    throw RowError("row-not-json", fmt::format("expected one JSON object in one line, found {} (column {}){}", problem.what,
                                               problem.column, error_of_server));
  } catch (const json::exception& e) {
    throw RowError("row-not-json", fmt::format("expected one JSON object: {}", json_mismatch(e)));
  }
}

}  // namespace

json parse_row(const std::string& line) {
  std::optional<json> fast = fast_json(line, kDepthMax);
  json row = fast ? *std::move(fast) : parse_with_reasons(line);
  try {
    unpack_messages(row);
  } catch (const json::exception& e) {
    throw RowError("row-not-json", fmt::format("expected one JSON object: {}", json_mismatch(e)));
  }
  return row;
}

const std::vector<Format>& formats() {
  static const std::vector<Format> kFormats = {
      {"native",
       R"({"id","category","split","prompt","responses":[{"rid","text","scores":{point: x},"overall": x}],)"
       R"("preferences":[[rid,rid,"a"|"b"|"tie"]],"verdicts":[{"point","a","b","first_order","second_order"}]}; )"
       R"(first_order: the verdict with a shown first, second_order: with b shown first; each is "first", "second", "tie", "unparsable", "refused" or "error", in the order shown)",
       [](const json& r) { return has(r, {"prompt"}) && has_objects(r, "responses"); }, parse_native},
      {"dmoerm-ranked",
       R"({"src":[user turns],"tgt":[assistant turns],"response":[...],"rank":[...],"label"}, lower rank = better)",
       [](const json& r) {
         return has(r, {"src", "response", "rank"});
       },
       parse_authors_ranked},
      {"dmoerm-points",
       R"({"query","responses":[a,b],"rank":[1,2],"point"}, 1 = better; consecutive rows with the same query are one group)",
       [](const json& r) {
         return has(r, {"query", "responses", "rank", "point"});
       },
       parse_authors_points, true},
      {"nemo",
       R"({"context":[messages],"completions":[{"rank","completion":[messages]}],"task_name"}, lower rank = better, NeMo-RL)",
       [](const json& r) { return has(r, {"context"}) && has_objects(r, "completions"); }, parse_nemo},
      {"ultrafeedback",
       R"({"instruction","completions":[{"response","annotations":{aspect:{"Rating"}},"overall_score"}]}, aspects = points)",
       [](const json& r) { return has(r, {"instruction"}) && has_objects(r, "completions"); }, parse_ultrafeedback},
      {"helpsteer-preference",
       R"({"prompt","response_1","response_2","preference_strength"}, negative = the first is better; its size is not used)",
       [](const json& r) {
         return has(r, {"prompt", "response_1", "response_2", "preference_strength"});
       },
       parse_helpsteer_preference},
      {"helpsteer",
       R"({"prompt","response","helpfulness","correctness","coherence","complexity","verbosity"}, overall = helpfulness; )"
       R"(consecutive rows with the same prompt are one group)",
       [](const json& r) {
         return has(r, {"prompt", "response", "helpfulness"});
       },
       parse_helpsteer, true},
      {"swift",
       R"({"messages":[..., chosen last],"rejected_response" or "rejected_messages":[..., rejected last],"margin"}, ms-swift)",
       [](const json& r) {
         return has(r, {"messages"}) && (has(r, {"rejected_response"}) || has_objects(r, "rejected_messages"));
       },
       parse_swift},
      {"rewardbench", R"({"prompt","chosen","rejected","subset","id"}, category = subset)",
       [](const json& r) {
         return has(r, {"prompt", "chosen", "rejected", "subset"});
       },
       parse_rewardbench},
      {"conversational",
       R"({"prompt":[messages],"chosen":[messages],"rejected":[messages],"margin","score_chosen","score_rejected"}, )"
       R"(TRL, OpenRLHF)",
       [](const json& r) {
         return has(r, {"chosen", "rejected"}) && prompt_is(r, json::value_t::array);
       },
       parse_chosen_rejected},
      {"standard",
       R"({"prompt","chosen","rejected","margin","score_chosen","score_rejected"}, TRL, OpenRLHF, LLaMA-Factory; the prompt may )"
       R"(also be called question, instruction (with input), query, input, context, context_messages, conversations, messages, trajectory or conversation; system and history go before it)",
       [](const json& r) {
         return has(r, {"chosen", "rejected"}) && prompt_is(r, json::value_t::string);
       },
       parse_chosen_rejected},
      {"conversational-implicit",
       R"({"chosen":[messages],"rejected":[messages],...}, TRL, OpenRLHF; the prompt is the beginning that both share)",
       [](const json& r) {
         return has(r, {"chosen", "rejected"}) && r["chosen"].is_array() && !has(r, {"prompt"});
       },
       parse_chosen_rejected},
      {"standard-implicit",
       R"({"chosen","rejected",...} or {"text_chosen","text_rejected",...}; the prompt is the beginning that both share; )"
       R"("\n\nHuman: ...\n\nAssistant: ..." (Anthropic HH) is read as turns)",
       [](const json& r) {
         return !has(r, {"prompt"}) && (has(r, {"chosen", "rejected"}) || has(r, {"text_chosen", "text_rejected"}));
       },
       parse_chosen_rejected, false, parse_common_beginning},
      {"nectar", R"({"prompt","answers":[{"answer","rank"}]}, lower rank = better)",
       [](const json& r) {
         return has(r, {"prompt"}) && has_objects(r, "answers") && has(r["answers"][0], {"answer", "rank"});
       },
       parse_nectar},
      {"helpsteer3",
       R"({"context":[messages],"response1","response2","overall_preference","domain"}, negative = the first is better; its size is )"
       R"(not used; category = domain)",
       [](const json& r) {
         return has(r, {"context", "response1", "response2", "overall_preference"});
       },
       parse_helpsteer3},
      {"safe-rlhf",
       R"({"prompt","response_0","response_1","better_response_id","safer_response_id"}, ids 0 or 1, -1 = neither; the safer one )"
       R"(as point "safety")",
       [](const json& r) {
         return has(r, {"prompt", "response_0", "response_1"}) &&
                (r.contains("better_response_id") || r.contains("safer_response_id"));
       },
       parse_safe_rlhf},
      {"shp",
       R"({"history","human_ref_A","human_ref_B","labels","domain"}, 1 = A is better; category and split = domain; consecutive rows )"
       R"(with the same history are one group)",
       [](const json& r) {
         return has(r, {"history", "human_ref_A", "human_ref_B", "labels"});
       },
       parse_shp, true},
      {"webgpt",
       R"({"question":{"full_text"},"answer_0","answer_1","score_0","score_1"}, the higher score is better; its size is not used)",
       [](const json& r) {
         return has(r, {"question", "answer_0", "answer_1", "score_0", "score_1"});
       },
       parse_webgpt},
      {"summarize-from-feedback",
       R"({"info":{"subreddit","title","post"},"summaries":[{"text"},{"text"}],"choice"}, choice = number of the better one; OpenAI)",
       [](const json& r) {
         return has(r, {"info", "choice"}) && has_objects(r, "summaries");
       },
       parse_summaries},
      {"unpaired",
       R"({"prompt","completion","label"} or {"messages","label"}, true = good, KTO; consecutive rows with the same prompt are one group: )"
       R"(a prompt with a single completion has no pair)",
       is_unpaired, parse_unpaired, true},
      {"arena",
       R"({"conversation_a":[messages],"conversation_b":[messages],"winner":"model_a"|"model_b"|"tie"|...}, LMSYS and LMArena)",
       [](const json& r) {
         return has(r, {"conversation_a", "conversation_b", "winner"});
       },
       parse_arena},
  };
  return kFormats;
}

const Format* detect_format(const json& row) {
  if (!row.is_object()) return nullptr;
  for (const Format& format : formats()) {
    if (format.matches(row)) return &format;
  }
  return nullptr;
}

Group parse_group(const Format& format, const json& row, bool named) {
  expect_text_only(row);
  Group group = named && format.parse_named != nullptr ? format.parse_named(row) : format.parse(row);
  group.unread = reasoning_keys(row);
  check_texts(group);
  return group;
}

const Format& format_by_name(const std::string& name) {
  std::string names;
  for (const Format& format : formats()) {
    if (format.name == name) return format;
    names += (names.empty() ? "" : ", ") + format.name;
  }
  throw ConfigError("unknown-data-format", fmt::format("the data format \"{}\" is unknown; expected auto, {}", name, names));
}

}  // namespace dmoerm::preference
