// dmoerm inspect: shows what the other verbs read and write.
#include "cli/verbs.h"

namespace dmoerm::cli {

void add_inspect(CLI::App& app) {
  CLI::App* inspect = app.add_subcommand(
      "inspect", "Show preference data, a tokenizer's output, a backbone's hidden states, a configuration, or checkpoints");
  inspect->require_subcommand(1);
  inspect->footer(example("inspect config --config configs/quickstart.yaml"));
  add_inspect_tokens(*inspect);
  add_inspect_hidden(*inspect);
  add_inspect_config(*inspect);
  add_inspect_checkpoint(*inspect);
  add_inspect_data(*inspect);
}

}  // namespace dmoerm::cli
