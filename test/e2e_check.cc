// ignix-check: what it finds in files that are whole, torn and damaged, and what it makes of them.
#include <stdlib.h>

#include "client.h"
#include "durability/room.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

// $IGNIX_CHECK, or the one beside the server.
std::string check_path() {
  const char* from_environment = getenv("IGNIX_CHECK");
  return from_environment ? from_environment : ignix_path() + "-check";
}

Output run_check(std::vector<std::string> arguments, std::string_view input = "") {
  arguments.insert(arguments.begin(), check_path());
  return run_program(arguments, input);
}

std::string new_file(std::string_view content) {
  const std::string path = fresh_dir("file") + "/ignix.aof";
  write_file(path, content);
  return path;
}

void expect(const Output& output, int status, std::string_view text) {
  CHECK_EQ(output.text, text);
  CHECK_EQ(output.status, status);
}

void expect_part(const Output& output, int status, std::string_view part) {
  if (output.text.find(part) == std::string::npos) FAIL("no " + quote(part) + " in " + output.text);
  CHECK_EQ(output.status, status);
}

// "PATH: STATE\n" of a file that holds `content`.
void expect_state(std::string_view content, int status, const std::string& state) {
  const std::string path = new_file(content);
  expect(run_check({path}), status, path + ": " + state + "\n");
  CHECK(read_file(path) == content);
}

const std::string kFirst = encode({"SET", "a", "1"});
const std::string kMulti = encode({"MULTI"}), kExec = encode({"EXEC"});
const std::string kThree = kFirst + encode({"SET", "b", "2"}) + encode({"DEL", "b"});

// Version 10; 'short' expires; without a checksum.
std::string small_rdb() {
  const std::string checksum(8, '\0');
  const std::string database("\xfe\0\xfb\2\1", 5);
  const std::string expiry("\xfc\1\0\0\0\0\0\0\0", 9);
  return "REDIS0010" + database + std::string("\0\1a\1b", 5) + expiry +
         std::string("\0\5short\xc0\7", 9) + "\xff" + checksum;
}

// What it says does not go into the file that got the number of a closed descriptor.
TEST(check, closed_standard_error) {
  const std::string damaged = small_rdb().substr(0, 30);
  const std::string path = new_file(damaged);
  run_program({"/bin/sh", "-c",
               "exec '" + check_path() + "' --fix --yes " + path + " </dev/null >/dev/null 2>&-"});
  CHECK(read_file(path) == damaged);
}

TEST(check, whole_files) {
  expect_state("", 0, "append-only file, 0 records, 0 bytes: whole");
  expect_state(kFirst, 0, "append-only file, 1 record, 27 bytes: whole");
  expect_state(kThree, 0, "append-only file, 3 records, 74 bytes: whole");
  expect_state(kMulti + kFirst + kExec, 0, "append-only file, 3 records, 56 bytes: whole");
  expect_state(small_rdb(), 0, "RDB file, 2 keys, 46 bytes: whole");
}

// Room for more records, behind the last one.
TEST(check, files_with_room) {
  std::string whole = kThree;
  const size_t end = whole.size();
  whole.append(ignix::room_padding(end), '\n');
  ignix::put_room_padding(whole.data() + end, whole.size() - end);
  const size_t lines = whole.size();
  whole.resize(4096);
  ignix::put_room(ignix::draw_room_number(), lines, whole.data() + lines, 4096 - lines);
  expect_state(whole, 0,
               "append-only file, 3 records, 4096 bytes: whole, with room for more behind byte 74");
  std::string torn = whole;
  torn.replace(end, 512 - end, encode({"SET", "a", std::string(1000, 'x')}), 0, 512 - end);
  expect_state(torn, 1,
               "append-only file, 3 records, 4096 bytes: torn at byte 74: not a whole record, "
               "438 bytes");
  const std::string path = new_file(torn);
  CHECK_EQ(run_check({"--fix", "--yes", path}).status, 0);
  CHECK(read_file(path) == kThree);
}

TEST(check, files_of_a_server) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  CHECK_EQ(client.command({"BGREWRITEAOF"}), "+Background append only file rewriting started\r\n");
  CHECK(server.wait_log("rewriting the append-only file is done"));
  const std::string path = server.dir() + "/ignix.aof";
  expect_part(run_check({path}), 0,
              "append-only file that begins as an RDB file, 1 key and 0 records, ");
  CHECK_EQ(client.command({"SET", "b", "1"}), kOk);
  const Output output = run_check({path, server.dir() + "/dump.rdb"});
  expect_part(output, 0, "append-only file that begins as an RDB file, 1 key and 1 record, ");
  expect_part(output, 0, "/dump.rdb: RDB file, 1 key, ");
}

TEST(check, files_of_redis) {
  need_redis();
  Server redis({.program = Program::kRedis});
  redis.start();
  Client client(redis);
  CHECK_EQ(client.command({"SET", "a", std::string(300, 'x')}), kOk);
  CHECK_EQ(client.command({"SET", "b", "12345", "PX", "1000000"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  const std::string path = redis.dir() + "/dump.rdb";
  expect_part(run_check({path}), 0, "RDB file, 2 keys, ");
  CHECK_EQ(client.command({"XADD", "a stream", "*", "field", "value"}).substr(0, 1), "$");
  CHECK_EQ(client.command({"FUNCTION", "LOAD",
                           "#!lua name=lib\nredis.register_function('f', function() end)"}),
           bulk("lib"));
  CHECK_EQ(client.command({"SAVE"}), kOk);
  expect_part(run_check({path}), 2, "a library of functions, which Ignix does not have");
}

TEST(check, torn_files) {
  expect_state(kFirst + "*", 1,
               "append-only file, 1 record, 28 bytes: torn at byte 27: not a whole record, 1 byte");
  expect_state(
      kThree.substr(0, 60), 1,
      "append-only file, 2 records, 60 bytes: torn at byte 54: not a whole record, 6 bytes");
  expect_state(kFirst + std::string(5000, '\0'), 1,
               "append-only file, 1 record, 5027 bytes: torn at byte 27: zeros to the end, "
               "5000 bytes");
  for (const std::string& end : {std::string(), kFirst, kFirst.substr(0, 9), std::string(9, '\0')})
    expect_part(
        run_check({new_file(kFirst + kMulti + end)}), 1,
        "torn at byte 27: a MULTI without EXEC, " + std::to_string(15 + end.size()) + " bytes");
}

TEST(check, damaged_files) {
  std::string damaged = kThree;
  damaged[27] = '+';
  expect_state(damaged, 1,
               "append-only file, 1 record, 74 bytes: damaged at byte 27: expected '*'; the last "
               "whole record ends at byte 27, 47 bytes before the end");
  expect_part(run_check({new_file(kMulti + damaged)}), 1,
              "damaged at byte 42: expected '*'; the last whole record ends at byte 0, 89 bytes");
  expect_part(run_check({new_file(kFirst + kExec)}), 1, "at byte 27: an EXEC without MULTI");
  expect_part(run_check({new_file(kMulti + kMulti)}), 1, "at byte 15: a MULTI within another");
  expect_part(run_check({new_file(kFirst + encode({"SELECT", "x"}))}), 1,
              "at byte 27: a SELECT of no database");
  expect_part(run_check({new_file("# a text\n")}), 1, "neither an append-only file nor an RDB");
  const std::string zeros = new_file(std::string(100, '\0'));
  expect_part(run_check({"--fix", "--yes", zeros}), 1, "damaged at byte 0: a zero byte");
  CHECK_EQ(read_file(zeros).size(), 100u);
}

TEST(check, damaged_rdb_files) {
  const std::string rdb = small_rdb();
  for (size_t bytes = 5; bytes < rdb.size(); bytes++) {
    const Output output = run_check({new_file(rdb.substr(0, bytes))});
    expect_part(output, 1, ": torn: it ends within what starts at byte ");
  }
  Server server;
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "key", "value"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  std::string saved = read_file(server.dir() + "/dump.rdb");
  saved[saved.find("value")] = 'V';
  const std::string path = new_file(saved);
  expect_part(run_check({path}), 1, ": the checksum is wrong");
  expect_part(run_check({"--fix", "--yes", path}), 1,
              "only the records of an append-only file can be cut");
  CHECK(read_file(path) == saved);
  expect_part(run_check({new_file("REDIS0099")}), 2, "version 99 of the format");
}

// Wherever the end was torn off, a server that does not cut it itself loads what is left.
void fix_and_load(const std::string& before, const std::string& last, size_t bytes) {
  const std::string dir = fresh_dir("torn"), path = dir + "/ignix.aof";
  write_file(path, before + last.substr(0, bytes));
  Server server({.arguments = {"--aof-load-truncated", "no"}, .appendonly = true, .dir = dir});
  CHECK(!server.try_start());
  CHECK(server.error_output().find("ignix-check") != std::string::npos);
  const std::string lost = std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
  const std::string place = std::to_string(before.size());
  const Output output = run_check({"--fix", "--yes", path});
  expect_part(output, 0, path + ": to be cut off behind byte " + place + ": " + lost + "\n");
  expect_part(output, 0, path + ": cut off: " + lost + "\n");
  CHECK(read_file(path) == before);
  expect_part(run_check({"--fix", path}), 0, ": whole\n");
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
  CHECK_EQ(client.command({"EXISTS", "torn"}), integer(0));
}

TEST(check, fixed_files_are_loaded) {
  const std::string last = encode({"SET", "torn", "x"});
  for (const size_t bytes : {size_t(1), size_t(4), size_t(13), last.size() - 1})
    fix_and_load(kFirst, last, bytes);
  fix_and_load(kFirst, std::string(5000, '\0'), 5000);
}

// A log of which nothing is left does not give way to an older RDB file.
TEST(check, fixed_at_its_first_record) {
  const std::string dir = fresh_dir("first"), path = dir + "/ignix.aof";
  Server server({.appendonly = true, .dir = dir});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "old", "1"}), kOk);
  CHECK_EQ(client.command({"SAVE"}), kOk);
  server.kill9();
  for (const std::string& torn :
       {std::string("*3\r\n$3\r\nSET\r\n$1"), encode({"MULTI"}) + encode({"SET", "a", "1"})}) {
    write_file(path, torn);
    expect_part(run_check({"--fix", "--yes", path}), 0, ": cut off: ");
    server.start();
    client.connect(server);
    CHECK_EQ(client.command({"DBSIZE"}), integer(0));
    server.kill9();
  }
}

TEST(check, fixes_behind_an_rdb_part) {
  Server server({.appendonly = true});
  server.start();
  {
    Client client(server);
    CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
    CHECK_EQ(client.command({"BGREWRITEAOF"}).substr(0, 1), "+");
    CHECK(server.wait_log("rewriting the append-only file is done"));
  }
  server.kill9();
  const std::string rdb = read_file(server.dir() + "/ignix.aof");
  CHECK_EQ(rdb.substr(0, 5), "REDIS");
  const std::string last = encode({"SET", "torn", "x"});
  fix_and_load(rdb, last, 1);
  fix_and_load(rdb + encode({"SET", "b", "2"}), last, last.size() - 1);
}

TEST(check, fixes_damage_in_the_middle) {
  std::string damaged = kThree;
  damaged[27] = '+';
  const std::string path = new_file(damaged);
  expect_part(run_check({"--fix", path}, "y\n"), 0, "all that stands behind it is lost as well");
  CHECK(read_file(path) == kFirst);
}

TEST(check, half_groups_are_cut) {
  const std::string path = new_file(kFirst + kMulti + kThree + "*1\r\n");
  expect_part(run_check({"--fix", "--yes", path}), 0, "cut off: 93 bytes");
  CHECK(read_file(path) == kFirst);
}

TEST(check, asks_before_it_cuts) {
  const std::string torn = kFirst + "*3\r\n", path = new_file(torn);
  for (const char* answer : {"n\n", "", "\n", "yes\n", "N\n", " y\n"}) {
    const Output output = run_check({"--fix", path}, answer);
    expect_part(output, 1, "Cut it off? [y/N] ");
    expect_part(output, 1, path + ": left as it is\n");
    CHECK(read_file(path) == torn);
  }
  for (const char* answer : {"y\n", "Y\n", "y"}) {
    write_file(path, torn);
    expect_part(run_check({"--fix", path}, answer), 0, path + ": cut off: 4 bytes\n");
    CHECK(read_file(path) == kFirst);
  }
}

// A text given by mistake would be gone.
TEST(check, does_not_cut_what_is_no_such_file) {
  for (const char* text : {"# a text\n", "* a list\n* of words\n"}) {
    const std::string path = new_file(text);
    expect_part(run_check({"--fix", "--yes", path}), 1, "it was left as it is");
    CHECK_EQ(read_file(path), text);
  }
}

TEST(check, does_not_fix_under_a_running_server) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  const std::string path = server.dir() + "/ignix.aof";
  expect(run_check({"--fix", "--yes", path}), 2,
         "ignix-check: '" + path + "': cannot lock it: a running Ignix uses it\n");
  expect_part(run_check({path}), 0, ": whole\n");
}

TEST(check, dumps_records) {
  const std::string odd = std::string("\0\x7f\xff", 3) + "\r\n\t\a\b\"\\' z";
  const std::string last = encode({"DEL", "torn"});
  const std::string path =
      new_file(kFirst + encode({"SELECT", "3"}) + encode({"set", odd, ""}) +
               encode({"SET", std::string(100, 'k'), std::string(101, 'v')}) + last.substr(0, 9));
  const std::string lines =
      "0 0 \"SET\" \"a\" \"1\"\n"
      "27 3 \"SELECT\" \"3\"\n"
      "50 3 \"set\" \"\\x00\\x7f\\xff\\r\\n\\t\\a\\b\\\"\\\\' z\" \"\"\n"
      "89 3 \"SET\" \"" +
      std::string(100, 'k') + "\" \"" + std::string(100, 'v') + "\"... (101 bytes)\n";
  expect(run_check({"--dump", path}), 1,
         lines + "ignix-check: '" + path +
             "': append-only file, 4 records, 328 bytes: torn at byte 319: not a whole record, "
             "9 bytes\n");
}

TEST(check, dumps_rdb_files_and_what_follows) {
  const std::string entries = "14 0 \"a\" \"b\"\n28 0 \"short\" \"7\" PXAT 1\n";
  const std::string rdb = small_rdb();
  expect(run_check({"--dump", new_file(rdb)}), 0, entries);
  expect(run_check({"--dump", new_file(rdb + kFirst)}), 0, entries + "46 0 \"SET\" \"a\" \"1\"\n");
}

TEST(check, usage) {
  for (const char* option : {"--help", "-h"}) {
    expect_part(run_check({option}), 0, "Usage: ignix-check [--dump | --fix [--yes]] FILE ...\n");
  }
  expect_part(run_check({"--version"}), 0, "ignix-check ");
  expect(run_check({}), 2, "ignix-check: no file is named; see ignix-check --help\n");
  expect(run_check({"--bogus", "x"}), 2,
         "ignix-check: unknown option '--bogus'; see ignix-check --help\n");
  expect_part(run_check({"--yes", "x"}), 2, "--yes is for --fix only");
  expect_part(run_check({"--fix", "--dump", "x"}), 2, "--fix and --dump do not go together");
  expect(run_check({"nosuch"}), 2,
         "ignix-check: 'nosuch': cannot open it: No such file or directory\n");
  expect(run_check({"/dev/null"}), 2, "ignix-check: '/dev/null': not a regular file\n");
  expect(run_check({"/"}), 2, "ignix-check: '/': not a regular file\n");
  expect(run_check({"--", "--fix"}), 2,
         "ignix-check: '--fix': cannot open it: No such file or directory\n");
}

// The worst of them counts.
TEST(check, several_files) {
  const std::string whole = new_file(kFirst), torn = new_file(kFirst + "*");
  CHECK_EQ(run_check({whole, torn, whole}).status, 1);
  CHECK_EQ(run_check({torn, "nosuch", whole}).status, 2);
}

}  // namespace
}  // namespace test
