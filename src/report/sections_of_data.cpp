#include "report/sections_of_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/text.h"
#include "report/accuracies.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;

double number_at(const json& object, std::initializer_list<const char*> keys) {
  const json* at = &object;
  for (const char* key : keys) {
    if (!at->is_object() || !at->contains(key)) return 0;
    at = &(*at)[key];
  }
  return at->is_number() ? at->get<double>() : 0;
}

std::string inputs_html(const Run& run) {
  const Part external = read_part(run.folder / "external.json", "");
  std::map<std::string, std::string> hashes;
  if (external.there() && external.value.contains("ingest")) {
    for (const json& input : external.value["ingest"].value("data", json::object()).value("inputs", json::array()))
      hashes[input.value("path", "")] = input.value("sha256", "");
  }
  Table inputs{{"file", "format", "SHA-256", "groups"}, {}, 3};
  for (const json& input : run.ingest.value.at("inputs")) {
    const std::string path = input.at("path"), hash = hashes[path];
    inputs.rows.push_back({path, input.value("form", "-"), hash.empty() ? "-" : hash.substr(0, 16) + "…",
                           whole_number(number_at(input, {"groups"}))});
  }
  return table(inputs);
}

std::string counts_html(const Run& run) {
  const json& counts = run.ingest.value.at("counts");
  Table groups{{"category", "train groups", "validation groups", "test groups", "responses", "tokens"}, {}};
  std::vector<double> sums(5);
  for (const auto& [category, splits] : counts.items()) {
    std::vector<double> row(5);
    std::size_t place = 0;
    for (const char* split : {"train", "validation", "test"}) {
      row[place++] = number_at(splits, {split, "groups"});
      row[3] += number_at(splits, {split, "responses"});
      row[4] += number_at(splits, {split, "tokens"});
    }
    groups.rows.push_back({category});
    for (std::size_t i = 0; i < row.size(); ++i) groups.rows.back().push_back(whole_number(row[i])), sums[i] += row[i];
  }
  if (groups.rows.size() > 1) {
    groups.rows.push_back({kAllRow});
    for (const double sum : sums) groups.rows.back().push_back(whole_number(sum));
  }
  Table pairs{{"category", "label", "train pairs", "validation pairs", "test pairs"}, {}, 2};
  for (const auto& [category, labels] : run.ingest.value.at("pairs").items()) {
    for (const auto& [label, splits] : labels.items())
      pairs.rows.push_back({category, label, whole_number(number_at(splits, {"train"})),
                            whole_number(number_at(splits, {"validation"})), whole_number(number_at(splits, {"test"}))});
  }
  return table(groups) + folded("Ordered pairs by label", table(pairs));
}

std::string dropped_html(const Run& run) {
  const json& ingest = run.ingest.value;
  Table lost{{"what was dropped or changed", "count"}, {}};
  const json dropped = ingest.value("dropped", json::object()), cut = ingest.value("cut", json::object()),
             noted = ingest.value("noted", json::object());
  for (const auto& [reason, n] : dropped.items()) lost.rows.push_back({"row dropped: " + reason, whole_number(n.get<double>())});
  for (const auto& [category, kinds] : cut.items()) {
    for (const auto& [kind, n] : kinds.items())
      lost.rows.push_back({fmt::format("{}: {} cut to data.max_length", category, kind), whole_number(n.get<double>())});
  }
  for (const auto& [what, n] : noted.items()) lost.rows.push_back({"kept, but noted: " + what, whole_number(n.get<double>())});
  if (lost.rows.empty()) return paragraph("No row was dropped, and no text was cut.");
  return table(lost) +
         note("ingest/store.h5.dropped.jsonl in the run directory has the dropped rows with file, line and reason.");
}

/// Outcomes of one judge or of the vote, as a row of the table of labels.
std::vector<std::string> label_row(const std::string& point, const std::string& judge, const json& counts) {
  const json& outcomes = counts.at("outcomes");
  const auto n = [&](const char* outcome) { return number_at(outcomes, {outcome}); };
  const double believed = n("first") + n("second"), both = believed + n("tie") + n("inconsistent");
  const double failed = n("unparsable") + n("refused") + n("error");
  const auto share = [](double part, double of) { return of > 0 ? share_text(part / of) : std::string("-"); };
  const auto agreement = [&](const char* with) {
    return share(number_at(counts, {"agreement", with, "right"}), number_at(counts, {"agreement", with, "total"}));
  };
  return {point,
          judge,
          whole_number(both + failed),
          share(believed, both + failed),
          share(n("inconsistent"), both),
          share(n("tie"), both),
          share(failed, both + failed),
          agreement("point"),
          agreement("overall")};
}

std::string labels_html(const json& labels) {
  Table rows{{"point", "judge", "pairs in both orders", "believed", "changed with the order", "tie", "failed",
              "agrees with the point's own labels", "agrees with the overall labels"},
             {},
             2};
  for (const json& point : labels.at("points")) {
    const std::string name = point.at("category").get<std::string>() + "/" + point.at("point").get<std::string>();
    for (const json& judge : point.at("judges")) rows.rows.push_back(label_row(name, judge.at("judge"), judge));
    if (point.at("judges").size() > 1) rows.rows.push_back(label_row(name, "vote of all", point.at("vote")));
  }
  const json& spent = labels.at("spent");
  const double cost = number_at(spent, {"cost"});
  return paragraph(fmt::format("The label store paid {} for {} requests, {} prompt tokens and {} completion tokens.",
                               cost > 0 ? fmt::format("{:.2f} {}", cost, spent.value("currency", "")) : "nothing that is known",
                               whole_number(number_at(spent, {"requests"})), whole_number(number_at(spent, {"prompt_tokens"})),
                               whole_number(number_at(spent, {"completion_tokens"})))) +
         table(rows) +
         note(
             "Each pair is asked in both orders. Believed: the judge preferred the same response both times; experts train on "
             "these. A verdict that changes with the order is position bias and is not believed.");
}

/// What judges had said already in the data.
std::string given_verdicts_html(const Run& run) {
  const json verdicts = run.ingest.there() ? run.ingest.value.value("verdicts", json::object()) : json::object();
  Table rows{{"point", "pairs", "believed", "changed with the order", "tie"}, {}};
  for (const auto& [point, outcomes] : verdicts.items()) {
    double all = 0;
    for (const auto& [outcome, n] : outcomes.items()) all += n.get<double>();
    const double believed = number_at(outcomes, {"first"}) + number_at(outcomes, {"second"});
    rows.rows.push_back({point, whole_number(all), share_text(all > 0 ? believed / all : 0),
                         share_text(all > 0 ? number_at(outcomes, {"inconsistent"}) / all : 0),
                         share_text(all > 0 ? number_at(outcomes, {"tie"}) / all : 0)});
  }
  return rows.rows.empty() ? "" : paragraph("Verdicts that the data brought, in both orders of each pair:") + table(rows);
}

}  // namespace

Section data_section(const Run& run) {
  Section section{"data", "Data", ""};
  section.body = run.ingest.there() ? inputs_html(run) + counts_html(run) + dropped_html(run) : note(run.ingest.missing);
  return section;
}

Section labels_section(const Run& run) {
  Section section{"labels", "Labels", ""};
  section.body = run.labels.there() ? labels_html(run.labels.value) : note(run.labels.missing);
  section.body += given_verdicts_html(run);
  return section;
}

Section cost_section(const Run& run) {
  Section section{"cost", "What training cost", ""};
  if (!run.cost.there()) {
    section.body = note(run.cost.missing);
    return section;
  }
  Table rows{{"trained", "steps", "tokens", "time of a rank", "tokens/s", "peak memory"}, {}};
  for (const auto& [what, cost] : run.cost.value.items()) {
    const double tokens = number_at(cost, {"tokens"}), seconds = number_at(cost, {"seconds"});
    rows.rows.push_back({what, whole_number(number_at(cost, {"steps"})), whole_number(tokens), duration_text(seconds),
                         seconds > 0 ? whole_number(tokens / seconds) : "-",
                         whole_number(number_at(cost, {"peak_mib"})) + " MiB"});
  }
  section.body = table(rows) + note("From the first to the last step of training, without routing, features and evaluation.");
  return section;
}

Section checksums_section(const Run& run) {
  Section section{"checksums", "Checksums", ""};
  const Part computed = read_part(run.folder / "computed_on.json", "");
  Table origin{{"what", "value"}, {}, 2};
  if (run.ingest.there()) origin.rows.push_back({"data (digest of the token store)", run.ingest.value.value("digest", "-")});
  if (computed.there()) {
    origin.rows.push_back({"backbone", computed.value.value("backbone", "-")});
    origin.rows.push_back({"computed on", computed.value.value("device", "-")});
  }
  if (run.bundle.there()) {
    const json provenance = run.bundle.value.value("provenance", json::object());
    if (provenance.contains("seed")) origin.rows.push_back({"seed", provenance["seed"].dump()});
    if (run.bundle.value.contains("template"))
      origin.rows.push_back({"chat template", run.bundle.value["template"].value("name", "") + " " +
                                                  run.bundle.value["template"].value("sha256", "")});
  }
  section.body = table(origin);
  if (!run.bundle.there()) {
    section.body += note(run.bundle.missing);
    return section;
  }
  Table files{{"file of the bundle", "SHA-256"}, {}, 2};
  for (const auto& [file, hash] : run.bundle.value.at("files").items()) files.rows.push_back({file, hash.get<std::string>()});
  section.body += folded(fmt::format("The bundle's {}", counted(std::ssize(files.rows), "file")), table(files));
  return section;
}

Section configuration_section(const Run& run) {
  Section section{"configuration", "Configuration", ""};
  section.body = run.config.empty() ? note("The run has no config.yaml that can be read.")
                                    : folded("config.yaml of the last start, with all defaults",
                                             "<pre tabindex=\"0\">" + escaped(run.config) + "</pre>\n");
  return section;
}

}  // namespace dmoerm::report
