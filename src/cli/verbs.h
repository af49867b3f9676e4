// One function a verb: each adds its subcommand, whose callback does the work and throws dmoerm::Error.
#pragma once
#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <string>

namespace dmoerm::cli {

/// What stands in the help for the value of an option that takes a path, and makes completion offer files: ->type_name(kFile).
inline constexpr const char* kFile = "FILE";
inline constexpr const char* kFolder = "DIR";

/// The last line of a verb's help. A command that can be copied begins with launch/dmoerm, here as in the documents, because that
/// finds the libraries and starts several ranks; `dmoerm VERB` within a sentence names a verb.
inline std::string example(const std::string& arguments) { return "Example: launch/dmoerm " + arguments; }

/// Checks of an option's number. CLI11's own call 0 out of a range that ends with 309 digits.
inline CLI::Validator number_check(const char* name, const char* expected, double least) {
  const auto check = [expected, least](const std::string& text) {
    double value = 0;
    const bool good = CLI::detail::lexical_cast(text, value) && value >= least && value <= std::numeric_limits<double>::max();
    return good ? std::string() : "expected " + std::string(expected) + ", found " + text;
  };
  return CLI::Validator(check, name);
}
inline const CLI::Validator kPositive = number_check("POSITIVE", "a number above 0", std::numeric_limits<double>::min());
inline const CLI::Validator kNonNegative = number_check("NONNEGATIVE", "a number of 0 or more", 0);

/// CLI11's range of numbers with a fraction. Its own takes NaN, which is neither below nor above anything.
inline CLI::Validator number_in(double least, double most) {
  CLI::Validator range = CLI::Range(least, most);
  const auto check = [range](std::string& text) {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && std::isnan(value)) return "expected a number, found " + text;
    return range(text);
  };
  return {check, range.get_description()};
}

void add_run(CLI::App& app);
void add_status(CLI::App& app);
void add_clean(CLI::App& app);
void add_slurm(CLI::App& app);
void add_synth(CLI::App& app);
void add_ingest(CLI::App& app);
void add_label(CLI::App& app);
void add_score(CLI::App& app);
void add_serve(CLI::App& app);
void add_eval(CLI::App& app);
void add_bon(CLI::App& app);
void add_export(CLI::App& app);
void add_label_store(CLI::App& app);
void add_report(CLI::App& app);
void add_compare(CLI::App& app);
void add_licences(CLI::App& app);
void add_explain(CLI::App& app);
void add_plan(CLI::App& app);
void add_evidence(CLI::App& app);
void add_inspect(CLI::App& app);
void add_completion(CLI::App& app);
void add_man(CLI::App& app);
// The verbs of `inspect`.
void add_inspect_tokens(CLI::App& inspect);
void add_inspect_hidden(CLI::App& inspect);
void add_inspect_config(CLI::App& inspect);
void add_inspect_checkpoint(CLI::App& inspect);
void add_inspect_data(CLI::App& inspect);

}  // namespace dmoerm::cli
