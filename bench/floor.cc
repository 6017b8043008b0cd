// The floor: the least that a server can do. It takes every so many bytes for a request and
// answers each with the same bytes. It parses nothing and stores nothing, so its CPU time is what
// the kernel takes for moving the bytes, and no real server can be below it by much.
// One thread. Each turn reads from all ready connections, then writes once to each.
//
//   floor --io uring --port 7400 --request 36 --reply 64

#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <csignal>
#include <vector>

#include "sockets.h"

// Newer than the headers of kernel 6.1.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

namespace {

constexpr size_t kMaxDescriptors = 1 << 16;

struct Connection {
  uint64_t partial = 0;  // bytes of a request that is not complete
  uint64_t owed = 0;     // bytes of replies still to send
  uint64_t phase = 0;    // bytes of the current reply that have been sent
  bool dirty = false;    // in the list of those to write to in this turn
  bool sending = false;  // waits for the socket (epoll) or has a send under way (uring)
  bool closed = false;   // to be closed when its send is done (uring)
};

// Replies, one behind another, to send any number of them from.
struct Replies {
  uint64_t request_bytes = 0;
  uint64_t reply_bytes = 0;
  std::string block;

  void received(Connection& connection, uint64_t bytes) const {
    connection.partial += bytes;
    uint64_t requests = connection.partial / request_bytes;
    connection.partial -= requests * request_bytes;
    connection.owed += requests * reply_bytes;
  }
  const char* next(const Connection& connection) const { return &block[connection.phase]; }
  size_t size(const Connection& connection) const {
    return std::min(connection.owed, block.size() - connection.phase);
  }
  void sent(Connection& connection, uint64_t bytes) const {
    connection.owed -= bytes;
    connection.phase = (connection.phase + bytes) % reply_bytes;
  }
};

// ---- epoll ----

struct EpollFloor {
  const Replies& replies;
  int listener;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Connection> connections = std::vector<Connection>(kMaxDescriptors);
  std::vector<int> dirty;
  std::vector<char> buffer = std::vector<char>(256 * 1024);

  EpollFloor(const Replies& the_replies, int fd) : replies(the_replies), listener(fd) {}

  void watch(int operation, int fd, uint32_t what) {
    epoll_event event = {what, {.fd = fd}};
    epoll_ctl(epoll, operation, fd, &event);
  }

  void accept_all() {
    int fd;
    while ((fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      set_no_delay(fd);
      connections[fd] = {};
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void read_from(int fd) {
    ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      close(fd);
      return;
    }
    replies.received(connections[fd], got);
    if (connections[fd].owed) dirty.push_back(fd);
  }

  // While a client does not take its replies, nothing more is read from it.
  void write_to(int fd) {
    Connection& connection = connections[fd];
    while (connection.owed) {
      ssize_t sent = send(fd, replies.next(connection), replies.size(connection), MSG_NOSIGNAL);
      if (sent < 0) break;
      replies.sent(connection, sent);
    }
    bool blocked = connection.owed != 0;
    if (blocked != connection.sending) watch(EPOLL_CTL_MOD, fd, blocked ? EPOLLOUT : EPOLLIN);
    connection.sending = blocked;
  }

  void run() {
    fcntl(listener, F_SETFL, O_NONBLOCK);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    epoll_event events[1024];
    while (true) {
      int ready = epoll_wait(epoll, events, 1024, -1);
      for (int i = 0; i < ready; i++) {
        int fd = events[i].data.fd;
        if (fd == listener)
          accept_all();
        else if (events[i].events & EPOLLIN)
          read_from(fd);
        else if (events[i].events & EPOLLOUT)
          dirty.push_back(fd);
        else
          close(fd);
      }
      for (int fd : dirty) write_to(fd);
      dirty.clear();
    }
  }
};

// ---- io_uring ----

struct UringFloor {
  static constexpr unsigned kEntries = 4096;
  static constexpr unsigned kBuffers = 1024;  // a power of two
  static constexpr unsigned kBufferSize = 16 * 1024;
  enum Operation : uint64_t { kAccept, kRecv, kSend };

  const Replies& replies;
  int listener;
  int ring = -1;
  unsigned *sq_tail, *sq_head, *cq_head, *cq_tail;
  unsigned sq_mask, cq_mask, unsubmitted = 0;
  io_uring_sqe* sqes;
  io_uring_cqe* cqes;
  io_uring_buf_ring* buffer_ring;
  uint16_t buffer_tail = 0;
  std::vector<char> buffers = std::vector<char>(size_t{kBuffers} * kBufferSize);
  std::vector<Connection> connections = std::vector<Connection>(kMaxDescriptors);
  std::vector<int> dirty;

  UringFloor(const Replies& the_replies, int fd) : replies(the_replies), listener(fd) {}

  static void* map(size_t size, int fd, uint64_t offset) {
    int flags = fd < 0 ? MAP_ANONYMOUS | MAP_PRIVATE : MAP_SHARED | MAP_POPULATE;
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, offset);
    if (memory == MAP_FAILED) fail(std::string("mmap: ") + strerror(errno));
    return memory;
  }

  void set_up() {
    io_uring_params params = {};
    params.flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY;
    ring = syscall(__NR_io_uring_setup, kEntries, &params);
    bool indexed = ring < 0 && errno == EINVAL;  // before kernel 6.6
    if (indexed) {
      params = {};
      params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
      ring = syscall(__NR_io_uring_setup, kEntries, &params);
    }
    if (ring < 0) fail(std::string("io_uring_setup: ") + strerror(errno));
    size_t size = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                                   params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
    char* base = static_cast<char*>(map(size, ring, IORING_OFF_SQ_RING));
    auto word = [&](unsigned offset) { return reinterpret_cast<unsigned*>(base + offset); };
    sq_head = word(params.sq_off.head), sq_tail = word(params.sq_off.tail);
    cq_head = word(params.cq_off.head), cq_tail = word(params.cq_off.tail);
    sq_mask = *word(params.sq_off.ring_mask), cq_mask = *word(params.cq_off.ring_mask);
    cqes = reinterpret_cast<io_uring_cqe*>(base + params.cq_off.cqes);
    sqes = static_cast<io_uring_sqe*>(
        map(params.sq_entries * sizeof(io_uring_sqe), ring, IORING_OFF_SQES));
    for (unsigned i = 0; indexed && i < params.sq_entries; i++) word(params.sq_off.array)[i] = i;
    set_up_buffers();
  }

  void set_up_buffers() {
    buffer_ring = static_cast<io_uring_buf_ring*>(map(kBuffers * sizeof(io_uring_buf), -1, 0));
    io_uring_buf_reg registration = {};
    registration.ring_addr = reinterpret_cast<uint64_t>(buffer_ring);
    registration.ring_entries = kBuffers;
    if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_PBUF_RING, &registration, 1) < 0) {
      fail(std::string("io_uring, buffer ring: ") + strerror(errno));
    }
    for (unsigned i = 0; i < kBuffers; i++) give_buffer(i);
    publish_buffers();
  }

  void give_buffer(uint16_t id) {
    // Entry 0 shares its place with the ring's tail; only these three fields may be written.
    auto* entries = reinterpret_cast<io_uring_buf*>(buffer_ring);
    io_uring_buf& entry = entries[buffer_tail++ & (kBuffers - 1)];
    entry.addr = reinterpret_cast<uint64_t>(&buffers[size_t{id} * kBufferSize]);
    entry.len = kBufferSize;
    entry.bid = id;
  }
  void publish_buffers() { __atomic_store_n(&buffer_ring->tail, buffer_tail, __ATOMIC_RELEASE); }

  // Hands over what was prepared; with wait, returns when something is complete.
  void enter(bool wait) {
    long done = syscall(__NR_io_uring_enter, ring, unsubmitted, wait ? 1 : 0,
                        IORING_ENTER_GETEVENTS, nullptr, 0);
    if (done > 0) unsubmitted -= done;
    if (done < 0 && errno != EINTR && errno != EBUSY && errno != EAGAIN) {
      fail(std::string("io_uring_enter: ") + strerror(errno));
    }
  }

  io_uring_sqe& prepare(Operation operation, uint8_t opcode, int fd) {
    while (*sq_tail - __atomic_load_n(sq_head, __ATOMIC_ACQUIRE) > sq_mask) enter(false);
    io_uring_sqe& sqe = sqes[*sq_tail & sq_mask];
    sqe = {};
    sqe.opcode = opcode;
    sqe.fd = fd;
    sqe.user_data = operation << 32 | static_cast<uint32_t>(fd);
    return sqe;
  }
  void commit() {
    __atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
    unsubmitted++;
  }

  void arm_accept() {
    io_uring_sqe& sqe = prepare(kAccept, IORING_OP_ACCEPT, listener);
    sqe.ioprio = IORING_ACCEPT_MULTISHOT;
    commit();
  }
  void arm_recv(int fd) {
    io_uring_sqe& sqe = prepare(kRecv, IORING_OP_RECV, fd);
    sqe.ioprio = IORING_RECV_MULTISHOT;
    sqe.flags = IOSQE_BUFFER_SELECT;
    commit();
  }
  void start_send(int fd) {
    Connection& connection = connections[fd];
    connection.sending = true;
    io_uring_sqe& sqe = prepare(kSend, IORING_OP_SEND, fd);
    sqe.addr = reinterpret_cast<uint64_t>(replies.next(connection));
    sqe.len = replies.size(connection);
    sqe.msg_flags = MSG_NOSIGNAL;
    commit();
  }

  void mark(int fd) {
    if (!connections[fd].dirty) dirty.push_back(fd);
    connections[fd].dirty = true;
  }
  void close_connection(int fd) {
    connections[fd].closed = true;
    if (!connections[fd].sending) close(fd);
  }

  void accepted(const io_uring_cqe& cqe) {
    if (cqe.res >= 0) {
      set_no_delay(cqe.res);
      connections[cqe.res] = {};
      arm_recv(cqe.res);
    }
    if (!(cqe.flags & IORING_CQE_F_MORE)) arm_accept();
  }
  void received(int fd, const io_uring_cqe& cqe) {
    if (cqe.flags & IORING_CQE_F_BUFFER) give_buffer(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.res == 0 || (cqe.res < 0 && cqe.res != -ENOBUFS)) return close_connection(fd);
    if (cqe.res > 0) {
      replies.received(connections[fd], cqe.res);
      mark(fd);
    }
    if (!(cqe.flags & IORING_CQE_F_MORE)) arm_recv(fd);
  }
  void sent(int fd, const io_uring_cqe& cqe) {
    Connection& connection = connections[fd];
    connection.sending = false;
    if (connection.closed) {
      close(fd);
    } else if (cqe.res >= 0) {
      replies.sent(connection, cqe.res);
      mark(fd);
    }
  }

  void run() {
    set_up();
    arm_accept();
    while (true) {
      enter(true);
      unsigned head = *cq_head, tail = __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE);
      for (; head != tail; head++) {
        const io_uring_cqe& cqe = cqes[head & cq_mask];
        int fd = static_cast<int>(cqe.user_data);
        switch (cqe.user_data >> 32) {
          case kAccept:
            accepted(cqe);
            break;
          case kRecv:
            received(fd, cqe);
            break;
          case kSend:
            sent(fd, cqe);
            break;
        }
      }
      __atomic_store_n(cq_head, head, __ATOMIC_RELEASE);
      publish_buffers();
      for (int fd : dirty) {
        Connection& connection = connections[fd];
        connection.dirty = false;
        if (connection.owed && !connection.sending && !connection.closed) start_send(fd);
      }
      dirty.clear();
    }
  }
};

// A number stands for a bulk string of that many bytes; other text is sent as it is, \r and \n
// in it spelled so.
std::string reply_of(const std::string& text) {
  if (text[0] >= '0' && text[0] <= '9') {
    size_t length = number_of("--reply", text.c_str());
    return "$" + std::to_string(length) + "\r\n" + std::string(length, 'x') + "\r\n";
  }
  std::string reply;
  for (size_t i = 0; i < text.size(); i++) {
    bool escape = text[i] == '\\' && i + 1 < text.size();
    if (escape) i++;
    reply += !escape ? text[i] : text[i] == 'r' ? '\r' : text[i] == 'n' ? '\n' : text[i];
  }
  return reply;
}

}  // namespace

int main(int argc, char** argv) {
  Endpoint endpoint;
  Replies replies;
  std::string io = "epoll", reply = "+OK\\r\\n";
  const Flag flags[] = {
      {"--io", Flag::kText, &io, "epoll or uring [epoll]"},
      {"--host", Flag::kText, &endpoint.host, "IPv4 address to listen on [127.0.0.1]"},
      {"--port", Flag::kNumber, &endpoint.port, "to listen on; 0 takes a free one [0]"},
      {"--unix", Flag::kText, &endpoint.unix_path, "or a unix socket"},
      {"--request", Flag::kNumber, &replies.request_bytes, "bytes of one request"},
      {"--reply", Flag::kText, &reply, "text of a reply, or the length of a bulk string"},
  };
  parse_flags(flags, "floor: counts bytes and answers with fixed ones\n", argc, argv);
  if (!replies.request_bytes || reply.empty()) fail("--request and --reply must not be empty");
  if (io != "epoll" && io != "uring") fail("--io: not epoll or uring: " + io);

  std::string one = reply_of(reply);
  replies.reply_bytes = one.size();
  do replies.block += one;
  while (replies.block.size() < 256 * 1024);
  signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  int listener = listen_on(endpoint);
  fprintf(stderr, "Ready to accept connections on %s\n", endpoint.text().c_str());
  if (io == "uring")
    UringFloor(replies, listener).run();
  else
    EpollFloor(replies, listener).run();
}
