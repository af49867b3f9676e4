// What a front and its ranks say to each other, and what the front says of all of them.
#include "serve/ranks.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "base/error.h"
#include "serve/front.h"
#include "serve/rank.h"

namespace dmoerm::serve {
namespace {

TEST(Ranks, JoinTheirMetricsWithANumberOnEachLine) {
  const std::string zero = "# HELP a What a is\n# TYPE a counter\na 1\n# HELP b What b is\n# TYPE b gauge\nb{x=\"y z\"} 2\n",
                    one = "# HELP a What a is\n# TYPE a counter\na 3\n# HELP b What b is\n# TYPE b gauge\nb{x=\"q\"} 4\n";
  EXPECT_EQ(join_metrics({{"0", zero}, {"1", one}}),
            "# HELP a What a is\n# TYPE a counter\na{rank=\"0\"} 1\na{rank=\"1\"} 3\n"
            "# HELP b What b is\n# TYPE b gauge\nb{rank=\"0\",x=\"y z\"} 2\nb{rank=\"1\",x=\"q\"} 4\n");
}

TEST(Ranks, EachHaveAGpuAndShareThemWhereThereAreFewer) {
  EXPECT_EQ(gpu_of_rank(2, nullptr, 4), "2");
  EXPECT_EQ(gpu_of_rank(2, nullptr, 1), "0") << "number 2 would be no GPU, and the rank would not start";
  EXPECT_EQ(gpu_of_rank(3, nullptr, 2), "1");
  EXPECT_EQ(gpu_of_rank(1, "5,7", 2), "7");
  EXPECT_EQ(gpu_of_rank(3, "GPU-a,GPU-b", 2), "GPU-b");
  EXPECT_EQ(gpu_of_rank(1, "0,1,2", 1), "0") << "the others are not there";
  EXPECT_EQ(gpu_of_rank(1, "MIG-a,MIG-b", 1), "MIG-b") << "a process sees one part of a GPU, however many are listed";
  EXPECT_EQ(gpu_of_rank(1, "", 0), "") << "GPUs that are hidden stay so";
}

TEST(Ranks, ThatCannotAllStartEndAndSayWhy) {
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  const int free_number = ::dup(STDERR_FILENO);
  ::close(free_number);
  rlimit few = usual;
  few.rlim_cur = static_cast<rlim_t>(free_number) + 12;  // files for some ranks
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::string code;
  try {
    const Ranks ranks(
        {"/bin/bash", "-c", "exec cat <&$1 >/dev/null"}, 64,  // ends with its front, and is never ready
        [](const HttpRequest&, const HttpAnswer&, int, double) {}, 60);
  } catch (const Error& e) {
    code = e.code().text();
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  EXPECT_EQ(code, "rank-did-not-start");
}

TEST(Ranks, GetRequestsWholeAndAnswerEachUntilTheFrontIsGone) {
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  int reloads = 0;
  bool cancelled = false;
  std::thread rank([&] {
    work_for_front(
        sockets[1],
        [](const HttpRequest& request) {
          return request.path == "/early" ? std::optional<HttpAnswer>({404, "no"}) : std::nullopt;
        },
        [&](std::shared_ptr<Exchange> exchange) {
          exchange->when_gone([&cancelled, exchange] {
            cancelled = true;
            exchange->answer({499, ""});
          });
          if (exchange->request.path == "/late") exchange->answer({200, exchange->request.body, "x/y", {{"Name", "value"}}});
        },
        [&](const std::function<void()>& done) {
          ++reloads;
          done();
        },
        [&] { return reloads == 0 ? "one" : "other"; });
  });
  Frame frame;
  ASSERT_TRUE(read_frame(sockets[0], frame));
  EXPECT_TRUE(frame.header.at("ready"));
  EXPECT_EQ(frame.header.at("loaded"), "one");
  std::string body(200000, '\xff');
  body[5] = '\0';
  std::uint64_t number = 0;
  for (const char* path : {"/late", "/early", "/never"}) {
    HttpRequest request{"POST", path, {{"host", "h"}}, body, "peer", 7};
    nlohmann::json header = header_of(request);
    header["number"] = ++number;
    ASSERT_TRUE(write_frame(sockets[0], header, request.body));
  }
  ASSERT_TRUE(read_frame(sockets[0], frame));
  EXPECT_EQ(frame.header.at("number"), 1);
  const HttpAnswer answer = answer_of(frame);
  EXPECT_EQ(answer.body, body);
  EXPECT_EQ(answer.type + answer.headers.at(0).second, "x/yvalue");
  ASSERT_TRUE(read_frame(sockets[0], frame));
  EXPECT_EQ(frame.header.at("status"), 404);
  write_frame(sockets[0], {{"reload", true}}, "");
  ASSERT_TRUE(read_frame(sockets[0], frame));
  EXPECT_EQ(frame.header.at("loaded"), "other");
  EXPECT_FALSE(frame.header.contains("number"));
  write_frame(sockets[0], {{"number", 3}, {"cancel", true}}, "");
  ASSERT_TRUE(read_frame(sockets[0], frame));
  EXPECT_EQ(frame.header.at("status"), 499);
  ::shutdown(sockets[0], SHUT_WR);
  rank.join();
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(reloads, 1);
  EXPECT_FALSE(read_frame(sockets[1], frame));
  for (const int socket : sockets) ::close(socket);
}

}  // namespace
}  // namespace dmoerm::serve
