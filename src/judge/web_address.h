// Web addresses: their parts, and addresses made of others.
#pragma once
#include <string>

namespace dmoerm::judge {

/// What an address consists of, as far as it can be read; empty texts for what it does not have.
struct AddressParts {
  std::string scheme, host;
  bool names_user = false;  ///< It has a user or a password
};
AddressParts parts_of(const std::string& address);

/// The address of `path` below the base address: "https://host/v1" and "/chat/completions". A query of the base moves to the end,
/// after that of the path. A base address that ends with /chat/completions is read without it.
std::string join_url(const std::string& base, const std::string& path);

/// The https address of the same host and port as an http one, whose port is 80 if it names none.
std::string https_address(const std::string& address);

/// What is wrong with a web address that requests are to go to; "" if nothing is. Whether it names a password is not looked at.
std::string address_problem(const std::string& address);

/// An address for a message, without the parts that may hold secrets: its query, and what stands before "@".
std::string shown_address(const std::string& address);

}  // namespace dmoerm::judge
