#include "config/tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "base/json_problem.h"
#include "base/utf8.h"
#include "config/yaml_words.h"

namespace dmoerm::config {
namespace {

constexpr std::size_t kLargestText = 1 << 20;
constexpr std::size_t kHead = 4096;           // bytes that show what a file is
constexpr std::size_t kCopiesMax = 16 << 20;  // bytes that aliases may stand for; aliases of aliases grow without end

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
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { put(value(Tree::Kind::null, mark, ""), anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto named = anchors_.find(anchor);
    if (named == anchors_.end()) throw Refused{at(mark), "this alias stands inside the value that it names"};
    copies_ += size_of(named->second);
    if (copies_ > kCopiesMax) throw Refused{at(mark), "the aliases stand for more than 16 MiB"};
    Tree copy = named->second;
    copy.where = at(mark);
    put(std::move(copy), YAML::NullAnchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    Tree scalar = value(Tree::Kind::scalar, mark, tag);
    scalar.text = text;
    std::ranges::replace(scalar.text, kOpen, '{');
    std::ranges::replace(scalar.text, kClose, '}');
    scalar.quoted = tag == "!";  // how yaml-cpp marks quotes and blocks
    put(std::move(scalar), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({value(Tree::Kind::list, mark, tag), anchor, {}, {}});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open_.push_back({value(Tree::Kind::map, mark, tag), anchor, {}, {}});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Tree tree;
    YAML::anchor_t anchor;
    std::optional<Tree> key;   ///< a key of this map whose value has not come yet
    std::vector<Tree> merged;  ///< the maps of its merge keys, <<
  };

  [[nodiscard]] Position at(const YAML::Mark& mark) const { return {source_, mark.line + 1, mark.column + 1}; }
  static std::size_t size_of(const Tree& tree) {
    std::size_t size = sizeof(Tree) + tree.text.size();
    for (const Tree& item : tree.items) size += size_of(item);
    for (const Tree::Entry& entry : tree.entries) size += entry.key.size() + size_of(entry.value);
    return size;
  }
  Tree value(Tree::Kind kind, const YAML::Mark& mark, const std::string& tag) const {
    if (tag != "" && tag != "?" && tag != "!") throw Refused{at(mark), fmt::format("tags are not supported: remove {}", tag)};
    Tree tree;
    tree.kind = kind;
    tree.where = at(mark);
    return tree;
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    for (const Tree& map : done.merged) merge(map, done.tree);
    put(std::move(done.tree), done.anchor);
  }
  /// Add the entries of a merge key's maps that the map itself does not have.
  static void merge(const Tree& from, Tree& map) {
    if (from.kind == Tree::Kind::list) {
      for (const Tree& item : from.items) merge(item, map);
      return;
    }
    if (from.kind != Tree::Kind::map)
      throw Refused{from.where, "the merge key << takes a map, such as *name of a map with the anchor &name"};
    for (const Tree::Entry& entry : from.entries) {
      if (map.find(entry.key) == nullptr) map.entries.push_back(entry);
    }
  }
  void put(Tree tree, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = tree;
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
      if (parent.key->text == "<<" && !parent.key->quoted) {
        parent.merged.push_back(std::move(tree));
      } else {
        parent.tree.entries.push_back({std::move(parent.key->text), parent.key->where, std::move(tree)});
      }
      parent.key.reset();
    }
  }

  int source_;
  int documents_ = 0;
  std::map<YAML::anchor_t, Tree> anchors_;  ///< values with a name, whole
  std::size_t copies_ = 0;                  ///< bytes that aliases were replaced by
  std::vector<Open> open_;
  Tree root_;
};

/// Refuses bytes that yaml-cpp handles silently: it replaces bad UTF-8 and stops at some control characters.
void check_text(const std::string& text, int source) {
  if (text.size() > kLargestText) {
    throw Refused{{source, 1, 1},
                  fmt::format("{} bytes is too large for a configuration (at most {})", text.size(), kLargestText)};
  }
  if (const std::string type = foreign_type(text.substr(0, kHead)); !type.empty() && source == 0)
    throw Refused{{source, 1, 1}, fmt::format("expected a configuration in YAML, found {}", type)};
  Position where{source, 1, 1};
  bool indentation = true;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0) throw Refused{where, fmt::format("byte 0x{:02x} is not UTF-8: save the file as UTF-8", byte)};
    if (where.column == 1 && (text.compare(i, 8, "<<<<<<< ") == 0 || text.compare(i, 8, ">>>>>>> ") == 0))
      throw Refused{where, "a merge conflict of git, which nobody has resolved"};
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
    problems.add({source, e.mark.line + 1, e.mark.column + 1}, "not-yaml",
                 "not valid YAML: " + yaml_complaint(e.msg, text, e.mark.line, e.mark.column));
  }
  return std::nullopt;
}

}  // namespace dmoerm::config
