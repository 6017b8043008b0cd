// Requests are templates: all bytes are laid out before the run, and a request is a copy of
// them with the digits of its keys written over. Large values are not copied; they are sent from
// one shared buffer.
#pragma once

#include <sys/uio.h>

#include <string>
#include <vector>

#include "keys.h"

struct Request {
  std::string bytes;               // without large values
  std::vector<size_t> key_ends;    // where each key's last digit ends in bytes
  std::vector<size_t> value_cuts;  // where in bytes the shared value is to be put in
  size_t wire_bytes = 0;
};

struct RequestFormat {
  static constexpr size_t kLargeValue = 16 * 1024;  // from here on sent from the shared buffer

  KeyFormat key;
  std::string value;  // the shared value

  // Arguments may hold {key} and {value}, also inside other text.
  Request build(const std::vector<std::string>& args) const {
    Request request;
    std::string& out = request.bytes;
    out = "*" + std::to_string(args.size()) + "\r\n";
    for (const std::string& arg : args) {
      size_t length = arg.size() + count(arg, "{key}") * (key.length - 5) +
                      count(arg, "{value}") * (value.size() - 7);
      out += "$" + std::to_string(length) + "\r\n";
      append_argument(request, arg);
      out += "\r\n";
    }
    request.wire_bytes = out.size() + request.value_cuts.size() * value.size();
    return request;
  }

 private:
  static size_t count(const std::string& text, const std::string& part) {
    size_t found = 0;
    for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) found++;
    return found;
  }

  void append_argument(Request& request, const std::string& arg) const {
    for (size_t i = 0; i < arg.size();) {
      if (arg.compare(i, 5, "{key}") == 0) {
        request.bytes += key.zero();
        request.key_ends.push_back(request.bytes.size());
        i += 5;
      } else if (arg.compare(i, 7, "{value}") == 0) {
        if (value.size() < kLargeValue)
          request.bytes += value;
        else
          request.value_cuts.push_back(request.bytes.size());
        i += 7;
      } else {
        request.bytes += arg[i++];
      }
    }
  }
};

// One batch of requests on its way to one connection. Its memory is used again and again.
struct Batch {
  std::vector<char> bytes;
  std::vector<iovec> parts;
  size_t used = 0;
  size_t cut = 0;  // bytes up to here are in parts already

  void reserve(size_t requests, const std::vector<Request>& kinds) {
    size_t longest = 0;
    for (const Request& kind : kinds) longest = std::max(longest, kind.bytes.size());
    bytes.resize(std::max(bytes.size(), requests * longest));
  }

  void clear() {
    parts.clear();
    used = cut = 0;
  }

  void add(const Request& request, const RequestFormat& format, KeyStream& keys) {
    char* start = bytes.data() + used;
    memcpy(start, request.bytes.data(), request.bytes.size());
    for (size_t end : request.key_ends) format.key.write(start + end, keys.next());
    for (size_t at : request.value_cuts) {
      close_part(used + at);
      parts.push_back({const_cast<char*>(format.value.data()), format.value.size()});
    }
    used += request.bytes.size();
  }

  void finish() { close_part(used); }

 private:
  void close_part(size_t end) {
    if (end > cut) parts.push_back({bytes.data() + cut, end - cut});
    cut = end;
  }
};

// Words of a command template: split at blanks; single or double quotes keep blanks.
inline std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == ' ') {
      i++;
      continue;
    }
    std::string word;
    for (char quote = 0; i < text.size() && (quote || text[i] != ' '); i++) {
      if (quote ? text[i] == quote : text[i] == '"' || text[i] == '\'') {
        quote = quote ? 0 : text[i];
      } else {
        word += text[i];
      }
    }
    words.push_back(word);
  }
  return words;
}
