// Labelling inside a run: round after round, with the label store free for others in between.
#pragma once
#include "run/stage_label.h"
#include "run/task_board.h"

namespace dmoerm::run {

/// Label tasks, each as soon as the gaps stand on the board that its pairs are chosen by. The store is open only while judges are
/// asked. @return why it ended early; complete if nothing is left, or if what is left waits for tasks that failed or were stopped
/// @param how  as for LabelStage::run(), with the tasks to label
/// @throws as LabelStage::run()
label::LabellingEnd label_in_rounds(LabelStage& stage, const LabelStage::Run& how, TaskBoard& board);

/// Open the label store unless another process labels. @return who does, in a sentence; empty if the store is open
/// @throws as LabelStage::open()
std::string open_if_free(LabelStage& stage);

}  // namespace dmoerm::run
