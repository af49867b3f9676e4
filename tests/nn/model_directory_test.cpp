// What a refusal says about a place that is no model directory.
#include "nn/model_directory.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/backbone_spec.h"
#include "nn/safetensors.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;

class Place : public test::Scratch {
 protected:
  Place() : model_(directory_ / "m") { fs::create_directories(model_); }
  void put(const std::string& name, const std::string& text = "x") const {
    fs::create_directories((model_ / name).parent_path());
    (void)write("m/" + name, text);
  }
  /// The message with which reading `path` as a model is refused.
  static std::string refusal(const fs::path& path) {
    return test::message_of<DataError>([&] {
      (void)read_backbone_spec(path);
      (void)SafetensorsReader::open_model(path);
    });
  }
  void expect(const std::string& words) const {
    const std::string said = refusal(model_);
    EXPECT_NE(said.find(words), std::string::npos) << "wanted \"" << words << "\", got \"" << said << "\"";
  }
  fs::path model_;
};

constexpr const char* kConfig =
    R"({"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2})";

TEST_F(Place, IsAbsent) {
  EXPECT_NE(refusal("Qwen/Qwen2.5-0.5B").find("hf download Qwen/Qwen2.5-0.5B --local-dir DIR"), std::string::npos);
  EXPECT_NE(refusal("http://127.0.0.1:8000").find("server:ADDRESS"), std::string::npos) << refusal("http://127.0.0.1:8000");
  EXPECT_NE(refusal("/nowhere/at/all").find("/nowhere/at/all: there is no such directory"), std::string::npos);
  for (const char* named :
       {"Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B/", "/Qwen/Qwen2.5-0.5B", "https://huggingface.co/Qwen/Qwen2.5-0.5B",
        "/conf/https:/hf.co/Qwen/Qwen2.5-0.5B/blob", "hf://Qwen/Qwen2.5-0.5B"})
    EXPECT_NE(refusal(named).find("hf download Qwen/Qwen2.5-0.5B --local-dir DIR"), std::string::npos) << refusal(named);
  for (const char* named : {"Qwen/Qwen2.5-0.5B@v1", "https://huggingface.co/Qwen/Qwen2.5-0.5B/tree/v1"})
    EXPECT_NE(refusal(named).find("hf download Qwen/Qwen2.5-0.5B --revision v1 --local-dir DIR"), std::string::npos) << named;
  for (const char* path : {"/nowhere/at/all", "/nowhere", "nowhere", "./nowhere/at/all", "/nowhere/bundle", "a b/c"})
    EXPECT_EQ(refusal(path).find("hf download"), std::string::npos) << refusal(path);
  EXPECT_NE(refusal("~/models/m").find("write $HOME/models/m"), std::string::npos);
  fs::create_directory_symlink("gone", directory_ / "link");
  EXPECT_NE(refusal(directory_ / "link").find("points to nothing"), std::string::npos);
}

TEST_F(Place, HoldsALinkToNothing) {
  put("config.json", kConfig);
  fs::create_symlink("../../blobs/abc", model_ / "model.safetensors");
  expect("model.safetensors is a link to ../../blobs/abc, which is not there: copy the model with cp -rL");
}

TEST_F(Place, HoldsAPackedFileInsteadOfWeights) {
  put("config.json", kConfig);
  put("model.safetensors", "\x1f\x8b\x08" + std::string(100, 'x'));
  expect("this is a gzip file, not safetensors");
  put("model.safetensors", std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10) + std::string(100, 'x'));
  expect("this is a gzip file, not safetensors");
  put("model.safetensors", "\x89HDF\r\n\x1a\n" + std::string(100, 'x'));
  expect("this is an HDF5 file, not safetensors");
}

TEST_F(Place, HasAHeaderThatIsNoJson) {
  put("config.json", kConfig);
  put("model.safetensors", std::string("\x07\0\0\0\0\0\0\0{'a':1}", 15));
  expect("the safetensors header is not JSON: found single quotes, as Python prints them");
}

TEST_F(Place, IsAFile) {
  EXPECT_NE(refusal(write("model-q4.gguf", "GGUF")).find("llama.cpp"), std::string::npos);
  EXPECT_NE(refusal(write("model.safetensors", "x")).find("this is a file"), std::string::npos);
}

TEST_F(Place, IsEmpty) { expect("the directory is empty"); }

TEST_F(Place, HoldsAnAdapter) {
  put("adapter_config.json", R"({"peft_type": "LORA", "base_model_name_or_path": "org/base"})");
  put("adapter_model.safetensors");
  expect("this is a PEFT adapter, not a whole model. Give the directory of the model that it adapts (org/base)");
  put("adapter_config.json", R"({"peft_type": "LORA", "base_model_name_or_path": null})");
  expect("the model that it adapts, or merge");
}

TEST_F(Place, HoldsAnAdapterOrCodeBesideTheWeights) {
  const auto said = [&] {
    const test::CapturedLog log;
    (void)read_backbone_spec(model_);
    return log.text();
  };
  put("config.json", kConfig);
  put("model.safetensors");
  put("adapter_config.json", R"({"peft_type": "LORA"})");
  EXPECT_EQ(said(), "") << "without the adapter's weights";
  for (const char* file : {"adapter_model.safetensors", "adapter_model.bin"}) {
    put(file);
    EXPECT_NE(said().find(std::string("the adapter ") + file + " beside the model's weights is not read"), std::string::npos)
        << said();
    fs::remove(model_ / file);
  }
  const std::string end = R"(, "auto_map": {"AutoModel": "modeling_x.XModel"}})", config = kConfig;
  put("config.json", config.substr(0, config.size() - 1) + end);
  EXPECT_NE(said().find("brings code of its own (\"modeling_x.XModel\"), which is not read: it is computed as a plain llama"),
            std::string::npos)
      << said();
  put("config.json", config.substr(0, config.size() - 1) + R"(, "auto_map": {"AutoTokenizer": "tokenization_x.X"}})");
  EXPECT_EQ(said(), "");
}

TEST_F(Place, HoldsWhatDmoermWrote) {
  put("dmoerm.json", "{}");
  expect((model_ / "base").string());
  fs::remove(model_ / "dmoerm.json");
  put("owner.json", "{}");
  expect("a run of dmoerm");
}

TEST_F(Place, HoldsAnotherFormat) {
  put("config.json", kConfig);
  put("tokenizer.json", "{}");
  for (const auto& [file, words] :
       {std::pair("pytorch_model.bin", "pytorch_model.bin holds weights in another format than safetensors"),
        std::pair("tf_model.h5", "tf_model.h5 holds weights in another format"), std::pair("model-Q4_K_M.gguf", "llama.cpp"),
        std::pair("consolidated.00.pth", "layout of their maker"), std::pair("__0_0.distcp", "sharded training checkpoint"),
        std::pair("model.safetensors.incomplete", "a download that has not ended"),
        std::pair("model-00001-of-00002.safetensors", "model.safetensors.index.json is missing"),
        std::pair("weights.safetensors", "there is weights.safetensors; a model has its weights in")}) {
    put(file);
    expect(words);
    fs::remove(model_ / file);
  }
  expect("no model.safetensors: a Hugging Face model directory has");
}

TEST_F(Place, HoldsTheModelInAFolder) {
  put("checkpoint-500/config.json", kConfig);
  expect("did you mean " + (model_ / "checkpoint-500").string());
  put("snapshots/abc/config.json", kConfig);
  put("refs/main", "abc");
  expect((model_ / "snapshots" / "abc").string());
}

TEST_F(Place, LacksShards) {
  put("config.json", kConfig);
  put("model.safetensors.index.json", R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})");
  expect("2 of the 2 files that model.safetensors.index.json names are missing: model-1.safetensors, model-2.safetensors");
}

TEST_F(Place, HoldsAPointerOrAPageInsteadOfWeights) {
  put("config.json", kConfig);
  put("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
  expect("pointer of Git LFS");
  put("model.safetensors", "<!DOCTYPE html><html>");
  expect("web page");
  put("model.safetensors", std::string("PK\x03\x04\x14\x00\x08\x08", 8) + "archive");
  expect("torch.save()");
  put("model.safetensors", std::string(64, '\0'));
  expect("starts with zero bytes");
  put("model.safetensors", "");
  expect("0 bytes are too few");
}

TEST_F(Place, HoldsATruncatedFile) {
  put("config.json", kConfig);
  const std::string header = R"({"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  put("model.safetensors", bytes + header + std::string(100, 'x'));
  expect("the tensors need 400 bytes of data, the file has 100: it was not copied whole");
}

TEST_F(Place, NamesAConfigOfAnotherKind) {
  put("config.json", R"({"dim": 4096, "n_layers": 32})");
  expect("model_type \"\" is not supported: this is not the config.json of a transformers model");
}

}  // namespace
}  // namespace dmoerm::nn
