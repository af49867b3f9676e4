// What the label store knows of a judge's latest replies, so that a judge that was of no use is not paid as long again, and one
// that was corrected since is not condemned for them.
#pragma once
#include <span>

#include "judge/judge.h"
#include "label/judge_watch.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// Compare how the judges are asked (address, settings of their requests) with the store's notes. Where that has changed since
/// most of a judge's latest replies were of no use, its stored replies without a verdict are asked for again.
/// @param useless_max  `labels.useless_max`
/// @param remember  whether to write the notes; a dry run does not
/// @throws DataError if a segment of the store or its notes are damaged, IoError
void compare_with_notes(label_store::LabelStore& store, std::span<const judge::Judge> judges, double useless_max, bool remember);

/// Tell a judge's watch what became of the latest stored replies of the same model to the same template, whatever was asked:
/// those since it is asked as it is now, or if these are few, all of them and that it has changed.
/// @throws DataError if a segment of the store or its notes are damaged
void recall(const label_store::LabelStore& store, const judge::Judge& judge, JudgeWatch& watch);

}  // namespace dmoerm::label
