#include "tls_server.h"

#include <fmt/format.h>
#include <httplib.h>

#include <thread>

#include "base/error.h"

namespace dmoerm::judge_server {
namespace {

constexpr int kThreads = 64;
constexpr int kSlowPieces = 10;

void sleep_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

void send(const HttpReply& reply, double slow_s, httplib::Response& out) {
  using Wire = HttpReply::Wire;
  if (reply.delay_s > 0) sleep_s(reply.delay_s);
  out.status = reply.status;
  for (const auto& [name, value] : reply.headers) out.set_header(name, value);
  if (reply.wire == Wire::whole || reply.wire == Wire::raw) {
    out.set_content(reply.body, "application/json");
    return;
  }
  // httplib can neither reset nor cut a connection; it can only end it in the middle of the body.
  const auto body = std::make_shared<std::string>(reply.body.empty() ? "{}" : reply.body);
  const bool slow = reply.wire == Wire::slow_body;
  out.set_content_provider(body->size(), "application/json",
                           [body, slow, slow_s](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
                             if (!slow) {
                               sink.write(body->data() + offset, length / 2);
                               return false;
                             }
                             sleep_s(slow_s / kSlowPieces);
                             return sink.write(body->data() + offset, std::min(length, body->size() / kSlowPieces + 1));
                           });
}

}  // namespace

void serve_tls(JudgeAnswer& judge, int port, const std::string& certificate, const std::string& key,
               const std::function<void(int)>& listening) {
  httplib::SSLServer server(certificate.c_str(), key.c_str());
  if (!server.is_valid()) throw IoError(fmt::format("certificate {} or key {} cannot be used", certificate, key));
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(1'000'000);
  server.set_keep_alive_timeout(60);
  server.set_tcp_nodelay(true);
  const auto answer = [&judge](const httplib::Request& in, const std::string& body, httplib::Response& out) {
    send(judge.answer({in.method, in.target, body, in.get_header_value("Authorization"), in.get_header_value("Accept-Encoding"),
                       in.get_header_value("Content-Type")}),
         judge.slow_s(), out);
  };
  server.Get(".*", [&](const httplib::Request& in, httplib::Response& out) { answer(in, "", out); });
  server.Post("/v1/files", [&](const httplib::Request& in, httplib::Response& out) {
    // httplib has already split the multipart body; join the parts again, because both servers share one reader.
    const std::string type = in.get_header_value("Content-Type");
    const std::string boundary = "--" + type.substr(std::min(type.find("boundary=") + 9, type.size()));
    std::string body;
    for (const auto& [name, part] : in.files) {
      body += boundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + part.content + "\r\n";
    }
    answer(in, body + boundary + "--\r\n", out);
  });
  server.Post(".*", [&](const httplib::Request& in, httplib::Response& out) { answer(in, in.body, out); });
  if (port == 0) {
    port = server.bind_to_any_port("127.0.0.1");
  } else if (!server.bind_to_port("127.0.0.1", port)) {
    port = -1;
  }
  if (port < 0) throw IoError("the port cannot be had");
  listening(port);
  server.listen_after_bind();
}

}  // namespace dmoerm::judge_server
