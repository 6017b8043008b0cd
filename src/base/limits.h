// Every limit of the server, in one place. What an administrator can change is a directive
// (server/config.cc) whose default or bound stands here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ignix {

// Requests. Redis's own.
constexpr size_t kInlineBytesMax = 64 * 1024;       // an inline command, or a length line
constexpr int64_t kMultibulkCountMax = INT32_MAX;   // words of one command
constexpr int64_t kBulkBytesDefault = 512LL << 20;  // proto-max-bulk-len
constexpr int64_t kQueryBytesDefault = 1LL << 30;   // client-query-buffer-limit
constexpr size_t kStringBytesMax = 512ULL << 20;    // a string value
// BITFIELD's offset is within that; the up to 64 bits of its field may end behind. Files have such
// strings too.
constexpr size_t kStoredStringBytesMax = kStringBytesMax + 8;
constexpr int64_t kHllSparseBytesDefault = 3000;  // hll-sparse-max-bytes

// A turn of the loop.
constexpr size_t kReadBytes = 16 * 1024;    // one read of one connection
constexpr size_t kCarefulReadBytes = 1024;  // one, where a large value is expected
constexpr unsigned kCarefulReads = 64;      // so many times
constexpr size_t kSliceBytes = 16 * 1024;   // run for one connection; the rest next turn
constexpr size_t kBatchCommands = 64;       // parsed, prefetched and run together
constexpr uint32_t kPrefetchKeys = 4 * kBatchCommands;  // of one batch: more would not stay cached
constexpr size_t kBatchWords = 16 * 1024;               // of it, and those of one command more
constexpr size_t kSpareWords = 64 * 1024;               // of a batch; room for more is given back
constexpr size_t kEventsPerTurn = 256;                  // connections served in one turn
constexpr size_t kAcceptsPerTurn = 64;                  // so that a flood of connects is no stall
constexpr int kWaitMsMax = 86'400'000;                  // of a loop, for what is further away
constexpr int kMaintainCheckMs = 100;                   // after activity, is there memory to tidy?
constexpr int kMaintainBusyMs = 10;                     // while there is, and commands come
constexpr int kMaintainIdleMs = 2;                      // while there is, and none come
constexpr int kMaintainBudgetUs = 1000;                 // of work at a time
constexpr int kExpireSliceUs = 1000;                    // of deleting what has expired, at a time
constexpr int kExpirePauseUs = 3000;                    // then commands come first, for so long
constexpr int kExpireHurryMs = 500;                     // behind for longer: the pause is a slice
constexpr int kExpireRetryMs = 100;                     // when nothing may be deleted
constexpr size_t kExpireBoundsPerUs = 128;              // looked at, on average over all time
constexpr size_t kStageBytes = 256 * 1024;              // of a large value, received by one call
constexpr size_t kLowWaterBytes = 128 * 1024;           // of it: fewer are not worth a wake-up
constexpr size_t kReceiveTurnBytes = 4ULL << 20;        // and for one connection in one turn
constexpr int kSendPieces = 64;                         // of one send: replies and shared values
constexpr size_t kSplicePipeBytes = 256 * 1024;         // lent to the kernel in one go
constexpr size_t kSpliceTurnBytes = 4ULL << 20;         // and for one connection in one turn
constexpr size_t kSmallSendBytes = 64 * 1024;           // under way, not worth counting as pending
constexpr size_t kSpareBuffers = 64;                    // kept by a loop that needs none
constexpr size_t kSpareBufferBytesMax = 64 * 1024;      // a larger buffer is given back at once

// Replies not yet taken by their clients. Past this the next command of a connection is not run,
// and nothing more is received from it, until the client reads; nothing is dropped. Past the
// second, over all clients, the third holds.
constexpr size_t kOutputBytesPause = 64ULL << 20;
constexpr size_t kOutputBytesAllClients = 512ULL << 20;
constexpr size_t kOutputBytesPauseScarce = 1ULL << 20;

// Clients.
constexpr int64_t kMaxClientsDefault = 10000;
constexpr int kReservedDescriptors = 32;      // files
constexpr int kDescriptorsPerLoop = 5;        // ring, epoll, mailbox, pipe; and listeners
constexpr int kAcceptRetryMs = 100;           // after running out of descriptors
constexpr size_t kClientNameBytesMax = 1024;  // CLIENT SETNAME, SETINFO

// Transactions. What is queued and watched counts for client-query-buffer-limit.
constexpr size_t kWatchesMax = 1'000'000;             // of a client
constexpr size_t kSpareTransactionBytes = 64 * 1024;  // kept by a loop for the next MULTI

constexpr size_t kConfigBytesMax = 1 << 20;  // of the config file, and of a word of CONFIG SET

// Threads, databases, stripes.
constexpr int kThreadsMax = 256;
constexpr int kDatabasesDefault = 16;
constexpr int kDatabasesMax = 1024;
constexpr uint32_t kStripesMin = 64;
constexpr uint32_t kStripesPerThread = 16;
constexpr uint32_t kStripesMax = 4096;

// Store.
constexpr size_t kEntryBytesMax = 4096;         // larger values hang off the entry
constexpr size_t kShareBytes = 8 * 1024;        // a value of this length is sent from where it is
constexpr size_t kLendBytes = 16 * 1024;        // of a longer block the kernel may borrow the pages
constexpr unsigned kCopiesBeforeLending = 3;    // of one value
constexpr size_t kSlabBlockBytesMax = 1 << 20;  // larger blocks are mappings of their own
constexpr uint64_t kFlushAtOnceKeys = 4096;     // larger databases are freed by and by

// Snapshots: so much may be changed and wait to be written first; then writes wait.
constexpr size_t kSnapshotBehindBytes = 8ULL << 20;
constexpr size_t kCompressBytesMax = 4ULL << 20;  // longer strings are saved as they are

// Log.
constexpr size_t kLogRingBytes = 8ULL << 20;
constexpr size_t kLogSlackBytes = 64 * 1024;       // left free for records a write may add
constexpr size_t kReceiveBlockBytes = 16 * 1024;   // a word of this length is received into a block
constexpr size_t kHeldLogBytes = 256 * 1024;       // of log behind a reply, before it must go
constexpr size_t kStalledInputBytes = 256 * 1024;  // received while waiting for the log
constexpr uint64_t kLogWritebackBytes = 4ULL << 20;  // written before the disk has to begin
constexpr uint64_t kLogCachedBytes = 8ULL << 20;     // of the file's end, kept in the page cache
constexpr int kLogRetryMs = 200;                     // after a failed write
constexpr int kHeldTroubleMs = 500;  // of trouble with the log, before replies that wait say so
constexpr size_t kRoomBytes = 256 * 1024;            // made at a time behind the log's end
constexpr size_t kRoomGroupBytes = 32 * 1024;        // a longer group of records goes into no room
constexpr int kRoomAfterGroups = 32;                 // so many shorter ones make room worth while
constexpr int kRoomRetryGroups = 10'000;             // pass after room could not be made
constexpr int64_t kYieldUsMax = 2000;  // others have had a loop's CPU for longer, when it had ...
constexpr int64_t kYieldPauseUs = 100'000;  // ... yielded to the AOF thread: not again for so long

}  // namespace ignix
