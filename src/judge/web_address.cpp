#include "judge/web_address.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace dmoerm::judge {
namespace {

std::string part_of(CURLU* url, CURLUPart part, unsigned int flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

using Url = std::unique_ptr<CURLU, void (*)(CURLU*)>;

/// The parts of an address, as far as libcurl can read it.
std::pair<Url, CURLUcode> read_url(const std::string& address) {
  Url url(curl_url(), curl_url_cleanup);
  if (!url) throw std::bad_alloc();
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0);
  return {std::move(url), code};
}

}  // namespace

AddressParts parts_of(const std::string& address) {
  const Url url = read_url(address).first;
  return {part_of(url.get(), CURLUPART_SCHEME), part_of(url.get(), CURLUPART_HOST),
          !part_of(url.get(), CURLUPART_USER).empty() || !part_of(url.get(), CURLUPART_PASSWORD).empty()};
}

std::string join_url(const std::string& base, const std::string& path) {
  const std::string sent = base.substr(0, base.find('#'));  // a fragment stays with the client
  const std::size_t query = std::min(sent.find('?'), sent.size());
  std::string head = sent.substr(0, query);
  const auto without_slashes = [&] {
    while (!head.empty() && head.back() == '/' && !head.ends_with("://")) head.pop_back();
  };
  without_slashes();
  if (constexpr std::string_view kWhole = "/chat/completions"; head.ends_with(kWhole)) {
    head.resize(head.size() - kWhole.size());
    without_slashes();
  }
  std::string tail = sent.substr(query);
  if (!tail.empty() && path.find('?') != std::string::npos) tail[0] = '&';
  return head + path + tail;
}

std::string https_address(const std::string& address) {
  const Url url = read_url(address).first;
  const std::string port = part_of(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (curl_url_set(url.get(), CURLUPART_PORT, port.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_SCHEME, "https", 0) != CURLUE_OK)
    throw std::bad_alloc();  // an http address has both
  return part_of(url.get(), CURLUPART_URL);
}

std::string address_problem(const std::string& address) {
  const auto [url, code] = read_url(address);
  const std::string scheme = part_of(url.get(), CURLUPART_SCHEME), port = part_of(url.get(), CURLUPART_PORT);
  if (code == CURLUE_BAD_PORT_NUMBER || (!port.empty() && port.find_first_not_of('0') == std::string::npos))
    return "expected a port from 1 to 65535 behind the host";
  const bool hostless = address.find(":///") != std::string::npos;  // libcurl would take the path for the host
  const bool http = scheme == "http" || scheme == "https";
  if (code != CURLUE_OK || !http || part_of(url.get(), CURLUPART_HOST).empty() || hostless)
    return "expected a web address: http:// or https://, and a host";
  return "";
}

std::string shown_address(const std::string& address) {
  const std::string head = address.substr(0, address.find('?'));
  const std::size_t at = head.rfind('@');
  return at == std::string::npos ? head : "..." + head.substr(at);
}

}  // namespace dmoerm::judge
