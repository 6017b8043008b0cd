#include "linearizable.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <unordered_set>

#include "runner.h"

namespace test {
namespace {

// A call or a return in the list of those that are left, in the order of time.
struct Event {
  size_t operation = 0;
  bool is_call = false;
  Event* previous = nullptr;
  Event* next = nullptr;
  Event* its_return = nullptr;  // of a call
};

// Which operations are done, and the state behind them, as one text.
std::string configuration(const std::vector<bool>& done, const ModelState& state) {
  std::string text((done.size() + 7) / 8, '\0');
  for (size_t i = 0; i < done.size(); i++) {
    if (done[i]) text[i / 8] = char(text[i / 8] | 1 << (i % 8));
  }
  for (const auto& [key, value] : state) {
    text += std::to_string(key.size()) + ':' + key + std::to_string(value.size()) + ':' + value;
  }
  return text;
}

// Whether the operation can be the next one; then `state` is the one behind it.
bool step(const Operation& operation, ModelState& state) {
  for (size_t i = 0; i < operation.commands.size(); i++) {
    if (apply_to_model(state, operation.commands[i]) != operation.replies[i]) return false;
  }
  return true;
}

std::string describe(const Operation& operation) {
  std::string text = "    client " + std::to_string(operation.client) + ", " +
                     std::to_string(operation.called) + " to " +
                     std::to_string(operation.returned) + ":";
  for (size_t i = 0; i < operation.commands.size(); i++) {
    text += i ? "; " : " ";
    for (const std::string& word : operation.commands[i]) text += word + " ";
    text += "= " + quote(operation.replies[i]);
  }
  return text + "\n";
}

class Search {
 public:
  Search(const std::vector<Operation>& history, const ModelState& initial);
  std::string run();

 private:
  struct Choice {
    Event* call;
    ModelState state_before;
  };

  void take_out(Event* call);
  void put_back(Event* call);
  std::string explain() const;

  const std::vector<Operation>& history_;
  ModelState state_;
  std::unique_ptr<Event[]> events_;
  Event head_;
  std::vector<bool> done_;
  std::vector<Choice> choices_;
  std::unordered_set<std::string> seen_;
  // How far the search came at best, for who reads of its failure.
  size_t most_done_ = 0;
  std::vector<bool> best_done_;
  ModelState best_state_;
};

Search::Search(const std::vector<Operation>& history, const ModelState& initial)
    : history_(history),
      state_(initial),
      events_(new Event[2 * history.size()]),
      done_(history.size()),
      best_done_(history.size()) {
  std::vector<Event*> order;
  for (size_t i = 0; i < history.size(); i++) {
    CHECK(history[i].called < history[i].returned);
    CHECK_EQ(history[i].commands.size(), history[i].replies.size());
    Event* const call = &events_[2 * i];
    Event* const its_return = &events_[2 * i + 1];
    *call = {.operation = i, .is_call = true, .its_return = its_return};
    *its_return = {.operation = i};
    order.insert(order.end(), {call, its_return});
  }
  const auto time_of = [&](const Event* event) {
    const Operation& operation = history[event->operation];
    return event->is_call ? operation.called : operation.returned;
  };
  std::sort(order.begin(), order.end(),
            [&](const Event* a, const Event* b) { return time_of(a) < time_of(b); });
  Event* last = &head_;
  for (Event* event : order) {
    event->previous = last;
    last->next = event;
    last = event;
  }
}

void Search::take_out(Event* call) {
  for (Event* event : {call, call->its_return}) {
    event->previous->next = event->next;
    if (event->next) event->next->previous = event->previous;
  }
}

// In the opposite order.
void Search::put_back(Event* call) {
  for (Event* event : {call->its_return, call}) {
    event->previous->next = event;
    if (event->next) event->next->previous = event;
  }
}

// Goes through the calls up to the first return: these operations are pending, and may come next.
// The operation of that return must have been one of them.
std::string Search::run() {
  for (Event* event = head_.next; head_.next;) {
    if (event->is_call) {
      const size_t operation = event->operation;
      ModelState state = state_;
      bool taken = step(history_[operation], state);
      if (taken) {
        done_[operation] = true;
        taken = seen_.insert(configuration(done_, state)).second;
        done_[operation] = taken;
      }
      if (!taken) {
        event = event->next;
        continue;
      }
      choices_.push_back({event, std::move(state_)});
      state_ = std::move(state);
      take_out(event);
      if (choices_.size() > most_done_) {
        most_done_ = choices_.size();
        best_done_ = done_;
        best_state_ = state_;
      }
      event = head_.next;
    } else {
      if (choices_.empty()) return explain();
      Choice& last = choices_.back();
      event = last.call;
      done_[event->operation] = false;
      state_ = std::move(last.state_before);
      choices_.pop_back();
      put_back(event);
      event = event->next;
    }
  }
  return "";
}

std::string Search::explain() const {
  uint64_t first_return = UINT64_MAX;
  for (size_t i = 0; i < history_.size(); i++) {
    if (!best_done_[i]) first_return = std::min(first_return, history_[i].returned);
  }
  std::string text =
      "no order explains what the clients have seen. The best one comes to the state";
  for (const auto& [key, value] : best_state_) text += " " + key + "=" + quote(value);
  text += "\n  and has then, of operations that may come next:\n";
  for (size_t i = 0; i < history_.size(); i++) {
    if (!best_done_[i] && history_[i].called < first_return) text += describe(history_[i]);
  }
  return text;
}

std::string get(const ModelState& state, const std::string& key) {
  const auto at = state.find(key);
  return at == state.end() ? kNil : bulk(at->second);
}

}  // namespace

std::string apply_to_model(ModelState& state, const Argv& argv) {
  const std::string& name = argv[0];
  if (name == "GET") return get(state, argv[1]);
  if (name == "SET" || name == "MSET") {
    for (size_t i = 1; i + 1 < argv.size(); i += 2) state[argv[i]] = argv[i + 1];
    return kOk;
  }
  if (name == "INCR") {
    std::string& value = state[argv[1]];
    const long long sum = atoll(value.c_str()) + 1;
    value = std::to_string(sum);
    return integer(sum);
  }
  if (name == "MGET") {
    std::vector<std::string> values;
    for (size_t i = 1; i < argv.size(); i++) values.push_back(get(state, argv[i]));
    return array(values);
  }
  if (name == "DEL") {
    long long deleted = 0;
    for (size_t i = 1; i < argv.size(); i++) deleted += (long long)(state.erase(argv[i]));
    return integer(deleted);
  }
  if (name == "RENAME") {
    const auto from = state.find(argv[1]);
    if (from == state.end()) return "-ERR no such key\r\n";
    const std::string value = from->second;
    state.erase(from);
    state[argv[2]] = value;
    return kOk;
  }
  FAIL("the model does not know " + name);
}

std::string explain_history(const std::vector<Operation>& history, const ModelState& initial) {
  return Search(history, initial).run();
}

}  // namespace test
