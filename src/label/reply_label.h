// Turns a judge's reply into the label that is stored, and computes its cost.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "judge/judge.h"
#include "label/asked_question.h"
#include "label_store/label.h"

namespace dmoerm::label {

/// Take back the server's token counts that are far too small for the texts, so that they are estimated: a gateway may have made
/// them up, and the limits would not hold.
void forget_impossible_counts(judge::JudgeReply& reply, const judge::BuiltQuestion& question);

/// Cost of a reply by the server's token counts, or by the estimate if it gave none: the longest answer allowed where the reply
/// was cut off or is empty. A try that may have been charged counts at the most that it can have cost.
judge::Usage cost_of(const judge::Judge& judge, const judge::BuiltQuestion& question, const judge::JudgeReply& reply);

/// Cost of the tries of a question that comes back without an answer: but for those that the server refused as too many, and for
/// the last one if it was refused as all are (a key, a model, an answer form).
judge::Usage cost_without_answer(const judge::Judge& judge, const judge::BuiltQuestion& question, const judge::JudgeReply& reply);

/// The label of a reply to a question. @param answer_form  index of the judge's answer form it was asked in
/// @param used  result of cost_of()
label_store::Label label_of(const judge::Judge& judge, const judge::Question& question, std::size_t answer_form,
                            const judge::JudgeReply& reply, const judge::Usage& used);

/// The labels to store, those before whose answers several requests were sent with one for each of the earlier tries: without a
/// verdict and at no cost, so that the store counts what was sent. @param answered  the questions of the labels
std::vector<label_store::Label> with_earlier_tries(std::span<const label_store::Label> labels, std::span<const Asked> answered);

/// What today's parser reads in a reply that is stored as unparsable. @return nothing if it has no verdict, or is about another
/// judge or template
std::optional<preference::Verdict> read_again(const std::vector<judge::Judge>& judges, const label_store::Label& label);

/// Whether the server refused one question, perhaps because of its texts (HTTP status 400, 413 or 422).
bool is_about_texts(const judge::JudgeReply& reply);

/// Whether the server refused the request because of its answer form.
bool refuses_answer_form(const judge::JudgeReply& reply);

}  // namespace dmoerm::label
