// What a server answers before it looks at bundles.
#include "serve/callers.h"

#include <gtest/gtest.h>

namespace dmoerm::serve {
namespace {

/// The status that the server answers at once; 0 if the request goes on.
int status_of(const std::string& method, const std::string& path, Standing standing, const std::vector<std::string>& keys = {}) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.headers = {{"host", "localhost"}};
  const auto answer = answer_at_once(request, keys, standing);
  return answer ? answer->status : 0;
}

TEST(Callers, GetThePageAndWhetherTheServerIsReadyWithoutAKey) {
  for (const Standing standing : {Standing::starting, Standing::ready, Standing::draining}) {
    EXPECT_EQ(status_of("GET", "/", standing, {"key"}), 200);
    EXPECT_EQ(status_of("HEAD", "/health", standing, {"key"}), 200);
    EXPECT_EQ(status_of("GET", "/ready", standing, {"key"}), standing == Standing::ready ? 200 : 503);
    EXPECT_EQ(status_of("GET", "/v2/health/live", standing, {"key"}), 200);
    EXPECT_EQ(status_of("GET", "/v2/health/ready", standing, {"key"}), 0);
    EXPECT_EQ(status_of("GET", "/v2", standing, {"key"}), 401);
    EXPECT_EQ(status_of("GET", "/metrics", standing, {"key"}), 401);
    EXPECT_EQ(status_of("POST", "/v1/reward", standing, {"key"}), 401);
  }
}

TEST(Callers, MayHaveWhiteSpaceAroundTheirKey) {
  for (const char* authorization : {"Bearer key", "bearer   key", "Bearer key ", "Bearer \tkey\t "}) {
    HttpRequest request;
    request.headers = {{"authorization", authorization}};
    EXPECT_EQ(key_of(request), "key") << authorization;
  }
  HttpRequest request;
  request.headers = {{"x-api-key", " key "}};
  EXPECT_EQ(key_of(request), "key");
}

TEST(Callers, AreRefusedWhileTheServerDrainsIfTheySendABody) {
  for (const char* path : {"/v1/reward", "/admin/reload", "/nowhere"}) {
    EXPECT_EQ(status_of("POST", path, Standing::draining), 503);
    EXPECT_EQ(status_of("POST", path, Standing::ready), 0);
    EXPECT_EQ(status_of("GET", path, Standing::draining), 0);
  }
}

}  // namespace
}  // namespace dmoerm::serve
