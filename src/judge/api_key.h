// A secret that authorises paid requests. It is read from the environment or from a file that only its owner can read, and is
// sent to its endpoint only.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm::judge {

class ApiKey {
 public:
  /// No key, e.g. for a server of your own.
  ApiKey() = default;
  /// Read the key. If both are empty, there is none.
  /// @param variable  name of an environment variable
  /// @param file      file with the key in its first line, of mode 0600 or stricter, owned by this user or root
  /// @throws ConfigError if both are named, the variable is not set, the file is missing or readable by others, or the content
  /// cannot be a key. The message names the variable or file, never the content.
  static ApiKey load(const std::string& variable, const std::string& file);

  ApiKey(ApiKey&& other) noexcept;
  ApiKey& operator=(ApiKey&& other) noexcept;
  ApiKey(const ApiKey&) = delete;
  ApiKey& operator=(const ApiKey&) = delete;
  ~ApiKey();

  [[nodiscard]] bool empty() const { return secret_.empty(); }
  /// The key, for the authorization header only.
  [[nodiscard]] const std::string& secret() const { return secret_; }
  /// `text` with each occurrence of the key replaced, because some servers quote it.
  [[nodiscard]] std::string redact(std::string text) const;
  /// The same for text that is stored as data. A key of fewer than 16 characters is not replaced: it is a placeholder such as
  /// "none" or "1" for a server of your own, and replacing it would garble the judge's words.
  [[nodiscard]] std::string redact_data(std::string text) const;

 private:
  std::string secret_;
};

/// Whether requests to the address, and keys with them, go unencrypted to another machine.
bool is_unprotected(const std::string& address);

}  // namespace dmoerm::judge
