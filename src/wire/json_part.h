// A part of a request's JSON body with its path, so that every refusal names the place and the value found there.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/request_error.h"

namespace dmoerm::wire {

/// Parse a body strictly: UTF-8, one value, each key once in its object, finite numbers. @throws RequestError 400
nlohmann::json parse_body(std::string_view body, int depth_max, Family family);

/// One value inside a body. It refers to the body, which must outlive it.
class JsonPart {
 public:
  /// @param asked  gets each key of this object that is asked for
  JsonPart(const nlohmann::json& value, Family family, std::set<std::string>* asked = nullptr)
      : JsonPart(value, family, "", asked) {}

  [[nodiscard]] const nlohmann::json& value() const { return *value_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// The path, for a message.
  [[nodiscard]] std::string where() const { return path_.empty() ? "the body" : path_; }
  [[nodiscard]] Family family() const { return family_; }
  /// The same part, whose refusals have another form.
  [[nodiscard]] JsonPart in(Family family) const { return {*value_, family, path_, asked_}; }

  /// A value that was read otherwise, as the element of this part. The value must outlive it.
  [[nodiscard]] JsonPart element(const nlohmann::json& value, std::size_t index) const;
  /// Whether an object has the key with a value other than null.
  [[nodiscard]] bool has(const char* key) const;
  [[nodiscard]] bool is_text() const { return value_->is_string(); }
  [[nodiscard]] bool is_list() const { return value_->is_array(); }
  [[nodiscard]] bool is_object() const { return value_->is_object(); }

  // All functions below throw RequestError.

  [[nodiscard]] JsonPart at(const char* key) const;
  [[nodiscard]] std::vector<JsonPart> items() const;
  /// The same of a list of texts, which must not be empty.
  [[nodiscard]] std::vector<JsonPart> some_items() const;
  [[nodiscard]] const std::string& text() const;
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] std::int64_t integer(std::int64_t low, std::int64_t high) const;
  /// The value of a member, or `otherwise` if it is absent or null.
  [[nodiscard]] bool boolean_or(const char* key, bool otherwise) const { return has(key) ? at(key).boolean() : otherwise; }
  [[nodiscard]] std::string text_or(const char* key, const char* otherwise) const {
    return has(key) ? at(key).text() : otherwise;
  }

  /// Refuse the value: "input[2]: expected a text, found 7". 422 in families that say so, else 400.
  [[noreturn]] void refuse(ErrorCode code, const std::string& expected) const;
  /// Refuse what a value asks for: "top_n: <sentence>".
  [[noreturn]] void complain(ErrorCode code, const std::string& sentence) const;

 private:
  JsonPart(const nlohmann::json& value, Family family, std::string path, std::set<std::string>* asked = nullptr)
      : value_(&value), family_(family), path_(std::move(path)), asked_(asked) {}
  const nlohmann::json* value_;
  Family family_;
  std::string path_;
  std::set<std::string>* asked_;  ///< null = nobody wants to know
};

/// The status with which a family refuses a body of JSON that does not fit.
int status_of_unfit(Family family);

}  // namespace dmoerm::wire
