// What a server says when it gives no answer.
#pragma once
#include <string>

namespace dmoerm::judge {

/// An error report: {"error": {"message", "type", "code", "param"}}, or what other servers send instead: the same in a list, in
/// the one choice, or as {"base_resp": {"status_code", "status_msg"}}.
struct ApiProblem {
  std::string message, type, code;
  std::string param;           ///< Name of the request parameter that is at fault
  std::string filters;         ///< filter_names() of the body
  bool is_whole_body = false;  ///< Whether `message` is the body, which may repeat texts of the request
  int status = 0;              ///< A number in "code": some gateways send errors with HTTP status 200
};

}  // namespace dmoerm::judge
