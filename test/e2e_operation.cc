// Starting, options, the configuration file, start-up errors, the second server, the end.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "runner.h"
#include "server.h"

namespace test {
namespace {

const std::string kPong = "+PONG\r\n";

std::string list_of(const std::string& dir) { return run_program({"/bin/ls", "-A", dir}).text; }

// One clear line on stderr that names the thing, exit status not 0, nothing left behind.
void expect_refused(ServerOptions options, const std::vector<std::string>& named) {
  Server server(std::move(options));
  std::string before = list_of(server.dir());
  if (server.try_start()) FAIL("the server started, but should have refused " + quote(named[0]));
  int status = server.wait_exit();
  std::string errors = server.error_output();
  if (status == 0 || status >= 126) FAIL("exit status " + std::to_string(status));
  for (const std::string& text : named)
    if (errors.find(text) == std::string::npos) FAIL("no " + quote(text) + " in " + quote(errors));
  CHECK(!errors.empty() && errors.back() == '\n');
  CHECK_EQ(list_of(server.dir()), before);
}

// The same, and nothing but that line. For what is wrong before the server has begun to do
// anything.
void expect_usage_error(std::vector<std::string> arguments, const std::vector<std::string>& named) {
  ServerOptions options{.arguments = std::move(arguments), .unix_socket = false, .bare = true};
  expect_refused(options, named);
  Server server(options);
  CHECK(!server.try_start());
  std::string errors = server.error_output();
  if (errors.find('\n') != errors.size() - 1) FAIL("more than one line: " + quote(errors));
}

TEST(operation, unknown_options) {
  expect_usage_error({"--no-such-option", "1"}, {"no-such-option"});
  expect_usage_error({"--port", "0", "--frobnicate"}, {"frobnicate"});
}

TEST(operation, bad_values) {
  expect_usage_error({"--port", "abc"}, {"port", "abc"});
  expect_usage_error({"--port", "65536"}, {"port", "65536"});
  expect_usage_error({"--port", "-1"}, {"port", "-1"});
  expect_usage_error({"--port", ""}, {"port"});
  expect_usage_error({"--port"}, {"port"});
  expect_usage_error({"--threads", "100000"}, {"threads", "100000"});
  expect_usage_error({"--threads", "x"}, {"threads", "x"});
  expect_usage_error({"--databases", "0"}, {"databases", "0"});
  expect_usage_error({"--appendonly", "maybe"}, {"appendonly", "maybe"});
  expect_usage_error({"--appendfsync", "sometimes"}, {"appendfsync", "sometimes"});
  expect_usage_error({"--appendfilename", "a/b"}, {"appendfilename"});
  expect_usage_error({"--loglevel", "loud"}, {"loglevel", "loud"});
  expect_usage_error({"--maxclients", "99999999999999999999"}, {"maxclients"});
  expect_usage_error({"--proto-max-bulk-len", "12xb"}, {"proto-max-bulk-len", "12xb"});
  expect_usage_error({"--timeout", "-5"}, {"timeout", "-5"});
  expect_usage_error({"--dbfilename", "ignix.aof"}, {"dbfilename", "ignix.aof"});
  expect_usage_error({"--appendfilename", "a", "--dbfilename", "a.rewrite"}, {"a.rewrite"});
  expect_usage_error({"--appendfilename", "a", "--dbfilename", "a.fsync-failed"}, {"a.fsync"});
  expect_usage_error({"--aclfile", "users.acl"}, {"aclfile"});
  expect_usage_error({"--cluster-enabled", "yes"}, {"cluster-enabled yes"});
  expect_usage_error({"--min-replicas-to-write", "1"}, {"min-replicas-to-write 1"});
  expect_usage_error({"--requirepass", "secret"}, {"requirepass", "not supported"});
  expect_usage_error({"--tls-port", "1"}, {"tls-port", "not supported"});
}

TEST(operation, places_that_cannot_be_used) {
  expect_refused({.arguments = {"--dir", "/no/such/directory"}}, {"/no/such/directory"});
  expect_refused({.arguments = {"--dir", "/dev/null"}}, {"/dev/null"});
  expect_refused({.arguments = {"--unixsocket", "/no/such/directory/socket"}},
                 {"/no/such/directory/socket"});
  expect_refused({.arguments = {"--unixsocket", "/tmp/" + std::string(200, 'x')}}, {"xxxx"});
  expect_refused({.arguments = {"--port", std::to_string(free_port()), "--bind", "192.0.2.1"}},
                 {"192.0.2.1"});
  expect_refused({.arguments = {"--port", "1", "--bind", "not-an-address"}}, {"not-an-address"});
}

TEST(operation, unusable_aof) {
  ServerOptions options{.appendonly = true, .dir = fresh_dir("directory-as-aof")};
  CHECK_EQ(mkdir((options.dir + "/ignix.aof").c_str(), 0700), 0);
  expect_refused(options, {"ignix.aof"});
  if (geteuid() == 0) return;  // root may read everything
  options.dir = fresh_dir("unreadable-aof");
  write_file(options.dir + "/ignix.aof", "");
  chmod((options.dir + "/ignix.aof").c_str(), 0);
  expect_refused(options, {"ignix.aof"});
}

TEST(operation, configuration_file) {
  ServerOptions options{.unix_socket = false, .dir = fresh_dir("configured"), .bare = true};
  std::string socket = options.dir + "/a socket";
  options.config_file = options.dir + "/ignix.conf";
  write_file(options.config_file,
             "# a comment\n"
             "\n"
             "   # another\n"
             "port 0\n"
             "unixsocket \"" +
                 socket +
                 "\"\n"
                 "\tMaxClients   77\r\n"
                 "dir '" +
                 options.dir +
                 "'\n"
                 "appendonly no\n"
                 "proto-max-bulk-len 2MB\n"
                 "save \"\"\n"
                 "databases 4");  // no line end at the end
  Server server(options);
  server.start();
  Client client;
  CHECK(client.connect_unix(socket));
  CHECK_EQ(client.command({"CONFIG", "GET", "maxclients"}),
           array({bulk("maxclients"), bulk("77")}));
  CHECK_EQ(client.command({"SELECT", "4"}), "-ERR DB index is out of range\r\n");
  CHECK(!file_exists(options.dir + "/ignix.aof"));
  CHECK(client.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2097153\r\n"));
  CHECK_EQ(client.read_until_close(), "-ERR Protocol error: invalid bulk length\r\n");
}

// What the server writes for other purposes than the data does not go into its files, under
// whatever name.
TEST(operation, files_are_different_ones) {
  const std::string dir = fresh_dir("different");
  const std::string aof = dir + "/ignix.aof", text = encode({"SET", "a", "1"});
  write_file(aof, text);
  CHECK_EQ(symlink("ignix.aof", (dir + "/link").c_str()), 0);
  const std::string roundabout =
      dir + "/../" + dir.substr(dir.rfind('/') + 1) + "/ignix.aof.rewrite";
  for (const std::string option : {"--pidfile", "--logfile", "--unixsocket"}) {
    for (const std::string& path :
         {std::string("ignix.aof"), std::string("./dump.rdb"), aof, dir + "/link", roundabout}) {
      const Output output = run_program({ignix_path(), "--port", "0", "--dir", dir, option, path});
      CHECK_EQ(output.status, 1);
      CHECK(output.text.find(option.substr(2) + " is '" + path + "', a file that ") !=
            std::string::npos);
    }
  }
  CHECK_EQ(read_file(aof), text);
}

// Where there is no log and nothing is said about saving, it is done as by Redis.
TEST(operation, saves_by_rules_without_a_log) {
  const std::string dir = fresh_dir("rules");
  const auto rules = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--port", "0", "--unixsocket", dir + "/socket"});
    Server server({.arguments = arguments, .dir = dir, .bare = true});
    server.start();
    Client client;
    CHECK(client.connect_unix(dir + "/socket"));
    return client.command({"CONFIG", "GET", "save"});
  };
  const auto answer = [](const char* text) { return array({bulk("save"), bulk(text)}); };
  CHECK_EQ(rules({"--appendonly", "no"}), answer("3600 1 300 100 60 10000"));
  CHECK_EQ(rules({"--appendonly", "no", "--save", ""}), answer(""));
  CHECK_EQ(rules({"--save", "9 9", "--appendonly", "no"}), answer("9 9"));
  CHECK_EQ(rules({"--appendonly", "yes"}), answer(""));
}

TEST(operation, options_go_before_the_configuration_file) {
  ServerOptions options{.arguments = {"--maxclients", "55"}, .dir = fresh_dir("configured")};
  options.config_file = options.dir + "/ignix.conf";
  write_file(options.config_file, "maxclients 77\n");
  Server server(options);
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CONFIG", "GET", "maxclients"}),
           array({bulk("maxclients"), bulk("55")}));
}

TEST(operation, bad_configuration_files) {
  std::string dir = fresh_dir("bad");
  expect_usage_error({dir + "/missing.conf"}, {dir + "/missing.conf"});
  expect_usage_error({dir}, {dir});
  write_file(dir + "/unknown.conf", "port 0\n# fine\nno-such-thing 1\n");
  expect_usage_error({dir + "/unknown.conf"}, {"unknown.conf", "3", "no-such-thing"});
  write_file(dir + "/value.conf", "port eleven\n");
  expect_usage_error({dir + "/value.conf"}, {"value.conf", "1", "port", "eleven"});
  write_file(dir + "/quotes.conf", "port 0\nunixsocket \"/tmp/x\n");
  expect_usage_error({dir + "/quotes.conf"}, {"quotes.conf", "2"});
}

TEST(operation, second_server_on_the_same_port) {
  Server first({.tcp = true, .unix_socket = false});
  first.start();
  Client client(first);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  std::string port = std::to_string(first.port());
  for (const char* address : {"127.0.0.1", "0.0.0.0"})
    expect_refused({.arguments = {"--port", port, "--bind", address}, .unix_socket = false},
                   {port});
  for (int i = 0; i < 50; i++) {
    Client again(first);
    CHECK_EQ(again.command({"GET", "a"}), bulk("1"));
  }
}

TEST(operation, second_server_on_the_same_socket) {
  Server first;
  first.start();
  expect_refused({.arguments = {"--unixsocket", first.unix_path()}, .unix_socket = false},
                 {first.unix_path()});
  Client client(first);
  CHECK_EQ(client.command({"PING"}), kPong);
}

TEST(operation, port_is_free_again_after_the_end) {
  Server server({.tcp = true, .unix_socket = false});
  for (int i = 0; i < 3; i++) {
    server.start();
    Client client(server);
    CHECK_EQ(client.command({"PING"}), kPong);
    CHECK_EQ(server.stop(i == 1 ? SIGKILL : SIGTERM), i == 1 ? 128 + SIGKILL : 0);
  }
}

// A client that comes too late is refused at once, and not accepted by what the kernel has not yet
// closed, only to be reset.
TEST(operation, nobody_is_accepted_after_the_end) {
  Server server({.tcp = true, .unix_socket = false});
  for (int i = 0; i < 5; i++) {
    server.start();
    Client client(server), late;
    CHECK_EQ(client.command({"PING"}), kPong);
    CHECK_EQ(server.stop(), 0);
    CHECK(!late.connect_tcp("127.0.0.1", server.port()));
  }
}

TEST(operation, ends_with_clients_connected) {
  for (int signal_number : {SIGTERM, SIGINT}) {
    Server server({.arguments = {"--threads", "2"}, .tcp = true, .unix_socket = false});
    server.start();
    std::vector<Client> clients(20);
    for (Client& client : clients) {
      client.connect(server);
      CHECK_EQ(client.command({"PING"}), kPong);
    }
    CHECK_EQ(server.stop(signal_number), 0);
    for (Client& client : clients) CHECK_EQ(client.read_until_close(), "");
  }
}

TEST(operation, ends_under_load) {
  Server server({.arguments = {"--threads", "2"}, .appendonly = true});
  server.start();
  std::vector<Client> clients(4);
  std::string sent;
  for (int i = 0; i < 3000; i++) append_encoded({"INCR", "n"}, &sent);
  for (Client& client : clients) {
    client.connect(server);
    CHECK(client.send_without_reading(sent) || true);
  }
  CHECK_EQ(clients[0].read_reply()[0], ':');
  CHECK_EQ(server.stop(SIGTERM), 0);
  long answered = 1;
  for (Client& client : clients)
    while (client.read_reply()[0] == ':') answered++;
  server.restart();
  Client client(server);
  std::string reply = client.command({"GET", "n"});
  CHECK(atol(reply.substr(reply.find('\n') + 1).c_str()) >= answered);
}

TEST(operation, shutdown_command) {
  Server server({.appendonly = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", "1"}), kOk);
  std::string reply = client.command({"SHUTDOWN"});
  if (reply.find("unknown command") != std::string::npos) SKIP("SHUTDOWN is not there yet");
  CHECK_EQ(reply, Client::kClosed);
  CHECK_EQ(server.wait_exit(), 0);
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "a"}), bulk("1"));
}

TEST(operation, logs_to_a_file) {
  std::string dir = fresh_dir("logged");
  // Nothing comes through the pipe then, so a shell reads the file.
  Output output = run_program({"/bin/sh", "-c",
                               "\"$0\" --port 0 --appendonly no --unixsocket \"$1/socket\" --dir "
                               "\"$1\" --logfile \"$1/log\" & pid=$!; "
                               "while ! grep -q 'Ready to accept connections' \"$1/log\" "
                               "2>/dev/null; do kill -0 $pid || exit 9; done; "
                               "kill -TERM $pid; wait $pid",
                               ignix_path(), dir},
                              "", 30);
  CHECK_EQ(output.status, 0);
  CHECK_EQ(output.text, "");
  CHECK(read_file(dir + "/log").find("Ready to accept connections") != std::string::npos);
}

TEST(operation, version_and_help) {
  std::string program = ignix_path();
  for (const char* option : {"--version", "-v"}) {
    Output output = run_program({program, option});
    CHECK_EQ(output.status, 0);
    CHECK(output.text.find("gnix") != std::string::npos);
    CHECK_EQ(output.text.find('\n'), output.text.size() - 1);
  }
  for (const char* option : {"--help", "-h"}) {
    Output output = run_program({program, option});
    CHECK_EQ(output.status, 0);
    CHECK(output.text.find("--port") != std::string::npos ||
          output.text.find("Usage") != std::string::npos ||
          output.text.find("usage") != std::string::npos);
  }
}

// In the background it has no pipe to tell of its readiness, so a client tries until it is let in.
TEST(operation, background) {
  std::string dir = fresh_dir("background");
  Output output = run_program({ignix_path(), "--daemonize", "yes", "--port", "0", "--dir", dir,
                               "--unixsocket", dir + "/socket", "--pidfile", dir + "/pid",
                               "--logfile", dir + "/log", "--appendonly", "no"});
  CHECK_EQ(output.status, 0);
  CHECK_EQ(output.text, "");
  Client client;
  for (int i = 0; i < 3'000'000 && !client.connect_unix(dir + "/socket"); i++) {
  }
  CHECK_EQ(client.command({"PING"}), kPong);
  std::string info = client.command({"INFO", "server"});
  for (int i = 0; i < 3'000'000 && !file_exists(dir + "/pid"); i++) {
  }
  int pid = atoi(read_file(dir + "/pid").c_str());
  CHECK(info.find("process_id:" + std::to_string(pid) + "\r\n") != std::string::npos);
  CHECK(pid > 1 && kill(pid, SIGTERM) == 0);
  CHECK_EQ(client.read_until_close(), "");
  for (int i = 0; i < 1'000'000 && file_exists(dir + "/pid"); i++) {
  }
  CHECK(!file_exists(dir + "/pid"));
}

// What is written to them does not go into the file that got their number.
TEST(operation, standard_descriptors_that_are_closed) {
  const std::string dir = fresh_dir("closed"), aof = encode({"SET", "a", "1"});
  write_file(dir + "/ignix.aof", aof);
  const std::string command = "exec '" + ignix_path() + "' --port 0 --unixsocket " + dir +
                              "/socket --threads 1 --dir " + dir + " </dev/null >&- 2>&- &";
  CHECK_EQ(run_program({"/bin/sh", "-c", command}).status, 0);
  Client client;
  for (int i = 0; i < 3'000'000 && !client.connect_unix(dir + "/socket"); i++) {
  }
  std::string reply;
  while ((reply = client.command({"GET", "a"})).starts_with("-LOADING")) continue;
  CHECK_EQ(reply, bulk("1"));
  CHECK_EQ(client.command({"SHUTDOWN"}), Client::kClosed);
  CHECK(read_file(dir + "/ignix.aof") == aof);
}

TEST(operation, too_few_descriptors) {
  expect_refused({.descriptors = 33}, {"limit on open files", "33"});
}

TEST(operation, pid_file_of_a_failed_start_goes) {
  const std::string dir = fresh_dir("failed");
  write_file(dir + "/dump.rdb", "REDIS0010 and no more");
  const Output output =
      run_program({ignix_path(), "--port", "0", "--unixsocket", dir + "/socket", "--pidfile",
                   dir + "/pid", "--dir", dir, "--appendonly", "no"});
  CHECK_EQ(output.status, 1);
  CHECK(!file_exists(dir + "/pid"));
}

// Connections are spread over the loops; INFO does not say so, the threads' use of the CPU does.
TEST_ALONE(operation, threads_share_the_work) {
  Server server({.arguments = {"--threads", "2"}, .tcp = true, .unix_socket = false});
  server.start();
  std::vector<Client> clients(40);
  std::string pings;
  for (int i = 0; i < 200; i++) append_encoded({"PING"}, &pings);
  for (Client& client : clients) client.connect(server);
  const std::map<pid_t, double> before = server.thread_cpu_seconds();
  for (int round = 0; round < 50; round++) {
    for (Client& client : clients) CHECK(client.send(pings));
    for (Client& client : clients)
      for (int i = 0; i < 200; i++) CHECK_EQ(client.read_reply(), kPong);
  }
  std::map<pid_t, double> used = server.thread_cpu_seconds();
  double total = 0;
  for (auto& [thread, seconds] : used) {
    if (before.contains(thread)) seconds -= before.at(thread);
    total += seconds;
  }
  int busy = 0;
  std::string figures;
  for (const auto& [thread, seconds] : used) {
    if (seconds > total / 10) busy++;
    figures += " " + std::to_string(seconds);
  }
  if (busy < 2) FAIL("seconds of CPU by thread:" + figures);
}

TEST(operation, threads_of_every_number_start) {
  for (const char* count : {"1", "2", "4", "16"}) {
    Server server({.arguments = {"--threads", count}, .tcp = true});
    server.start();
    std::vector<Client> clients(32);
    for (Client& client : clients) client.connect(server);
    for (Client& client : clients) CHECK_EQ(client.command({"INCR", "n"})[0], ':');
    CHECK_EQ(clients[0].command({"GET", "n"}), bulk("32"));
    CHECK_EQ(server.stop(), 0);
  }
}

// Reserving address space leaves room under a limit, and says what that means.
TEST(operation, limited_address_space) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  Server server({.address_bytes = size_t(4) << 30});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "a", std::string(10 << 20, 'x')}), kOk);
  for (int db = 0; db < 16; db++) {
    CHECK_EQ(client.command({"SELECT", std::to_string(db)}), kOk);
    CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  }
  CHECK(server.log().find("address space") != std::string::npos);
#endif
}

// Whatever a client sends, a server that gets no memory refuses that, or the client, and goes on;
// and what it has acknowledged it has.
TEST(operation, short_of_memory) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  constexpr size_t kMillion = 1'000'000;
  Server server({.appendonly = true, .address_bytes = size_t(1) << 30});
  server.start();
  Client client(server);
  const auto is_refused = [](const std::string& reply) {
    return reply == Client::kClosed || reply.starts_with("-OOM ") ||
           reply == "-ERR out of memory\r\n";
  };
  // More words, keys, pieces of a reply and of a transaction than there is memory for.
  const auto words = [](const std::string& start, size_t count, const std::string& word) {
    std::string text = start;
    for (size_t i = 0; i < count; i++) text += word;
    return text;
  };
  const std::string key = "$1\r\nk\r\n";
  const std::string deletion =
      words("*" + std::to_string(12 * kMillion + 1) + "\r\n$3\r\nDEL\r\n", 12 * kMillion, key);
  client.send(deletion);
  CHECK(is_refused(client.read_reply()));
  client.connect(server);
  CHECK_EQ(client.command({"MULTI"}), kOk);
  const std::string queued =
      words("*" + std::to_string(kMillion + 1) + "\r\n$3\r\nDEL\r\n", kMillion, key);
  std::string reply;
  for (int i = 0; i < 100; i++) {
    client.send(queued);
    reply = client.read_reply();
    if (reply != "+QUEUED\r\n") break;
  }
  CHECK(is_refused(reply));
  client.connect(server);
  // A record longer than the ring needs as much again as its value.
  int taken = 0;
  for (; taken < 20; taken++) {
    reply = client.command({"SET", "long" + std::to_string(taken), std::string(60 << 20, 'x')});
    if (reply != kOk) break;
  }
  CHECK(is_refused(reply));
  CHECK(taken > 0);
  client.connect(server);
  CHECK_EQ(client.command({"SET", "k", "v"}), kOk);
  CHECK(server.running());
  server.kill9();
  server.options().address_bytes = 0;
  server.restart();
  client.connect(server);
  CHECK_EQ(client.command({"GET", "k"}), bulk("v"));
  for (int i = 0; i < taken; i++) {
    CHECK_EQ(client.command({"STRLEN", "long" + std::to_string(i)}), integer(60 << 20));
  }
#endif
}

// Directives of redis.conf that mean nothing here are read over, but no slip in one that does.
TEST(operation, slips_in_directives_are_errors) {
  for (const char* ours :
       {"maxmemory-policy", "maxmemory-samples", "maxmemory-eviction-tenacity", "aof-fsync-error",
        "aof-load-truncated", "lfu-log-factor", "lfu-decay-time", "active-expire",
        "hll-sparse-max-bytes", "appendfsync"}) {
    const std::string slip = "--" + std::string(ours, strlen(ours) - 1);
    const Output output = run_program({ignix_path(), slip, "1"});
    CHECK_EQ(output.status, 1);
    CHECK_EQ(output.text, "ignix: unknown option '" + slip.substr(2) + "'\n");
  }
}

// All of them are named, however many there are.
TEST(operation, directives_without_effect) {
  ServerOptions options{.dir = fresh_dir("configured")};
  options.config_file = options.dir + "/redis.conf";
  std::string text;
  for (int i = 0; i < 100; i++) text += "hash-max-listpack-entries 128\n";
  write_file(options.config_file, text + "jemalloc-bg-thread yes\n");
  Server server(options);
  server.start();
  CHECK(server.log().find("jemalloc-bg-thread\n") != std::string::npos);
}

// The parent of a server in the background knows whether it came up.
// Where io_uring is forbidden, epoll does it all, unless io_uring was asked for by name.
TEST(operation, without_newer_calls) {
  Server server({.without_newer_calls = true});
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"SET", "k", std::string(100'000, 'v')}), kOk);
  CHECK(client.command({"GET", "k"}) == bulk(std::string(100'000, 'v')));
  CHECK(client.command({"INFO", "server"}).find("multiplexing_api:epoll") != std::string::npos);
  if (!*io_of_case()) {
    CHECK(server.log().find("cannot set up io_uring: Operation not permitted; using epoll") !=
          std::string::npos);
  }
}

TEST(operation, lines_of_save_add_up) {
  Server server({.config_file = "x.conf"});
  write_file(server.dir() + "/x.conf", "save 900 1\nsave 300 10 60 10000\n");
  server.start();
  Client client(server);
  CHECK_EQ(client.command({"CONFIG", "GET", "save"}),
           array({bulk("save"), bulk("900 1 300 10 60 10000")}));
}

TEST(operation, io_is_what_was_asked_for) {
  for (const char* option : {"--io", "--backend"}) {
    Server server({.arguments = {option, "epoll"}});
    server.start();
    Client client(server);
    CHECK(client.command({"INFO", "server"}).find("multiplexing_api:epoll") != std::string::npos);
    CHECK(client.command({"CONFIG", "GET", "io"}) == array({bulk("io"), bulk("epoll")}));
  }
}

TEST(operation, daemonize) {
  Server failing({.arguments = {"--daemonize", "yes", "--bind", "192.0.2.1"},
                  .tcp = true,
                  .unix_socket = false});
  CHECK(!failing.try_start());
  CHECK_EQ(failing.wait_exit(), 1);
  CHECK(failing.error_output().find("192.0.2.1") != std::string::npos);
}

}  // namespace
}  // namespace test
