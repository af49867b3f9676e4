// A secret that authorises paid requests. It comes from the environment or from a file that only its owner may read, and leaves
// only towards its endpoint.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm::judge {

class ApiKey {
 public:
  /// No key: servers of one's own.
  ApiKey() = default;
  /// Read the key. Both empty: no key.
  /// @param variable  name of an environment variable
  /// @param file      a file with the key in its first line, of mode 0600 or stricter, owned by this user or root
  /// @throws ConfigError if both are named, the variable is not set, the file is missing or open to others, or what is there
  /// cannot be a key. The message names the variable or file, never the content.
  static ApiKey load(const std::string& variable, const std::string& file);

  ApiKey(ApiKey&& other) noexcept;
  ApiKey& operator=(ApiKey&& other) noexcept;
  ApiKey(const ApiKey&) = delete;
  ApiKey& operator=(const ApiKey&) = delete;
  ~ApiKey();

  [[nodiscard]] bool empty() const { return secret_.empty(); }
  /// For the authorization header, and nothing else.
  [[nodiscard]] const std::string& secret() const { return secret_; }
  /// `text` with each occurrence of the key replaced: servers like to quote it.
  [[nodiscard]] std::string redact(std::string text) const;
  /// The same for what is read and kept as data. A key of less than 16 characters stays there: it is a dummy for a server of
  /// one's own, such as "none" or "1", and to replace it would garble what the judge says.
  [[nodiscard]] std::string redact_data(std::string text) const;

 private:
  std::string secret_;
};

}  // namespace dmoerm::judge
