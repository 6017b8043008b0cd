// Waking a thread: no ring and no letter is lost, whenever it comes. A lost one hangs the case.
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "base/bell.h"
#include "base/mailbox.h"
#include "runner.h"

namespace test {
namespace {

constexpr int kRounds = 50'000;

// One is to do something, and rings for the other, which does it.
struct Desk {
  ignix::Bell bell;
  std::atomic<int> asked{0};

  void ask(int number) {
    asked.store(number);
    bell.ring();
  }
  // Until so much was asked.
  void answer(int number) {
    for (;;) {
      const uint32_t rings = bell.rings();
      if (asked.load() >= number) return;
      bell.wait(rings);
    }
  }
};

struct Desks {
  Desk there, back;
};

void* send_back(void* argument) {
  Desks& desks = *static_cast<Desks*>(argument);
  for (int i = 1; i <= kRounds; i++) {
    desks.there.answer(i);
    desks.back.ask(i);
  }
  return nullptr;
}

TEST(bell, no_ring_is_lost) {
  Desks desks;
  pthread_t other;
  CHECK_EQ(pthread_create(&other, nullptr, send_back, &desks), 0);
  for (int i = 1; i <= kRounds; i++) {
    desks.there.ask(i);
    desks.back.answer(i);
  }
  pthread_join(other, nullptr);
}

// Two ring for the one that waits.
void* ring_often(void* argument) {
  Desk& desk = *static_cast<Desk*>(argument);
  for (int i = 0; i < kRounds; i++) {
    desk.asked.fetch_add(1);
    desk.bell.ring();
  }
  return nullptr;
}

TEST(bell, rung_by_two) {
  Desk desk;
  pthread_t others[2];
  for (pthread_t& other : others) {
    CHECK_EQ(pthread_create(&other, nullptr, ring_often, &desk), 0);
  }
  for (int i = 1; i <= 2 * kRounds; i++) desk.answer(i);
  for (pthread_t other : others) pthread_join(other, nullptr);
}

struct Post {
  ignix::Mailbox<int> box;
  Desk taken;
};

void* post_letters(void* argument) {
  Post& post = *static_cast<Post*>(argument);
  for (int i = 1; i <= kRounds; i++) {
    post.box.post(i);
    if (i % 3) post.taken.answer(i);  // or the next one may come along
  }
  post.taken.answer(kRounds);
  return nullptr;
}

bool is_readable(int epoll_fd, int timeout_ms) {
  epoll_event event;
  return epoll_wait(epoll_fd, &event, 1, timeout_ms) == 1;
}

TEST(mailbox, every_letter_wakes) {
  Post post;
  CHECK(post.box.open());
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  CHECK_EQ(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, post.box.event_fd(), &event), 0);
  pthread_t other;
  CHECK_EQ(pthread_create(&other, nullptr, post_letters, &post), 0);
  std::vector<int> letters;
  int last = 0;
  while (last < kRounds) {
    CHECK(is_readable(epoll_fd, -1));
    post.box.take(letters);
    for (int letter : letters) CHECK_EQ(letter, ++last);
    post.taken.ask(last);
  }
  pthread_join(other, nullptr);
  // The last letter's edge may come when it has been taken with the one before; then no more.
  if (is_readable(epoll_fd, 0)) post.box.take(letters);
  CHECK(!is_readable(epoll_fd, 0));
  close(epoll_fd);
}

}  // namespace
}  // namespace test
