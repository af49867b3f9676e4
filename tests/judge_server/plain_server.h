// The test judge over plain HTTP/1.1: one thread, epoll, keep-alive; fast enough to measure a client with, and able to break the
// protocol.
#pragma once
#include <functional>
#include <string>

#include "judge_answer.h"

namespace dmoerm::judge_server {

/// Serve until the process ends. @param address  in numbers, such as 127.0.0.1  @param port  0 = any free one  @param listening
/// called with the port
/// @throws IoError if the address or the port cannot be used
void serve_plain(JudgeAnswer& judge, const std::string& address, int port, const std::function<void(int)>& listening);

}  // namespace dmoerm::judge_server
