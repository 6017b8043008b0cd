// Runs commands, a batch at a time.
//
// On paper: a command on a big keyspace misses the cache twice, at its bucket and at its entry:
// some 150 ns if it is alone, more on a virtual machine. A batch asks for all its buckets at once,
// then for all its entries: the misses overlap with one another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "command/make_room.h"
#include "resp/parser.h"

namespace ignix {

class Batch {
 public:
  explicit Batch(Env& env) : env_(env), room_maker_(env) { requests_.reserve(kBatchCommands); }

  // The parser appends a command's words here; then add().
  Words& words() { return words_; }

  // The words from `first_word` on are a command of `session`; none: an empty command. Their bytes
  // stay where they are until run(). `tag` is handed back by on_blocked. If it `is_canonical`
  // (resp/parser.h), the log may have its bytes as they came.
  void add(Session& session, size_t first_word, void* tag, size_t input_offset,
           bool is_canonical = false);

  // The same for a command that has been looked up, whose one key has this hash.
  void add_known(Session& session, const Command& command, size_t first_word, uint64_t hash,
                 size_t input_offset);

  // Of keys as well: commands of several keys each shall all find theirs prefetched. And of words,
  // of which long commands without keys have many.
  bool full() const {
    return requests_.size() >= kBatchCommands || hashes_.size() >= kPrefetchKeys ||
           words_.size() >= kBatchWords;
  }
  bool empty() const { return requests_.empty(); }

  // Runs all in order, and forgets them. `on_blocked(tag, input_offset)` is called for the first
  // command of each session that cannot be run now, because the log has no room, a snapshot is
  // behind, or the client has too many replies to read or waits; it and the later ones of that
  // session have not been run.
  template <typename OnBlocked>
  void run(OnBlocked on_blocked) {
    prefetch();
    for (const Request& request : requests_) {
      Session& session = *request.session;
      if (session.close_after_reply || session.blocked) continue;
      if (session.is_waiting() || !admit(request) || output_full(session)) {
        session.blocked = true;
        on_blocked(request.tag, request.input_offset);
        continue;
      }
      execute(request);
    }
    clear();
  }

  // The loader's way: runs all in order, and forgets them. `done(input_offset)` is called behind
  // each; false ends it.
  template <typename Done>
  void run_loaded(Done done) {
    prefetch();
    for (const Request& request : requests_) {
      execute(request);
      if (!done(request.input_offset)) break;
    }
    clear();
  }

  // Whether a client must read before more is run for it.
  bool output_full(const Session& session) const {
    const size_t bytes = session.output.size() + session.sending_bytes;
    if (bytes <= kOutputBytesPauseScarce) return false;
    return bytes > kOutputBytesPause || env_.output_room_bytes <= 0;
  }

  RoomMaker& room_maker() { return room_maker_; }
  uint64_t commands_run() const { return commands_run_; }
  uint64_t error_replies() const { return error_replies_; }
  // Replies that have become errors.
  void count_error_replies(uint64_t count) { error_replies_ += count; }

 private:
  struct Request {
    Session* session;
    void* tag;
    const Command* command;  // nullptr: unknown
    size_t input_offset;
    uint32_t first_word, word_count;
    uint32_t first_hash, hash_count;
    bool lacks_memory;  // for its hashes
    bool is_canonical;
  };

  bool add_hash(std::string_view key) { return hashes_.push(env_.keyspace->key(key).hash); }
  bool add_keys(const Command& command, size_t first_word);
  void prefetch() const;
  bool admit(const Request& request) const;
  bool refuse(Call& call, const Request& request, uint32_t flags);
  void execute(const Request& request);
  bool find_room();
  bool refuse_in_multi(Call& call, const Request& request);
  void run_in_multi(Call& call, const Request& request);
  void run_locked(Call& call, size_t hash_count);
  void clear();

  Env& env_;
  RoomMaker room_maker_;
  std::vector<Request> requests_;
  Words words_;
  Array<uint64_t> hashes_;
  StripeLocks locks_;
  uint64_t commands_run_ = 0, error_replies_ = 0;
};

}  // namespace ignix
