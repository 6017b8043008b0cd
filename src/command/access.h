// How commands reach entries: through here, so that expired ones are gone for everyone.
#pragma once

#include "command/call.h"

namespace ignix {

// Whether an entry counts as used by being found: then its access clock is set. Commands that only
// ask about a key leave it. Without a policy that needs it exact, kUse leaves a clock that is
// nearly right; kTouch does not.
enum class Access { kUse, kLook, kTouch };

// The live entry of a key, or nullptr. One that has expired is deleted, and the log told so. The
// key's stripe is locked.
Entry* find_live(Call& call, const Key& key, Access access = Access::kUse);
Entry* find_live_in(Call& call, int db, const Key& key, Access access = Access::kUse);

// The same for a command that reads: counts a hit or a miss.
Entry* find_for_read(Call& call, const Key& key, Access access = Access::kUse);

// Deletes a key that has expired, and tells the log so, if there is room in it for what a command
// that only reads has to say. Returns whether the key is gone.
bool delete_expired(Call& call, int db, const Key& key);

// Deletes a key, expired or not, and logs DEL; where there is none, neither.
void delete_key(Call& call, const Key& key);

// As TYPE tells it.
const char* type_name(Type type);

// False, and the error is replied, if the entry is not of that type. No entry fits any type.
bool check_type(Call& call, const Entry* entry, Type type);

// False, and the error is replied, if `text` is not an integer.
bool integer_argument(Call& call, std::string_view text, int64_t& value);

// The same for 32 bits. `error`: another text.
bool int_argument(Call& call, std::string_view text, int& value, const char* error = nullptr);

// The same for the number of a database.
bool database_argument(Call& call, std::string_view text, int& db);
bool check_database(Call& call, int db);

// False, and the error is replied, if a string of `length` bytes and so many more would be longer
// than proto-max-bulk-len. In range.cc.
bool check_string_length(Call& call, size_t length, size_t added);

void reply_syntax_error(Call& call);
void reply_wrong_type(Call& call);
void reply_out_of_memory(Call& call);
void reply_wrong_arity(Call& call);
// For a container: `words[1]` names no subcommand.
void reply_unknown_subcommand(Call& call);

// HELP of a container: a line for each element of `lines`, nullptr ends them.
void reply_help(Call& call, const char* const* lines);

}  // namespace ignix
