// What there is to say of the names of the models that answer for a judge.
#pragma once
#include <string>
#include <vector>

namespace dmoerm::label {

/// Names of models that a server says have answered.
struct ServedModels {
  std::vector<std::string> models = {}, before = {};  ///< Now, and in earlier labellings of the run
  bool said = false;                                  ///< Whether a change was told of
};

/// What is odd about the names; "" if nothing is, or it was said. @param asked  name of the model that is asked for
std::string notice_of_models(const std::string& asked, ServedModels& served);

}  // namespace dmoerm::label
