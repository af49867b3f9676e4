// A part of tokenizer.json with its path, so that every message names the file and the key.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::tokenizer {

/// One value inside tokenizer.json. It refers to the document, which must outlive it.
class JsonPart {
 public:
  JsonPart(const nlohmann::json& value, std::string file, std::string path)
      : value_(&value), file_(std::move(file)), path_(std::move(path)) {}

  [[nodiscard]] const nlohmann::json& value() const { return *value_; }
  [[nodiscard]] bool is_null() const { return value_->is_null(); }
  [[nodiscard]] bool has(const char* key) const {
    return value_->is_object() && value_->contains(key) && !value_->at(key).is_null();
  }
  /// A member of an object. @throws DataError if it is absent or this is not an object
  [[nodiscard]] JsonPart at(const char* key) const;
  /// A member of an object, or a null part if it is absent.
  [[nodiscard]] JsonPart get(const char* key) const;
  /// The elements of a list. @throws DataError if this is not a list
  [[nodiscard]] std::vector<JsonPart> items() const;

  /// The value of this part. @throws DataError if it is of another type
  [[nodiscard]] const std::string& text() const;
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] std::int64_t integer(std::int64_t low, std::int64_t high) const;
  /// A token id. @throws DataError unless 0 <= id < 2^24
  [[nodiscard]] std::int32_t token_id() const;
  /// A text of exactly one character. @throws DataError
  [[nodiscard]] char32_t character() const;

  /// The value of a member, or `otherwise` if it is absent or null.
  [[nodiscard]] bool boolean_or(const char* key, bool otherwise) const { return has(key) ? at(key).boolean() : otherwise; }
  [[nodiscard]] std::string text_or(const char* key, const char* otherwise) const {
    return has(key) ? at(key).text() : otherwise;
  }

  /// @throws DataError "file: path: problem"
  [[noreturn]] void fail(const std::string& problem) const;
  /// Refuse a value and name the values that are supported. @throws DataError
  [[noreturn]] void fail_unsupported(std::string_view found, std::string_view supported) const;

 private:
  const nlohmann::json* value_;
  std::string file_, path_;
};

}  // namespace dmoerm::tokenizer
