#include "preference/line_reader.h"

#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/json_problem.h"
#include "support/scratch.h"

namespace dmoerm::preference {
namespace {

class LineReaderFile : public test::Scratch {
 protected:
  [[nodiscard]] static std::vector<std::string> lines(const std::string& path) {
    LineReader reader(path);
    std::vector<std::string> all;
    for (std::string line; reader.next(line);) {
      all.push_back(line);
      EXPECT_EQ(reader.number(), static_cast<std::int64_t>(all.size()));
    }
    return all;
  }
};

std::string gzip(const std::string& text) {
  std::string packed(compressBound(text.size()) + 64, '\0');
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

/// Lines of random lengths, some of which cross the borders of the reader's blocks.
std::string long_text() {
  std::string text;
  std::uint64_t x = 1;
  for (int i = 0; i < 40; ++i) {
    x = x * 6364136223846793005U + 1;
    text += std::string(x % 60000, static_cast<char>('a' + i % 26)) + "\n";
  }
  return text;
}

TEST_F(LineReaderFile, ReadsTheSameLinesFromPlainGzipAndZstd) {
  const std::string text = long_text();
  const std::vector<std::string> plain = lines(write("a", text));
  ASSERT_EQ(plain.size(), 40U);
  std::string joined;
  for (const std::string& line : plain) joined += line + "\n";
  EXPECT_EQ(joined, text);
  EXPECT_EQ(lines(write("a.gz", gzip(text))), plain);
  EXPECT_EQ(lines(write("misnamed.jsonl", zstd(text))), plain) << "the content decides, not the name";
}

TEST_F(LineReaderFile, ReadsMembersOneAfterAnother) {
  EXPECT_EQ(lines(write("a", gzip("one\ntw") + gzip("o\n"))), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(lines(write("b", zstd("one\ntw") + zstd("o\n"))), (std::vector<std::string>{"one", "two"}));
}

TEST_F(LineReaderFile, DropsByteOrderMarkAndCarriageReturns) {
  EXPECT_EQ(lines(write("a", "\xEF\xBB\xBFone\r\n\r\ntwo\xEF\xBB\xBF\r\nlast")),
            (std::vector<std::string>{"one", "", "two\xEF\xBB\xBF", "last"}));
}

TEST_F(LineReaderFile, ReadsNoLineFromAnEmptyFile) {
  EXPECT_TRUE(lines(write("a", "")).empty());
  EXPECT_EQ(lines(write("b", "\n")), (std::vector<std::string>{""}));
}

TEST_F(LineReaderFile, RefusesTruncatedCompression) {
  const std::string text = long_text();
  for (const std::string& packed : {gzip(text), zstd(text)}) {
    for (const std::size_t cut : {packed.size() - 1, packed.size() / 2, std::size_t{20}}) {
      const std::string path = write("cut", packed.substr(0, cut));
      EXPECT_NE(test::message_of<DataError>([&] { (void)lines(path); }).find("truncated"), std::string::npos) << cut;
    }
  }
}

TEST_F(LineReaderFile, RefusesBytesOtherThanZerosBehindAGzipMember) {
  const std::string text = long_text();
  const auto whole = lines(write("whole.gz", gzip(text) + gzip(text)));
  EXPECT_EQ(lines(write("padded.gz", gzip(text) + gzip(text) + std::string(100, '\0'))), whole);
  std::string broken = gzip(text);
  broken[1] = 'x';  // the second magic byte
  for (const std::string& behind : {broken, std::string("{}"), std::string(16, '\0') + "xx"}) {
    const std::string path = write("behind.gz", gzip(text) + behind);
    EXPECT_NE(test::message_of<DataError>([&] { (void)lines(path); }).find("damaged gzip file"), std::string::npos);
  }
  const std::string path = write("behind.gz", gzip(text) + gzip(text).substr(0, 1));
  EXPECT_NE(test::message_of<DataError>([&] { (void)lines(path); }).find("truncated gzip file"), std::string::npos);
}

TEST_F(LineReaderFile, NamesOtherKnownTypes) {
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)lines(write("x.parquet", "PAR1..."));
            }).find("x.parquet: expected JSON lines in UTF-8"),
            std::string::npos);
  EXPECT_NE(test::message_of<DataError>([&] { (void)lines(write("x", "\xFF\xFE{")); }).find("iconv"), std::string::npos);
}

TEST_F(LineReaderFile, NamesWhatLiesThereInPlaceOfRows) {
  using namespace std::string_literals;
  for (const auto& [bytes, expected] : {
           std::pair("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"s, "a Git LFS pointer"),
           {"\xEF\xBB\xBFversion https://git-lfs.github.com/spec/v1\r\noid sha256:1\r\n"s, "a Git LFS pointer"},
           {"# xet version 0\nfilesize = 4096\n"s, "a pointer of Xet"},
           {"outs:\n- md5: a304\n  path: data.jsonl\n"s, "dvc pull"},
           {"/annex/objects/SHA256E-s1048576--aa.jsonl\n"s, "git annex get"},
           {"../.git/annex/objects/x/y/SHA256E-s10--aa/SHA256E-s10--aa"s, "git annex get"},
           {"../../blobs/7d865e959b24"s, "a link of the Hub's cache"},
           {"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"s, "AppleDouble"},
           {"PK\x03\x04....[Content_Types].xml"s, "a workbook: convert it in pandas"},
           {"PK\x03\x04....pairs/data.pkl"s, "a torch file"},
           {"PK\x03\x04....a.jsonl"s, "a zip file"},
           {"\x78\x9C\xAB\x56"s, "a zlib stream without gzip's header: unpack it with Python's zlib.decompress()"},
           {"\x78\xDA\xAB\x56"s, "a zlib stream"},
           {"\xFF\x06\x00\x00sNaPpY"s, "a Snappy file: unpack it with snzip -d"},
           {"LZIP\x01"s, "an lzip file"},
           {"\x5D\x00\x00\x80"s, "an lzma file"},
           {"<!DOCTYPE html><html>"s, "a web page (HTML)"},
           {"{\0\"\0a\0"s, "UTF-16LE"},
           {"\0{\0\""s, "UTF-16BE"},
           {"\xFF\xFE{\0"s, "UTF-16"},
           {"{\0\0\0\"\0\0\0"s, "UTF-32LE"},
           {"\0\0\0\0"s, "zero bytes"},
       })
    EXPECT_NE(test::message_of<DataError>([&] { LineReader(write("x.jsonl", bytes)); }).find(expected), std::string::npos)
        << expected;
}

TEST_F(LineReaderFile, NamesBrotliByTheNameOfTheFile) {
  EXPECT_NE(test::message_of<DataError>([&] { LineReader(write("x.jsonl.br", "!\x10")); }).find("a Brotli file by its name"),
            std::string::npos);
  EXPECT_EQ(lines(write("plain.br", "{}\n")).size(), 1U);
  const std::string packed = "\x8B\x03\x80";
  try {
    ADD_FAILURE() << nlohmann::json::parse(packed);
  } catch (const nlohmann::json::exception& e) {
    EXPECT_NE(json_complaint(packed, e).find("the byte 0x8b, with which no JSON begins"), std::string::npos)
        << json_complaint(packed, e);
    EXPECT_NE(json_complaint(packed, e).find("brotli -d"), std::string::npos);
  }
}

TEST_F(LineReaderFile, NamesWhatACompressedFileHolds) {
  const auto said = [&](const std::string& inside) {
    return test::message_of<DataError>([&] { LineReader(write("x.jsonl.gz", gzip(inside))); });
  };
  EXPECT_NE(said("PAR1...").find("inside the compressed file, found a Parquet file"), std::string::npos);
  EXPECT_NE(said(gzip("{}")).find("found a gzip file"), std::string::npos);
  EXPECT_NE(said("\xFF\xFE{").find("found UTF-16 text"), std::string::npos);
}

TEST_F(LineReaderFile, RefusesPipesFoldersAndMissingFiles) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_NE(test::message_of<IoError>([&] { LineReader{directory_ / "pipe"}; }).find("inputs are read twice"), std::string::npos);
  EXPECT_THROW(LineReader{directory_}, IoError);
  EXPECT_THROW(LineReader(directory_ / "absent"), IoError);
}

TEST_F(LineReaderFile, RefusesALineThatIsTooLong) {
  const std::string bomb = gzip(std::string(std::size_t{65} << 20, 'x'));
  const std::string path = write("bomb.gz", bomb);
  EXPECT_NE(test::message_of<DataError>([&] { (void)lines(path); }).find("bomb.gz:1: line longer than 64 MiB"),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::preference
