// String values: between the bytes a client knows and the form an entry stores.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/number.h"
#include "store/keyspace.h"

namespace ignix {

// Where the parts of a value stand that are not in the entry as they are. Keep it as long as the
// view or the stored value that was made with it.
struct StringScratch {
  char bytes[kIntegerBytesMax];
};

// The value's bytes. Valid as long as the entry, and `scratch`, are.
std::string_view string_value(const Entry& entry, StringScratch& scratch);

// Prepares `value` for Keyspace::put, as an integer, embedded or as a block, whichever fits. The
// result points into `value` or `scratch`. False if there is no memory for a block.
bool encode_string(std::string_view value, BlockHeap& blocks, StringScratch& scratch,
                   StoredValue& stored);
// A value that is in a block already, whose reference goes with it.
StoredValue block_value(Block* block, StringScratch& scratch);
StoredValue encode_integer(int64_t value, StringScratch& scratch);

// Makes `patch` stand at byte `offset` of the string `key`, whose entry is `entry` (nullptr: there
// is none yet, and no expiry). The string becomes as long as needed; zeros fill what was not there.
// A long one is changed in place if nobody else looks at it. False if there is no memory: then
// nothing has changed. `patch` must not be of the value.
bool patch_string(Keyspace& keyspace, int db, const Key& key, Entry* entry, size_t offset,
                  std::string_view patch, uint32_t clock);

// The bytes of the string `entry`, which is in a block, for the caller to change; if anybody else
// looks at them, of a copy that takes their place. nullptr if there is no memory. The entry is not
// valid any more, and the bytes are the caller's only until the stripe is unlocked or changed.
char* change_block(Keyspace& keyspace, int db, const Key& key, Entry* entry, uint32_t clock);

// The value as an integer; false if it is not one.
bool string_integer(const Entry& entry, int64_t& value);

}  // namespace ignix
