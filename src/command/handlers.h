// The functions behind the rows of the command table. Those that administer the server are
// defined in server/.
#pragma once

#include "command/call.h"

namespace ignix {

// string.cc
void run_get(Call&);
void run_set(Call&);
void run_mget(Call&);
void run_mset(Call&);
void run_incr(Call&);
void run_incrby(Call&);
void run_decr(Call&);
void run_decrby(Call&);
void run_incrbyfloat(Call&);
void run_msetnx(Call&);
void run_setex(Call&);
void run_psetex(Call&);
void run_setnx(Call&);
void run_getset(Call&);
void run_getdel(Call&);
void run_getex(Call&);

// range.cc
void run_append(Call&);
void run_setrange(Call&);
void run_getrange(Call&);
void run_strlen(Call&);

// bitmap.cc
void run_setbit(Call&);
void run_getbit(Call&);
void run_bitcount(Call&);
void run_bitpos(Call&);
void run_bitop(Call&);

// bitfield.cc
void run_bitfield(Call&);
void run_bitfield_ro(Call&);

// hyperloglog.cc
void run_pfadd(Call&);
void run_pfcount(Call&);
void run_pfmerge(Call&);

// lcs.cc
void run_lcs(Call&);

// keys.cc
void run_del(Call&);
void run_exists(Call&);
void run_touch(Call&);
void run_type(Call&);

// rename.cc
void run_rename(Call&);
void run_renamenx(Call&);
void run_copy(Call&);
void run_move(Call&);

// database.cc
void run_dbsize(Call&);
void run_flushdb(Call&);
void run_flushall(Call&);
void run_swapdb(Call&);

// scan.cc
void run_scan(Call&);
void run_keys(Call&);
void run_randomkey(Call&);

// sort.cc
void run_sort(Call&);
void run_sort_ro(Call&);
size_t find_sort_key(const std::string_view* words, size_t count, size_t index);
uint32_t set_key_flags(const std::string_view* words, size_t count);
uint32_t bitfield_key_flags(const std::string_view* words, size_t count);

// expire.cc
void run_expire(Call&);
void run_pexpire(Call&);
void run_expireat(Call&);
void run_pexpireat(Call&);
void run_ttl(Call&);
void run_pttl(Call&);
void run_expiretime(Call&);
void run_pexpiretime(Call&);
void run_persist(Call&);

// object.cc
void run_object_encoding(Call&);
void run_object_freq(Call&);
void run_object_help(Call&);
void run_object_idletime(Call&);
void run_object_refcount(Call&);

// dump.cc
void run_dump(Call&);
void run_restore(Call&);

// connection.cc
void run_ping(Call&);
void run_echo(Call&);
void run_select(Call&);
void run_quit(Call&);
void run_reset(Call&);
void run_hello(Call&);
void run_client_id(Call&);
void run_client_getname(Call&);
void run_client_setname(Call&);
void run_client_setinfo(Call&);
void run_client_reply(Call&);
void run_client_help(Call&);

// transaction.cc
void run_multi(Call&);
void run_exec(Call&);
void run_discard(Call&);
void run_watch(Call&);
void run_unwatch(Call&);

// introspect.cc
void run_command(Call&);
void run_command_count(Call&);
void run_command_info(Call&);
void run_command_docs(Call&);
void run_command_list(Call&);
void run_command_getkeys(Call&);
void run_command_getkeysandflags(Call&);
void run_command_help(Call&);

// execute.cc: for a container whose subcommand does not exist
void run_container(Call&);

// server/clients.cc
void run_client_info(Call&);
void run_client_list(Call&);
void run_client_kill(Call&);

// server/admin.cc
void run_config_get(Call&);
void run_config_set(Call&);
void run_config_resetstat(Call&);
void run_config_help(Call&);
void run_memory_purge(Call&);
void run_memory_usage(Call&);
void run_memory_help(Call&);
void run_time(Call&);
void run_shutdown(Call&);

// server/wait.cc
void run_wait(Call&);
void run_waitaof(Call&);

// server/persist.cc
void run_save(Call&);
void run_bgsave(Call&);
void run_lastsave(Call&);
void run_bgrewriteaof(Call&);

// server/info.cc
void run_info(Call&);

}  // namespace ignix
