// The one writer of replies, in RESP2 or RESP3 as the client has chosen. It appends to the
// connection's output; what RESP2 lacks (maps, sets, nulls) it writes in RESP2's way.
//
// If there is no memory for a reply, the writer drops what it cannot hold and remembers it:
// failed() is then true and the connection must be closed, since its replies are out of step.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/output.h"

namespace ignix {

class Reply {
 public:
  Reply(Output& out, int protocol) : out_(out), protocol_(protocol) {}

  void ok() { raw("+OK\r\n"); }
  void simple(std::string_view text);  // +text; no line ends within
  void error(std::string_view text);   // -text; `text` starts with its code, as "ERR ..."
  void integer(int64_t value);
  void bulk(std::string_view bytes);
  void shared(const SharedBytes& reply);  // a whole reply; not copied
  void bulk_integer(int64_t value);       // a number as a bulk string
  void verbatim(std::string_view text);   // text for people ("txt"); a bulk string in RESP2
  void null();                            // no value
  void null_array();
  void array(int64_t elements);
  void set(int64_t elements);
  void map(int64_t pairs);           // an array of twice the length in RESP2
  void boolean(bool value);          // 1 or 0 in RESP2
  void raw(std::string_view bytes);  // complete RESP

  // printf's format. A part that comes from outside may hold line ends: they become spaces,
  // or go where they are the last.
  void errorf(const char* format, ...) __attribute__((format(printf, 2, 3)));

  // Takes back what was written since mark(), for a command that fails after it began to reply.
  size_t mark() const { return out_.size(); }
  void rollback(size_t mark) { out_.truncate(mark); }

  int protocol() const { return protocol_; }
  void set_protocol(int protocol) { protocol_ = protocol; }
  bool failed() const { return failed_; }
  unsigned errors() const { return errors_; }  // written so far

 private:
  void header(char kind, int64_t number);

  Output& out_;
  int protocol_;
  bool failed_ = false;
  unsigned errors_ = 0;
};

}  // namespace ignix
