// What the label store knows of a judge's latest replies, so that a judge that was of no use is not paid as long again.
#pragma once
#include "judge/judge.h"
#include "label/judge_watch.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// Tell a judge's watch what became of the latest stored replies of the same model to the same template, whatever was asked.
/// @throws DataError if a segment of the store is damaged
void recall(const label_store::LabelStore& store, const judge::Judge& judge, JudgeWatch& watch);

}  // namespace dmoerm::label
