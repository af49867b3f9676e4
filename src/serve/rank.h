// What a rank does for the front of a server.
#pragma once
#include <functional>

#include "serve/http_server.h"

namespace dmoerm::serve {

/// Read requests from the front's socket, have them handled, and write the answers, until the front is gone.
/// @param check, handle  as those of HttpServer
/// @param reload  has the bundles read again, and calls `done` then
/// @param loaded  what is loaded, as Bundles::digests() says it; the front is told at the start and after each reload
void work_for_front(int socket, const HttpServer::Check& check, const HttpServer::Handler& handle,
                    const std::function<void(std::function<void()> done)>& reload, const std::function<std::string()>& loaded);

}  // namespace dmoerm::serve
