// The manual pages and README say what the server has, neither more nor less. They are read from
// the directory that $IGNIX_SOURCE names, or from here, where `make check` starts.
#include <stdlib.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

using Names = std::vector<std::string>;

std::string source_path(const std::string& name) {
  const char* from_environment = getenv("IGNIX_SOURCE");
  const std::string path = std::string(from_environment ? from_environment : ".") + "/" + name;
  char* const resolved = realpath(path.c_str(), nullptr);
  if (!resolved) FAIL("no " + path + " (set IGNIX_SOURCE)");
  const std::string absolute = resolved;
  free(resolved);
  return absolute;
}

Names lines_of(const std::string& text) {
  Names lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Names words_of(const std::string& text, const char* separators = " ") {
  Names words;
  for (size_t at = 0; (at = text.find_first_not_of(separators, at)) != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

// The lines of a page from ".Sh TITLE" to the next section.
Names section_of(const std::string& page, const std::string& title) {
  Names lines = lines_of(read_file(source_path(page)));
  const auto start = std::find(lines.begin(), lines.end(), ".Sh " + title);
  if (start == lines.end()) FAIL(page + " has no section " + title);
  const auto is_section = [](const std::string& line) { return line.starts_with(".Sh "); };
  return Names(start + 1, std::find_if(start + 1, lines.end(), is_section));
}

// "client|list" as people write it.
std::string shown(std::string name) {
  for (char& c : name) c = c == '|' ? ' ' : char(toupper(uint8_t(c)));
  return name;
}

// All commands and subcommands, as people write them.
std::set<std::string> commands_of(Client& client) {
  std::set<std::string> names;
  for (const std::string& name :
       elements_of(client.command({"COMMAND", "LIST", "FILTERBY", "PATTERN", "*"}))) {
    names.insert(shown(text_of(name)));
  }
  CHECK(names.size() > 20);
  return names;
}

bool is_container(const std::set<std::string>& names, const std::string& name) {
  const auto next = names.upper_bound(name);
  return next != names.end() && next->starts_with(name + " ");
}

std::string container_of(const std::string& name) { return name.substr(0, name.find(' ')); }

// What is in one of the two and not in the other; a line for each.
std::string differences(const std::set<std::string>& said, const std::set<std::string>& there,
                        const std::string& where) {
  std::string text;
  for (const std::string& name : there) {
    if (!said.contains(name)) text += name + " is not in " + where + "\n";
  }
  for (const std::string& name : said) {
    if (!there.contains(name)) text += name + " is in " + where + ", and should not be\n";
  }
  return text;
}

// ---- ignix-commands(7)

constexpr const char* kCommandPage = "man/ignix-commands.7";

std::string subsection_of(const std::string& group) {
  static const std::map<std::string, std::string> kTitles = {{"string", "Strings"},
                                                             {"bitmap", "Bitmaps"},
                                                             {"hyperloglog", "HyperLogLogs"},
                                                             {"generic", "Keys"},
                                                             {"list", "Lists"},
                                                             {"hash", "Hashes"},
                                                             {"set", "Sets"},
                                                             {"sorted-set", "Sorted sets"},
                                                             {"geo", "Geographic"},
                                                             {"stream", "Streams"},
                                                             {"pubsub", "Pub/sub"},
                                                             {"scripting", "Scripts"},
                                                             {"transactions", "Transactions"},
                                                             {"connection", "Connection"},
                                                             {"server", "Server"}};
  const auto found = kTitles.find(group);
  return found == kTitles.end() ? "a subsection for " + group : found->second;
}

std::string group_of(Client& client, std::string name) {
  std::replace(name.begin(), name.end(), ' ', '|');
  const Names doc = elements_of(client.command({"COMMAND", "DOCS", name}));
  CHECK_EQ(doc.size(), 2);
  const Names fields = elements_of(doc[1]);
  const auto group = std::find(fields.begin(), fields.end(), bulk("group"));
  CHECK(fields.end() - group > 1);
  return text_of(group[1]);
}

// What stands behind .Ic, up to the next macro.
std::string command_in(const std::string& line) {
  std::string name;
  const Names words = words_of(line);
  for (size_t i = words[0] == ".It" ? 2 : 1; i < words.size(); i++) {
    const bool is_macro =
        words[i].size() == 2 && isupper(uint8_t(words[i][0])) && islower(uint8_t(words[i][1]));
    if (is_macro) break;
    name += (name.empty() ? "" : " ") + words[i];
  }
  return name;
}

TEST(manual, describes_each_command) {
  Server server;
  server.start();
  Client client(server);
  const std::set<std::string> names = commands_of(client);
  std::set<std::string> said, expected;
  std::string text, subsection, last;
  for (const std::string& line : section_of(kCommandPage, "COMMANDS")) {
    if (line.starts_with(".Ss ")) {
      subsection = line.substr(4);
      last.clear();
    }
    if (!line.starts_with(".It Ic ") && !line.starts_with(".Ic ")) continue;
    const std::string name = command_in(line);
    if (!said.insert(name).second) text += name + " is described twice\n";
    if (name < last) text += name + " stands behind " + last + "\n";
    last = name;
    if (!names.contains(name)) continue;
    const std::string right = subsection_of(group_of(client, name));
    if (subsection != right)
      text += name + " is in " + subsection + " and belongs to " + right + "\n";
  }
  // A container need not do anything by itself.
  for (const std::string& name : names) {
    if (said.contains(name) || !is_container(names, name)) expected.insert(name);
  }
  text += differences(said, expected, kCommandPage);
  if (!text.empty()) FAIL(text);
}

// The names that are said to be missing.
std::set<std::string> missing_commands() {
  std::set<std::string> said;
  bool in_list = false;
  for (const std::string& line : section_of(kCommandPage, "MISSING FROM REDIS 7.0")) {
    in_list = in_list || line.starts_with(".Bl");
    if (!in_list || line.starts_with(".")) continue;
    for (const std::string& item : words_of(line, ",")) {
      const size_t start = item.find_first_not_of(' ');
      if (start != std::string::npos) said.insert(item.substr(start));
    }
  }
  return said;
}

TEST(manual, missing_commands_are_missing) {
  Server server;
  server.start();
  Client client(server);
  const std::set<std::string> names = commands_of(client);
  std::string text;
  for (const std::string& name : missing_commands()) {
    if (names.contains(name)) text += name + " is there, and said to be missing\n";
  }
  if (!text.empty()) FAIL(text);
}

TEST(manual, what_redis_has_is_there_or_said_to_be_missing) {
  need_redis();
  Server ignix({.program = Program::kIgnix}), redis({.program = Program::kRedis});
  ignix.start();
  redis.start();
  Client ours(ignix), theirs(redis);
  const std::set<std::string> here = commands_of(ours);
  std::set<std::string> expected;
  for (const std::string& name : commands_of(theirs)) {
    const bool with_container =
        name.find(' ') != std::string::npos && !here.contains(container_of(name));
    if (!here.contains(name) && !with_container) expected.insert(name);
  }
  const std::string text = differences(missing_commands(), expected, "the list of what is missing");
  if (!text.empty()) FAIL(text);
}

// ---- README.md

// "- group: GET CLIENT (ID LIST) ...", where subcommands need not be named.
TEST(manual, readme_lists_each_command) {
  Server server;
  server.start();
  Client client(server);
  const std::set<std::string> names = commands_of(client);
  std::string list = read_file(source_path("README.md"));
  const size_t start = list.find("\n- strings:");
  CHECK(start != std::string::npos);
  list = list.substr(start, list.find("\n\n", start) - start);
  std::set<std::string> said, expected;
  std::string container, last;
  for (std::string word : words_of(list, " \n")) {
    if (word == "-" || word.back() == ':') continue;
    if (word[0] == '(') container = last;
    const bool ends = word.back() == ')';
    std::erase_if(word, [](char c) { return c == '(' || c == ')'; });
    said.insert(container.empty() ? word : container + " " + word);
    if (container.empty()) last = word;
    if (ends) container.clear();
  }
  for (const std::string& name : names) {
    const bool is_sub = name.find(' ') != std::string::npos;
    if (!is_sub || is_container(said, container_of(name))) expected.insert(name);
  }
  const std::string text = differences(said, expected, "the list in README.md");
  if (!text.empty()) FAIL(text);
}

// ---- ignix(1)

// Each has a line of its own; these two come without one.
std::set<std::string> options_of_help() {
  std::set<std::string> options = {"help", "version"};
  for (const std::string& line : lines_of(run_program({ignix_path(), "--help"}).text)) {
    const size_t at = line.find_first_not_of(' ');
    if (at == std::string::npos || line.compare(at, 2, "--") != 0) continue;
    options.insert(words_of(line.substr(at + 2), " ,=")[0]);
  }
  CHECK(options.size() > 20);
  return options;
}

TEST(manual, describes_each_option) {
  std::set<std::string> said;
  for (const std::string& line : section_of("man/ignix.1", "OPTIONS")) {
    if (line.starts_with(".It Fl -")) said.insert(words_of(line.substr(8))[0]);
  }
  const std::string text = differences(said, options_of_help(), "the OPTIONS of man/ignix.1");
  if (!text.empty()) FAIL(text);
}

// ---- all pages

TEST(manual, is_well_formed) {
  const std::string mandoc = find_program("mandoc");
  if (mandoc.empty()) SKIP("mandoc not installed");
  for (const char* page : {"man/ignix.1", "man/ignix-check.1", kCommandPage}) {
    const Output output = run_program({mandoc, "-T", "lint", "-W", "warning", source_path(page)});
    CHECK_EQ(output.text, "");
    CHECK_EQ(output.status, 0);
  }
}

}  // namespace
}  // namespace test
