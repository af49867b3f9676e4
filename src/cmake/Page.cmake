# The server's page is part of the program: its HTML becomes a C++ source of dmoerm_wire.
set(page_html "${CMAKE_SOURCE_DIR}/src/wire/page/index.html")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${page_html}")
file(READ "${page_html}" page_text)
file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/generated/page.cpp" @ONLY CONTENT [[
#include "wire/page.h"

namespace dmoerm::wire {

std::string_view page_html() { return R"page(@page_text@)page"; }

std::string_view page_policy() {
  return "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
         "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
}

}  // namespace dmoerm::wire
]])
target_sources(dmoerm_wire PRIVATE "${CMAKE_BINARY_DIR}/generated/page.cpp")
