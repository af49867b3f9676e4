#include "config/identity.h"

#include <nlohmann/json.hpp>

#include "config/fields.h"

namespace dmoerm::config {
namespace {

using nlohmann::json;

template <class T>
json to_json_value(const T& value) {
  if constexpr (WordSetting<T>)
    return word(value);
  else if constexpr (std::same_as<T, ScoreGap>)
    return value.by_label.empty() ? json(value.of_all) : json(value.by_label);
  else
    return value;
}

struct SettingsCollector {
  Affects wanted;
  json settings = json::object();

  template <class T>
  void operator()(const char* name, const T& value, const Rule&, Affects affects, const char*) {
    if constexpr (is_section<T>) {
      if (json inside = settings_that_affect(value, wanted); !inside.empty()) settings[name] = std::move(inside);
    } else if constexpr (is_list<T> && !is_value_list<T>) {
      json list = json::array();
      bool any = false;
      for (const auto& element : value) {
        list.push_back(settings_that_affect(element, wanted));
        any = any || !list.back().empty();
      }
      if (any) settings[name] = std::move(list);
    } else if (share_a_stage(affects, wanted) && !by_content(affects)) {
      if constexpr (is_list<T>) {
        settings[name] = json::array();
        for (const auto& element : value) settings[name].push_back(to_json_value(element));
      } else {
        settings[name] = to_json_value(value);
      }
    }
  }
};

}  // namespace

template <class Section>
json settings_that_affect(const Section& section, Affects affects) {
  SettingsCollector collector{affects};
  describe(collector, section);
  return std::move(collector.settings);
}

template json settings_that_affect(const BackboneConfig&, Affects);
template json settings_that_affect(const ComputeConfig&, Affects);
template json settings_that_affect(const DataConfig&, Affects);
template json settings_that_affect(const CategoryConfig&, Affects);
template json settings_that_affect(const TrainConfig&, Affects);
template json settings_that_affect(const LabelsConfig&, Affects);
template json settings_that_affect(const RouterConfig&, Affects);
template json settings_that_affect(const AggregatorConfig&, Affects);
template json settings_that_affect(const HeadConfig&, Affects);
template json settings_that_affect(const ClusterConfig&, Affects);
template json settings_that_affect(const RunConfig&, Affects);

}  // namespace dmoerm::config
