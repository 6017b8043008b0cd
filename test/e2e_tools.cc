// Redis's own tools and a client library talk to ignix as to Redis. Skipped where they are not
// installed.
#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

std::string need_program(const std::string& name) {
  std::string path = find_program(name);
  if (path.empty()) SKIP(name + " not installed");
  return path;
}

TEST(tools, redis_cli_piped) {
  std::string cli = need_program("redis-cli");
  Server server;
  server.start();
  Output output = run_program(
      {cli, "-s", server.unix_path()},
      "SET a \"b c\"\nGET a\nGET nope\nINCR n\nMGET a n nope\nNOSUCH\nSELECT 3\nDBSIZE\n");
  CHECK_EQ(output.status, 0);
  CHECK_EQ(output.text,
           "OK\nb c\n\n1\nb c\n1\n\nERR unknown command 'NOSUCH', with args beginning with: \n\n"
           "OK\n0\n");
}

TEST(tools, redis_cli_in_resp3) {
  std::string cli = need_program("redis-cli");
  Server server;
  server.start();
  Output output = run_program({cli, "-3", "--no-raw", "-s", server.unix_path(), "MGET", "a", "b"});
  CHECK_EQ(output.text, "1) (nil)\n2) (nil)\n");
}

TEST(tools, redis_cli_pipe_mode) {
  std::string cli = need_program("redis-cli");
  Server server;
  server.start();
  std::string input;
  for (int i = 0; i < 10'000; i++) append_encoded({"SET", "k" + std::to_string(i), "v"}, &input);
  Output output = run_program({cli, "-s", server.unix_path(), "--pipe"}, input);
  CHECK_EQ(output.status, 0);
  CHECK(output.text.find("errors: 0, replies: 10000") != std::string::npos);
  Client client(server);
  CHECK_EQ(client.command({"DBSIZE"}), integer(10'000));
}

TEST(tools, redis_benchmark) {
  std::string benchmark = need_program("redis-benchmark");
  Server server({.tcp = true, .appendonly = true});
  server.start();
  Output output = run_program({benchmark, "-p", std::to_string(server.port()), "-q", "-P", "16",
                               "-n", "20000", "-t", "ping,set,get,incr,mset"},
                              "", 50);
  CHECK_EQ(output.status, 0);
  for (const char* word : {"WARNING", "rror", "ERR"})
    if (output.text.find(word) != std::string::npos) FAIL(quote(output.text, 4000));
  for (const char* line :
       {"PING_INLINE: ", "PING_MBULK: ", "SET: ", "GET: ", "INCR: ", "MSET (10 keys): "})
    if (output.text.find(line) == std::string::npos)
      FAIL("no " + quote(line) + " in " + quote(output.text, 4000));
  Client client(server);
  CHECK_EQ(client.command({"GET", "counter:__rand_int__"}), bulk("20000"));
}

TEST(tools, python_client) {
  // Debian's package is for Debian's Python; another one may stand first in the PATH.
  std::string python = need_program("python3");
  if (run_program({python, "-c", "import redis"}).status != 0) python = "/usr/bin/python3";
  if (run_program({python, "-c", "import redis"}).status != 0) SKIP("no Python package redis");
  Server server;
  server.start();
  Output output =
      run_program({python, "-c",
                   "import redis, sys\n"
                   "for protocol in (2, 3):\n"
                   "    try:\n"
                   "        r = redis.Redis(unix_socket_path=sys.argv[1], protocol=protocol)\n"
                   "    except TypeError:\n"
                   "        r = redis.Redis(unix_socket_path=sys.argv[1])\n"
                   "    assert r.ping()\n"
                   "    assert r.set('a', b'\\x00\\xff', ex=1000)\n"
                   "    assert r.get('a') == b'\\x00\\xff'\n"
                   "    assert r.mget('a', 'nope') == [b'\\x00\\xff', None]\n"
                   "    assert r.incr('n') >= 1\n"
                   "    assert r.delete('a', 'nope') == 1\n"
                   "    p = r.pipeline(transaction=False)\n"
                   "    for i in range(100): p.set(i, i)\n"
                   "    assert p.execute() == [True] * 100\n"
                   "    assert r.info()['connected_clients'] >= 1\n"
                   "    assert r.dbsize() >= 100\n"
                   "print('fine')\n",
                   server.unix_path()});
  CHECK_EQ(output.text, "fine\n");
}

}  // namespace
}  // namespace test
