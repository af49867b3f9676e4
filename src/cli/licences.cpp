// dmoerm licences: what the program is made of.
#include <fmt/format.h>

#include "cli/embedded.h"
#include "cli/verbs.h"

namespace dmoerm::cli {

void add_licences(CLI::App& app) {
  app.add_subcommand("licences", "Print the licences of the program and of what it uses")
      ->footer(example("licences"))
      ->callback([] { fmt::print("{}", kLicences); });
}

}  // namespace dmoerm::cli
