// What the commands of whole strings share: string.cc, set.cc and incr.cc.
#pragma once

#include "command/access.h"
#include "store/string.h"

namespace ignix {

// Replies the value; a long one is not copied, but shared. Null where there is no entry. In
// string.cc.
void reply_value(Call& call, const Entry* entry);

// Makes `value` that of the key: a word that was received into a block is not copied, that block
// becomes the value. False if there is no memory. In set.cc, as what follows.
bool store_string(Call& call, const Key& key, std::string_view value, int64_t expiry_ms);

// Logs the effect, as a SET: the value and, if there is one, the absolute expiry.
void log_set(Call& call, const Key& key, std::string_view value, int64_t expiry_ms);

}  // namespace ignix
