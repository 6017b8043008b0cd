// The differential test's transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH among the commands
// of the other families.
#include "differential.h"

namespace test {

const Generator kTransactionGenerators[] = {
    {"MULTI", 150, gen_no_argument},  {"EXEC", 120, gen_no_argument},
    {"DISCARD", 12, gen_no_argument}, {"WATCH", 60, gen_keys},
    {"UNWATCH", 10, gen_no_argument}, {},
};

}  // namespace test
