// Whether what several clients have seen can be explained by one order of atomic operations that
// agrees with the order in time: linearizability, after Herlihy and Wing ("Linearizability: a
// correctness condition for concurrent objects", 1990).
//
// An operation takes effect at one instant between its call and its return. The checker looks for
// an order by depth-first search as Wing and Gong do ("Testing and verifying concurrent objects",
// 1993): of the operations that are pending where no other has returned, one is tried next if its
// replies are those of the model. What has been tried is remembered as the set of operations done
// and the state behind them, after Lowe ("Testing for linearizability", 2017): to come to the same
// again by another order is of no use.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "client.h"

namespace test {

// One command, or the commands of a transaction, and what each of them has replied.
struct Operation {
  int client = 0;
  std::vector<Argv> commands;
  std::vector<std::string> replies;
  // Numbers that grow with time; no two are the same.
  uint64_t called = 0, returned = 0;
};

// The keys and their values.
using ModelState = std::map<std::string, std::string>;

// What a server of one thread replies; GET, SET, INCR, MSET, MGET, DEL, RENAME.
std::string apply_to_model(ModelState& state, const Argv& argv);

// "" if the history is linearizable, and else the operations around the first that no order
// explains. Every operation has returned.
std::string explain_history(const std::vector<Operation>& history, const ModelState& initial = {});

inline bool is_linearizable(const std::vector<Operation>& history, const ModelState& initial = {}) {
  return explain_history(history, initial).empty();
}

}  // namespace test
