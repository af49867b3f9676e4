#include "config/tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "base/utf8.h"

namespace dmoerm::config {
namespace {

constexpr std::size_t kLargestText = 1 << 20;

// The braces of ${NAME} would open and close a map inside { }, so the parser sees these characters instead. check_text() lets
// none through from the file.
constexpr char kOpen = 1, kClose = 2;

/// Ends the parse, as what follows could not be read correctly.
struct Refused {
  Position where;
  std::string message;
};

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(int source) : source_(source) {}
  Tree take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      throw Refused{at(mark), "a second document starts here (---), but a file holds one configuration: remove one of them"};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { put(value(Tree::Kind::null, mark, "", anchor)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    Tree scalar = value(Tree::Kind::scalar, mark, tag, anchor);
    scalar.text = text;
    std::ranges::replace(scalar.text, kOpen, '{');
    std::ranges::replace(scalar.text, kClose, '}');
    scalar.quoted = tag == "!";  // how yaml-cpp marks quotes and blocks
    put(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({value(Tree::Kind::list, mark, tag, anchor), {}});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open_.push_back({value(Tree::Kind::map, mark, tag, anchor), {}});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Tree tree;
    std::optional<Tree> key;  ///< a key of this map whose value has not come yet
  };

  [[nodiscard]] Position at(const YAML::Mark& mark) const { return {source_, mark.line + 1, mark.column + 1}; }
  [[noreturn]] void refuse_anchor(const YAML::Mark& mark) const {
    throw Refused{at(mark), "anchors and aliases (&, *) are not supported: write the value out, or put it in quotes"};
  }
  Tree value(Tree::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) refuse_anchor(mark);
    if (tag != "" && tag != "?" && tag != "!") throw Refused{at(mark), fmt::format("tags are not supported: remove {}", tag)};
    Tree tree;
    tree.kind = kind;
    tree.where = at(mark);
    return tree;
  }
  void close() {
    Tree done = std::move(open_.back().tree);
    open_.pop_back();
    put(std::move(done));
  }
  void put(Tree tree) {
    if (open_.empty()) {
      root_ = std::move(tree);
      return;
    }
    Open& parent = open_.back();
    if (parent.tree.kind == Tree::Kind::list) {
      parent.tree.items.push_back(std::move(tree));
    } else if (!parent.key) {
      if (tree.kind != Tree::Kind::scalar) throw Refused{tree.where, "a key is missing here, or is not a plain word"};
      parent.key = std::move(tree);
    } else {
      if (tree.kind == Tree::Kind::null) tree.where = parent.key->where;  // an absent value: yaml-cpp's mark is the next line
      parent.tree.entries.push_back({std::move(parent.key->text), parent.key->where, std::move(tree)});
      parent.key.reset();
    }
  }

  int source_;
  int documents_ = 0;
  std::vector<Open> open_;
  Tree root_;
};

/// Refuses bytes that yaml-cpp handles silently: it replaces bad UTF-8 and stops at some control characters.
void check_text(const std::string& text, int source) {
  if (text.size() > kLargestText) {
    throw Refused{{source, 1, 1},
                  fmt::format("{} bytes is too large for a configuration (at most {})", text.size(), kLargestText)};
  }
  Position where{source, 1, 1};
  bool indentation = true;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0) throw Refused{where, fmt::format("byte 0x{:02x} is not UTF-8: save the file as UTF-8", byte)};
    if (byte == '\t' && indentation) throw Refused{where, "this line is indented with a tab: YAML allows spaces only"};
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7f) {
      throw Refused{where, fmt::format("control character 0x{:02x}: remove it", byte)};
    }
    if (byte == '\n') {
      where = {source, where.line + 1, 0};
      indentation = true;
    } else if (byte != ' ') {
      indentation = false;
    }
    ++where.column;
    i += length;
  }
}

/// Replace the braces of each ${NAME...}; `text` keeps its length, so that places stay right.
std::string hide_variables(std::string text) {
  for (std::size_t at = 0; (at = text.find("${", at)) != std::string::npos; at += 2) {
    const std::size_t end = text.find_first_of("}{\n", at + 2);
    if (end == std::string::npos || text[end] != '}') continue;
    text[at + 1] = kOpen;
    text[end] = kClose;
  }
  return text;
}

}  // namespace

Tree::Entry* Tree::find(const std::string& key) {
  for (Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const Tree::Entry* Tree::find(const std::string& key) const { return const_cast<Tree*>(this)->find(key); }

std::optional<Tree> parse_tree(const std::string& text, int source, Problems& problems) {
  TreeBuilder builder(source);
  try {
    check_text(text, source);
    std::istringstream stream(hide_variables(text));
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take();
  } catch (const Refused& refused) {
    problems.add(refused.where, "yaml-not-read-here", refused.message);
  } catch (const YAML::Exception& e) {
    problems.add({source, e.mark.line + 1, e.mark.column + 1}, "not-yaml", "not valid YAML: " + e.msg);
  }
  return std::nullopt;
}

}  // namespace dmoerm::config
