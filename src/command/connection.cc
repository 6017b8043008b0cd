// What a client says about its own connection.
#include <algorithm>
#include <string>

#include "base/number.h"
#include "base/version.h"
#include "command/access.h"
#include "command/handlers.h"
#include "command/transaction.h"

namespace ignix {
namespace {

// Names appear in the lines of CLIENT LIST, so they hold nothing that would break those.
bool printable_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
}

bool check_name_length(Call& call, std::string_view name) {
  if (name.size() <= kClientNameBytesMax) return true;
  call.reply.errorf("ERR a name of more than %zu bytes", kClientNameBytesMax);
  return false;
}

bool set_client_name(Call& call, std::string_view name) {
  if (!check_name_length(call, name)) return false;
  if (!printable_name(name)) {
    call.reply.error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  SpinGuard guard(call.session.names_lock);
  call.session.name = name;
  return true;
}

void set_protocol(Call& call, int protocol) {
  call.session.protocol.store(protocol, std::memory_order_relaxed);
  call.reply.set_protocol(protocol);
}

// HELLO's words. `protocol` is 0 if none is asked for. False, and the error is replied, if one is
// wrong; as in Redis, a name in front of a wrong word has been set.
bool take_hello_options(Call& call, int64_t& protocol) {
  const std::string_view* words = call.words;
  protocol = 0;
  if (call.word_count > 1) {
    if (!parse_integer(words[1], protocol)) {
      call.reply.error("ERR Protocol version is not an integer or out of range");
      return false;
    }
    if (protocol < 2 || protocol > 3) {
      call.reply.error("NOPROTO unsupported protocol version");
      return false;
    }
  }
  for (size_t i = 2; i < call.word_count; i++) {
    const size_t left = call.word_count - i - 1;
    if (left >= 2 && equal_ignoring_case(words[i], "auth")) {
      // There is one user, who has no password: any will do, as in Redis.
      if (words[i + 1] != "default") {
        call.reply.error("WRONGPASS invalid username-password pair or user is disabled.");
        return false;
      }
      i += 2;
    } else if (left >= 1 && equal_ignoring_case(words[i], "setname")) {
      if (!set_client_name(call, words[++i])) return false;
    } else {
      call.reply.errorf("ERR Syntax error in HELLO option '%.*s'", int(words[i].size()),
                        words[i].data());
      return false;
    }
  }
  return true;
}

}  // namespace

void run_ping(Call& call) {
  if (call.word_count > 2) return reply_wrong_arity(call);
  if (call.word_count == 2) return call.reply.bulk(call.words[1]);
  call.reply.simple("PONG");
}

void run_echo(Call& call) { call.reply.bulk(call.words[1]); }

void run_select(Call& call) {
  int db;
  if (!database_argument(call, call.words[1], db)) return;
  call.session.db.store(db, std::memory_order_relaxed);
  call.reply.ok();
}

void run_quit(Call& call) {
  call.reply.ok();
  call.session.close_after_reply = true;
}

void run_reset(Call& call) {
  drop_transaction(call.env, call.session);
  call.session.db.store(0, std::memory_order_relaxed);
  call.session.replies &= Session::kRepliesSkip;
  set_client_name(call, "");
  set_protocol(call, 2);
  call.reply.simple("RESET");
}

void run_hello(Call& call) {
  int64_t protocol;
  if (!take_hello_options(call, protocol)) return;
  if (protocol) set_protocol(call, int(protocol));
  Reply& reply = call.reply;
  reply.map(7);
  reply.bulk("server");
  reply.bulk("redis");
  reply.bulk("version");
  reply.bulk(kRedisVersion);
  reply.bulk("proto");
  reply.integer(reply.protocol());
  reply.bulk("id");
  reply.integer(int64_t(call.session.id));
  reply.bulk("mode");
  reply.bulk("standalone");
  reply.bulk("role");
  reply.bulk("master");
  reply.bulk("modules");
  reply.array(0);
}

void run_client_id(Call& call) { call.reply.integer(int64_t(call.session.id)); }

void run_client_getname(Call& call) {
  if (call.session.name.empty()) return call.reply.null();
  call.reply.bulk(call.session.name);
}

void run_client_setname(Call& call) {
  if (set_client_name(call, call.words[2])) call.reply.ok();
}

// Redis 7.2's; newer clients send it by themselves after connecting.
void run_client_setinfo(Call& call) {
  const bool is_name = equal_ignoring_case(call.words[2], "lib-name");
  if (!is_name && !equal_ignoring_case(call.words[2], "lib-ver")) {
    return call.reply.errorf("ERR Unrecognized option '%.*s'", int(call.words[2].size()),
                             call.words[2].data());
  }
  if (!check_name_length(call, call.words[3])) return;
  if (!printable_name(call.words[3])) {
    return call.reply.errorf("ERR %s cannot contain spaces, newlines or special characters.",
                             is_name ? "lib-name" : "lib-ver");
  }
  {
    SpinGuard guard(call.session.names_lock);
    (is_name ? call.session.library_name : call.session.library_version) = call.words[3];
  }
  call.reply.ok();
}

void run_client_reply(Call& call) {
  const std::string_view mode = call.words[2];
  uint8_t& replies = call.session.replies;
  if (equal_ignoring_case(mode, "on")) {
    replies &= ~(Session::kRepliesOff | Session::kRepliesSkip);
    call.reply.ok();
  } else if (equal_ignoring_case(mode, "off")) {
    replies |= Session::kRepliesOff;
  } else if (equal_ignoring_case(mode, "skip")) {
    if (!(replies & Session::kRepliesOff)) replies |= Session::kRepliesSkipNext;
  } else {
    reply_syntax_error(call);
  }
}

void run_client_help(Call& call) {
  static constexpr const char* kLines[] = {
      "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "GETNAME",
      "    The name of this connection.",
      "ID",
      "    The number of this connection.",
      "INFO",
      "    What is known of this connection.",
      "KILL <ip:port>",
      "    Close the connection that comes from there.",
      "KILL <option> <value> [<option> <value> ...]",
      "    Close the connections that fit all options: ADDR <ip:port>, ID <id>, LADDR <ip:port>,",
      "    SKIPME YES|NO, TYPE NORMAL|MASTER|REPLICA|PUBSUB, USER <name>.",
      "LIST [TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID <id> [<id> ...]]",
      "    What is known of all connections, or of some.",
      "REPLY ON|OFF|SKIP",
      "    Whether this connection gets replies.",
      "SETINFO LIB-NAME|LIB-VER <value>",
      "    Name the client library and its version.",
      "SETNAME <name>",
      "    Name this connection.",
      "HELP",
      "    Print this help.",
      nullptr};
  reply_help(call, kLines);
}

}  // namespace ignix
