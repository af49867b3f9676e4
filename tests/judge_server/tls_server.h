// The test judge over HTTPS (cpp-httplib).
#pragma once
#include <functional>
#include <string>

#include "judge_answer.h"

namespace dmoerm::judge_server {

/// Serve on 127.0.0.1 until the process ends. @param certificate, key  PEM files  @param port  0 = any free one  @param listening
/// called with the port
/// @throws IoError if the port cannot be used or the certificate cannot be used
void serve_tls(JudgeAnswer& judge, int port, const std::string& certificate, const std::string& key,
               const std::function<void(int)>& listening);

}  // namespace dmoerm::judge_server
