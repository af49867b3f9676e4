#include "report/report_page.h"

#include <fmt/format.h>

#include <cstdlib>
#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "eval/plots.h"
#include "eval/report_text.h"
#include "report/accuracies.h"
#include "report/embedded.h"
#include "report/html.h"
#include "report/learning_curves.h"
#include "report/sections_of_data.h"
#include "report/sections_of_quality.h"
#include "report/sections_of_training.h"

namespace dmoerm::report {
namespace {

constexpr const char* kLibraryFile = "dygraph-combined.js";

const char* tone_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::better:
      return " good";
    case Verdict::worse:
      return " bad";
    default:
      return "";
  }
}

/// A section that is made when its turn comes.
struct Planned {
  std::string id, title;
  std::function<Section()> make;
};

/// The section, or the same without content if what the run has left cannot be understood.
Section made(const Planned& section) {
  try {
    return section.make();
  } catch (const std::exception&) {
    return {section.id, section.title,
            note("Files of this section do not have the form that this version of the program writes. `dmoerm run` with the "
                 "configuration of the run repairs damaged results.")};
  }
}

std::string evaluated_html(const Part& result) {
  if (!result.there()) return note(result.missing);
  std::string html;
  for (const auto& [name, svg] : eval::plots_of(result.value)) html += figure(svg, name);
  return html + folded("All tables", "<pre tabindex=\"0\">" + escaped(eval::report_text(result.value)) + "</pre>\n");
}

/// The sections of the page in their order. They hold references to the arguments.
std::vector<Planned> planned_sections(const Run& run, const Accuracies& accuracies, const std::vector<Evaluated>& evaluated,
                                      bool interactive) {
  std::vector<Planned> planned = {
      {"accuracy", "Accuracy on the test prompts", [&] { return accuracy_section(run, accuracies); }}};
  for (const Evaluated& e : evaluated) {
    const std::string id = fmt::format("evaluated-{}", planned.size()), title = "Measured with dmoerm eval: " + e.folder;
    planned.push_back({id, title, [&e, id, title] { return Section{id, title, evaluated_html(e.result)}; }});
  }
  const std::vector<Planned> further = {
      {"data", "Data", [&] { return data_section(run); }},
      {"labels", "Labels", [&] { return labels_section(run); }},
      {"router", "Router", [&] { return router_section(run); }},
      {"curves", "Learning curves", [&run, interactive] { return curves_section(run, interactive); }},
      {"correlations", "Do the experts say different things?", [&] { return correlations_section(run); }},
      {"calibration", "Calibration", [&] { return calibration_section(run); }},
      {"length", "Does it count words?", [&] { return length_section(run); }},
      {"cost", "What training cost", [&] { return cost_section(run); }},
      {"timeline", "Timeline of the ranks", [&] { return timeline_section(run); }},
      {"checksums", "Checksums", [&] { return checksums_section(run); }},
      {"configuration", "Configuration", [&] { return configuration_section(run); }}};
  planned.insert(planned.end(), further.begin(), further.end());
  return planned;
}

}  // namespace

std::string report_page(const Run& run, const std::vector<Evaluated>& evaluated, const std::string& chart_library,
                        const OnPart& on_part) {
  Page page;
  const Accuracies accuracies = accuracies_of(run);
  const std::vector<Planned> planned = planned_sections(run, accuracies, evaluated, !chart_library.empty());
  const auto tell = [&] {
    if (on_part) on_part(std::ssize(page.sections), std::ssize(planned));
  };
  tell();
  const Headline headline = headline_of(run, accuracies);
  page.title = run.name + ": report";
  page.lead = fmt::format("<div class=\"lead{}\">\n{}", tone_of(headline.verdict), paragraph(headline.sentence));
  for (const std::string& sentence : headline.further) page.lead += paragraph(sentence);
  page.lead += "</div>\n";
  for (const Planned& section : planned) {
    page.sections.push_back(made(section));
    tell();
  }
  if (!chart_library.empty()) page.script = chart_library + "\n" + std::string(kCurveScript);
  return html_of(page);
}

std::string chart_library() {
  const char* home = std::getenv("DMOERM_HOME");
  const char* user = std::getenv("HOME");
  std::filesystem::path folder = home != nullptr   ? home
                                 : user != nullptr ? std::filesystem::path(user) / ".cache" / "dmoerm"
                                                   : "";
  std::error_code failed;
  folder /= std::filesystem::path("charts") / kLibraryFile;
  if (!std::filesystem::is_regular_file(folder, failed)) return "";
  try {
    const std::string library = read_file(folder);
    return library.find("</script") == std::string::npos ? library : "";  // such a file would end its own element
  } catch (const IoError&) {
    return "";
  }
}

}  // namespace dmoerm::report
