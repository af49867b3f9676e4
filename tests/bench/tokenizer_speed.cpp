// Tokenises the texts of a JSONL file (one JSON string a line) once for every line on standard input; answers with "seconds
// tokens". tests/bench/tokenizer_speed.py drives it beside the `tokenizers` package.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_tokenizer TOKENIZER.json TEXTS.jsonl\n", stderr);
    return 2;
  }
  try {
    const auto tokenizer = dmoerm::tokenizer::Tokenizer::load(argv[1]);
    std::vector<std::string> texts;
    std::ifstream file(argv[2]);
    for (std::string line; std::getline(file, line);) texts.push_back(nlohmann::json::parse(line).get<std::string>());
    for (std::string line; std::getline(std::cin, line);) {
      const auto start = std::chrono::steady_clock::now();
      std::size_t tokens = 0;
      for (const std::string& text : texts) tokens += tokenizer.encode(text, true).size();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      std::printf("%.6f %zu\n", seconds.count(), tokens);
      std::fflush(stdout);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_tokenizer: %s\n", e.what());
    return 1;
  }
  return 0;
}
