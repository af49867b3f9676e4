#include "label/model_notice.h"

#include <fmt/format.h>

#include <algorithm>

#include "judge/served_model.h"

namespace dmoerm::label {

std::string notice_of_models(const std::string& asked, ServedModels& served) {
  auto& [models, before, said] = served;
  if (said || models.empty()) return "";
  const std::string advice =
      "; its verdicts and those of the other are mixed under one name: pin the model at the server or gateway, and name another "
      "labels.store, so that one model answers all questions";
  std::string text;
  if (models.size() > 1) {
    text = fmt::format("the server answers as \"{}\" and as \"{}\"{}", models[0], models[1], advice);
  } else if (!before.empty() && std::ranges::find(before, models[0]) == before.end()) {
    text = fmt::format("the server answers as \"{}\", but answered an earlier labelling of this run as \"{}\"{}", models[0],
                       before.back(), advice);
  } else if (before.empty() && !judge::may_be_same_model(asked, models[0])) {
    text = fmt::format(
        "the server answers as \"{}\": if that is another model than the one you ask for, correct the server or "
        "the judge's model; if it is only another name of it, nothing need be done",
        models[0]);
    if (models.size() == 1) before = models;  // a later change is told of, too
    return text;
  }
  said = !text.empty();
  return text;
}

}  // namespace dmoerm::label
