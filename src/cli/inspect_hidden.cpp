// dmoerm inspect hidden: writes the final hidden states of token ids, to compare them with those of transformers.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/dangling_link.h"
#include "base/error.h"
#include "cli/verbs.h"
#include "nn/backbone.h"
#include "nn/device.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string model, ids, out, device = "cpu", dtype = "float32";
  std::int64_t layers = 0;
};

std::vector<std::int32_t> parse_ids(const std::string& line, const std::string& where) {
  const auto value = nlohmann::json::parse(line, nullptr, false);
  if (!value.is_array() || value.empty())
    throw DataError("not-token-ids", fmt::format("{}: expected a JSON list of token ids with at least one id", where));
  std::vector<std::int32_t> ids;
  for (const auto& id : value) {
    const bool fits = id.is_number_integer() && (!id.is_number_unsigned() || id.get<std::uint64_t>() <= INT32_MAX);
    if (!fits || id.get<std::int64_t>() < 0)
      throw DataError("not-token-ids", fmt::format("{}: {} is not a token id", where, id.dump()));
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

void run(const Options& options) {
  std::ifstream file(options.ids);
  if (!file) throw IoError("cannot-open-file", fmt::format("{}: cannot open{}", options.ids, dangling_link(options.ids)));
  const auto backbone = nn::Backbone::load(options.model, nn::pick_device(options.device, "--device"), options.layers,
                                           nn::pick_dtype(options.dtype));
  nn::NamedTensors states;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    data::PackedBatch batch;
    data::append_sequence(batch, parse_ids(line, fmt::format("{}:{}", options.ids, number)), backbone->packing());
    states.emplace_back(std::to_string(states.size()), backbone->hidden(batch));
  }
  nn::save_safetensors(options.out, states);
  fmt::print("{} sequences -> {}\n", states.size(), options.out);
}

}  // namespace

void add_inspect_hidden(CLI::App& inspect) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = inspect.add_subcommand(
      "hidden", "Write the final hidden states of each line of token ids, as tensors \"0\", \"1\", ... of shape [tokens, width]");
  verb->footer(
      "Example: echo '[1, 5, 9]' > ids.jsonl && launch/dmoerm inspect hidden --model DIR --ids ids.jsonl --out "
      "states.safetensors");
  verb->add_option("--model", options->model, "Hugging Face directory of the model")->type_name(kFolder)->required();
  verb->add_option("--ids", options->ids, "JSON lines, each with a list of token ids")->type_name(kFile)->required();
  verb->add_option("--out", options->out, "File to write (safetensors)")->type_name(kFile)->required();
  verb->add_option("--layers", options->layers, "Number of layers to use, from the first; 0 = all")->check(kNonNegative);
  verb->add_option("--device", options->device, "Device to compute on: cpu or cuda");
  verb->add_option("--dtype", options->dtype, "Element type of weights and products: float32 or bfloat16")->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
