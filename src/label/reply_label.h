// From a judge's reply to the label that is kept, and what it cost.
#pragma once
#include "label/judge.h"

namespace dmoerm::label {

/// What a reply cost: as the server counted, else as estimated; tries that may have been paid count at the most they can have
/// cost.
Spent cost_of(const Judge& judge, const BuiltQuestion& question, const JudgeReply& reply);

/// The label of a reply to a question. @param form  the judge's answer form it was asked in  @param used  of cost_of()
Label label_of(const Judge& judge, const Question& question, std::size_t form, const JudgeReply& reply, const Spent& used);

/// Whether the server refuses the request because of its answer form.
bool refuses_form(const JudgeReply& reply);

}  // namespace dmoerm::label
