// From a judge's reply to the label that is kept, and what it cost.
#pragma once
#include "judge/judge.h"

namespace dmoerm::label {

/// What a reply cost: as the server counted, else as estimated; tries that may have been paid count at the most they can have
/// cost.
judge::Usage cost_of(const judge::Judge& judge, const judge::BuiltQuestion& question, const judge::JudgeReply& reply);

/// The label of a reply to a question. @param form  the judge's answer form it was asked in  @param used  of cost_of()
label_store::Label label_of(const judge::Judge& judge, const judge::Question& question, std::size_t form,
                            const judge::JudgeReply& reply, const judge::Usage& used);

/// Whether the server refuses the request because of its answer form.
bool refuses_form(const judge::JudgeReply& reply);

}  // namespace dmoerm::label
