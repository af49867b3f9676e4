// What a watch says of the names of the models that answer.
#include <fmt/format.h>

#include <algorithm>

#include "judge/served_model.h"
#include "label/judge_watch.h"

namespace dmoerm::label {

std::string JudgeWatch::notice_of_models() {
  if (model_said_ || models_.empty()) return "";
  const std::string advice =
      "; its verdicts and those of the other are mixed under one name: pin the model at the server or gateway, and name another "
      "labels.store to label anew";
  std::string text;
  if (models_.size() > 1) {
    text = fmt::format("the server answers as \"{}\" and as \"{}\"{}", models_[0], models_[1], advice);
  } else if (!models_before_.empty() && std::ranges::find(models_before_, models_[0]) == models_before_.end()) {
    text = fmt::format("the server answers as \"{}\", but answered an earlier labelling of this run as \"{}\"{}", models_[0],
                       models_before_.back(), advice);
  } else if (models_before_.empty() && !judge::may_be_same_model(judge_.model, models_[0])) {
    text = fmt::format(
        "the server answers as \"{}\": if that is another model than the one you ask for, correct the server or "
        "the judge's model; if it is only another name of it, nothing need be done",
        models_[0]);
    if (models_.size() == 1) models_before_ = models_;  // a later change is told of, too
    return text;
  }
  model_said_ = !text.empty();
  return text;
}

}  // namespace dmoerm::label
