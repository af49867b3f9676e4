// Reads config.json of a Hugging Face model key by key, and refuses the keys that nobody has read where they may change what the
// model computes.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace dmoerm::nn {

/// The keys of config.json, or of a section in it. Null counts as absent. Remembers which keys were read.
class ConfigKeys {
 public:
  /// @param object  must outlive this
  /// @param place  file, and section in it, as messages name them
  ConfigKeys(const nlohmann::json& object, std::string place) : object_(object), place_(std::move(place)) {}

  [[nodiscard]] bool has(const char* key) const { return stated(key) && !object_[key].is_null(); }
  /// Whether the key is present, even as null.
  [[nodiscard]] bool stated(const char* key) const;
  /// Count keys as read that need no answer.
  void know(std::initializer_list<const char*> keys) const { read_.insert(keys.begin(), keys.end()); }
  /// @throws DataError if the value has another type
  template <class T>
  [[nodiscard]] T get(const char* key, T fallback) const {
    if (!has(key)) return fallback;
    try {
      return object_[key].template get<T>();
    } catch (const nlohmann::json::exception&) {
      refuse_type(key);
    }
  }
  /// A whole number from 1 to `most`. @throws DataError
  [[nodiscard]] std::int64_t size(const char* key, std::int64_t fallback = 0, std::int64_t most = std::int64_t{1} << 31) const;
  /// A required positive number. @throws DataError
  [[nodiscard]] double factor(const char* key) const;
  /// Refuse two keys of one meaning that have different values. @param others  what holds the second one. @throws DataError
  void refuse_contradiction(const char* key, const ConfigKeys& others, const char* other) const;
  /// @throws DataError if the key has another value than the only supported one
  void refuse_unless(const char* key, const nlohmann::json& only) const;
  [[nodiscard]] ConfigKeys child(const char* key) const { return {object_[key], place_ + ": " + key}; }
  /// Whether the key holds an object that is not empty. @throws DataError for a value that is neither an object nor null
  [[nodiscard]] bool is_object(const char* key) const;
  [[nodiscard]] const nlohmann::json& json() const { return object_; }
  [[nodiscard]] const std::string& place() const { return place_; }

  /// Refuse every key that was not read and says something. Meant for sections in which each key changes the arithmetic.
  void refuse_unread() const;
  /// Refuse every key that was not read, says something, and has a name that speaks of arithmetic: rope, norms, attention,
  /// scales.
  void refuse_unread_arithmetic() const;

 private:
  [[noreturn]] void refuse_type(const char* key) const;
  const nlohmann::json& object_;
  std::string place_;
  mutable std::set<std::string> read_;
};

}  // namespace dmoerm::nn
