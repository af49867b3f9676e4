// How long a request may wait, and how it is refused when that does not suffice.
#pragma once
#include "serve/engine.h"
#include "serve/http_server.h"
#include "wire/request_error.h"

namespace dmoerm::serve {

/// A request with its time.
struct Patience {
  wire::Family family = wire::Family::own;
  double patience_s = 0;  ///< Seconds that its client waits
  double since_s = 0;     ///< Seconds since it came
};

/// Seconds until a request is given up, a little before its client stops to wait, so that the client hears of it in time.
double usable_s(double patience_s);
/// Whether a request spent most of its time waiting for others. @param busy_s  seconds of the batches in which it was scored
bool waited_long(const Patience& patience, double busy_s);

/// The answer to a request whose deadline passed. If it waited for others most of its time, a later try may succeed.
HttpAnswer too_late(const Patience& patience, double busy_s);
/// 429 for a queue without room. @param retry_s  seconds after which to try again
HttpAnswer queue_full(wire::Family family, double retry_s);
/// The answer to a request that the engine refused.
HttpAnswer not_admitted(const Patience& patience, const Engine::Admission& admission);

}  // namespace dmoerm::serve
