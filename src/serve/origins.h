// Pages of other origins that may ask the server from a browser, by the rules of CORS (fetch.spec.whatwg.org, "CORS protocol").
// A browser shows an answer to such a page only if the answer names the page's origin.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dmoerm::serve {

/// Refuses what no browser sends as an origin: "*", a path, a trailing slash, capitals, or a scheme other than http and https.
/// @throws ConfigError
void expect_origin(const std::string& origin);

/// Whether a browser asks beforehand if a page of one of `origins` may send a request. It asks without an API key.
/// @param headers  names in lower case
bool is_preflight(const std::string& method, const std::map<std::string, std::string>& headers,
                  const std::vector<std::string>& origins);

/// The headers that an answer gets: none without `origins`; for a page of one of them, those by which the browser lets it read
/// the answer and, after a preflight, send its request.
std::vector<std::pair<std::string, std::string>> origin_headers(const std::map<std::string, std::string>& headers,
                                                                const std::vector<std::string>& origins, bool preflight);

}  // namespace dmoerm::serve
