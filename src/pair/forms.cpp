// The list of forms: how each looks, and which function reads it.
#include "pair/forms.h"

#include <fmt/format.h>

#include "base/error.h"
#include "pair/row_fields.h"

namespace dmoerm::pair {

using nlohmann::json;

namespace {

bool prompt_is(const json& row, json::value_t type) {
  const char* column = prompt_column(row);
  return column != nullptr && row[column].type() == type;
}

}  // namespace

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms = {
      {"native",
       R"({"id","category","split","prompt","responses":[{"rid","text","scores":{point: x},"overall": x}],)"
       R"("preferences":[[rid,rid,"a"|"b"|"tie"]],"verdicts":[{"point","a","b","first_order","second_order"}]}; )"
       R"(orders: a shown first, b shown first; each says "first", "second", "tie", "unparsable", "refused" or "error" of what was shown)",
       [](const json& r) { return has(r, {"prompt"}) && has_objects(r, "responses"); }, parse_native},
      {"dmoerm-ranked",
       R"({"src":[user turns],"tgt":[assistant turns],"response":[...],"rank":[...],"label"}, lower rank = better)",
       [](const json& r) {
         return has(r, {"src", "response", "rank"});
       },
       parse_authors_ranked},
      {"dmoerm-points",
       R"({"query","responses":[a,b],"rank":[1,2],"point"}, 1 = better; consecutive rows of one query are one group)",
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
       R"(consecutive rows of one prompt are one group)",
       [](const json& r) {
         return has(r, {"prompt", "response", "helpfulness"});
       },
       parse_helpsteer, true},
      {"swift", R"({"messages":[..., chosen last],"rejected_response","margin"}, ms-swift)",
       [](const json& r) {
         return has(r, {"messages", "rejected_response"});
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
       R"({"prompt","chosen","rejected","margin","score_chosen","score_rejected"}, TRL, OpenRLHF, LLaMA-Factory; the prompt may be )"
       R"(called question, instruction (with input), query, input, context or context_messages; system and history go before it)",
       [](const json& r) {
         return has(r, {"chosen", "rejected"}) && prompt_is(r, json::value_t::string);
       },
       parse_chosen_rejected},
      {"conversational-implicit",
       R"({"chosen":[messages],"rejected":[messages],...}, TRL, OpenRLHF: the prompt is what both begin with)",
       [](const json& r) {
         return has(r, {"chosen", "rejected"}) && r["chosen"].is_array() && !has(r, {"prompt"});
       },
       parse_chosen_rejected},
      {"standard-implicit",
       R"({"chosen","rejected",...} or {"text_chosen","text_rejected",...}: the prompt is what both begin with; )"
       R"("\n\nHuman: ...\n\nAssistant: ..." (Anthropic HH) is read as turns)",
       [](const json& r) {
         return !has(r, {"prompt"}) && (has(r, {"chosen", "rejected"}) || has(r, {"text_chosen", "text_rejected"}));
       },
       parse_chosen_rejected},
  };
  return kForms;
}

const Form* detect_form(const json& row) {
  if (!row.is_object()) return nullptr;
  for (const Form& form : forms()) {
    if (form.matches(row)) return &form;
  }
  return nullptr;
}

const Form& form_by_name(const std::string& name) {
  std::string names;
  for (const Form& form : forms()) {
    if (form.name == name) return form;
    names += (names.empty() ? "" : ", ") + form.name;
  }
  throw ConfigError(fmt::format("form \"{}\" is unknown. Known: auto, {}", name, names));
}

}  // namespace dmoerm::pair
