#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

#include "runner.h"
#include "server.h"

namespace test {
namespace {

std::vector<std::string> regular_files(const std::string& dir) {
  std::vector<std::string> names;
  DIR* stream = opendir(dir.c_str());
  if (stream == nullptr) FAIL("cannot open " + dir);
  while (dirent* entry = readdir(stream)) {
    if (entry->d_type == DT_REG) names.push_back(entry->d_name);
  }
  closedir(stream);
  return names;
}

// The disk as the journal tells it, record by record: what is on it, and what may be.
class Replay {
 public:
  void add_durable(const std::string& name, uint64_t inode, std::string content) {
    auto file = std::make_shared<File>();
    file->durable = std::move(content);
    files_[inode] = file;
    names_[name] = names_now_[name] = file;
  }

  void apply(const DiskRecord& record, const std::string& bytes) {
    switch (record.kind) {
      case DiskRecord::kCreate:
        files_[record.inode] = std::make_shared<File>();
        change_name({"", bytes, files_[record.inode]});
        break;
      case DiskRecord::kOpen:
        break;
      case DiskRecord::kWrite:
        file_of(record).pending.push_back({number_++, record.offset, bytes, false});
        break;
      case DiskRecord::kTruncate:
        file_of(record).pending.push_back({number_++, record.offset, "", true});
        break;
      case DiskRecord::kRename: {
        const size_t zero = bytes.find('\0');
        const std::string from = bytes.substr(0, zero);
        change_name({from, bytes.substr(zero + 1), names_now_[from]});
        break;
      }
      case DiskRecord::kSyncBegin:
        syncs_[record.offset] = record.inode == 0 ? name_changes_.size() : number_;
        break;
      case DiskRecord::kSyncEnd:
      case DiskRecord::kSyncFailed:
        end_sync(record);
    }
  }

  // The files by their names after the power has failed.
  std::map<std::string, std::string> left(FaultyDisk::Kept kept, Random& random) {
    size_t count = durable_names_;
    if (kept != FaultyDisk::Kept::kNothing) count += random.below(name_changes_.size() - count + 1);
    for (size_t i = 0; i < count; i++) rename(names_, name_changes_[i]);
    std::map<std::string, std::string> result;
    for (auto& [name, file] : names_) {
      std::string content = file->durable;
      if (kept == FaultyDisk::Kept::kPrefix) keep_prefix(*file, content, random);
      if (kept == FaultyDisk::Kept::kSectors) keep_sectors(*file, content, random);
      result[name] = content;
      durable_bytes_[name] = file->durable.size();
    }
    return result;
  }

  size_t durable_bytes(const std::string& name) { return durable_bytes_[name]; }

 private:
  struct Change {
    uint64_t number;
    uint64_t offset;
    std::string bytes;
    bool truncates;
  };
  struct File {
    std::string durable;
    std::vector<Change> pending;
  };
  using FilePointer = std::shared_ptr<File>;
  using Names = std::map<std::string, FilePointer>;
  struct NameChange {
    std::string from, to;
    FilePointer file;
  };

  static void rename(Names& names, const NameChange& change) {
    names.erase(change.from);
    names[change.to] = change.file;
  }

  void change_name(const NameChange& change) {
    rename(names_now_, change);
    name_changes_.push_back(change);
  }

  File& file_of(const DiskRecord& record) {
    FilePointer& file = files_[record.inode];
    if (!file) FAIL("the journal tells of a file that was not opened");
    return *file;
  }

  static void put(std::string& content, const Change& change, size_t from, size_t to) {
    if (content.size() < change.offset + to) content.resize(change.offset + to);
    content.replace(change.offset + from, to - from, change.bytes, from, to - from);
  }

  static void put(std::string& content, const Change& change) {
    if (change.truncates) {
      content.resize(change.offset);
    } else {
      put(content, change, 0, change.bytes.size());
    }
  }

  // What a failed fsync should have brought to the disk never comes there: the kernel takes the
  // pages for clean.
  void end_sync(const DiskRecord& record) {
    const uint64_t mark = syncs_[record.offset];
    const bool good = record.kind == DiskRecord::kSyncEnd;
    if (record.inode == 0) {
      if (good) durable_names_ = std::max(durable_names_, size_t(mark));
      return;
    }
    File& file = file_of(record);
    std::erase_if(file.pending, [&](const Change& change) {
      if (change.number >= mark) return false;
      if (good) put(file.durable, change);
      return true;
    });
  }

  static void keep_prefix(const File& file, std::string& content, Random& random) {
    const size_t whole = random.below(file.pending.size() + 1);
    for (size_t i = 0; i < whole; i++) put(content, file.pending[i]);
    if (whole == file.pending.size() || file.pending[whole].truncates) return;
    const Change& torn = file.pending[whole];
    uint64_t end = torn.offset + random.below(torn.bytes.size() + 1);
    end = std::max(torn.offset, end / 512 * 512);
    put(content, torn, 0, end - torn.offset);
    if (random.one_in(2)) {
      content.resize(std::max<size_t>(content.size(), torn.offset + torn.bytes.size()));
    }
  }

  static void keep_sectors(const File& file, std::string& content, Random& random) {
    const uint64_t sector = random.one_in(2) ? 512 : 4096;
    for (const Change& change : file.pending) {
      if (change.truncates) continue;
      const uint64_t end = change.offset + change.bytes.size();
      for (uint64_t at = change.offset; at < end;) {
        const uint64_t next = std::min(end, (at / sector + 1) * sector);
        if (random.one_in(2)) put(content, change, at - change.offset, next - change.offset);
        at = next;
      }
    }
  }

  std::map<uint64_t, FilePointer> files_;  // by inode, as they are now
  Names names_, names_now_;
  std::vector<NameChange> name_changes_;
  size_t durable_names_ = 0;  // of those
  std::map<uint64_t, uint64_t> syncs_;
  std::map<std::string, size_t> durable_bytes_;
  uint64_t number_ = 0;
};

void replay_journal(const std::string& journal, Replay& replay) {
  for (size_t at = 0; journal.size() - at >= sizeof(DiskRecord);) {
    DiskRecord record;
    memcpy(&record, journal.data() + at, sizeof record);
    at += sizeof record;
    if (journal.size() - at < record.bytes) break;  // the server was killed while it wrote this
    replay.apply(record, journal.substr(at, record.bytes));
    at += record.bytes;
  }
}

}  // namespace

FaultyDisk::FaultyDisk() {
  const char* from_environment = getenv("IGNIX_FAULTY_DISK");
  char* path =
      realpath(from_environment ? from_environment : "build/release/faulty-disk.so", nullptr);
  if (path == nullptr) SKIP("no faulty-disk.so (set IGNIX_FAULTY_DISK)");
  library_path_ = path;
  free(path);
  const std::string dir = fresh_dir("disk");
  control_path_ = dir + "/control";
  journal_path_ = dir + "/journal";
  write_file(control_path_, std::string(sizeof(DiskControl), '\0'));
  const int fd = ::open(control_path_.c_str(), O_RDWR | O_CLOEXEC);
  void* at = mmap(nullptr, sizeof(DiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) FAIL("cannot map " + control_path_);
  ::close(fd);
  control_ = static_cast<DiskControl*>(at);
  control_->random = seed();
}

std::vector<std::string> FaultyDisk::environment() const {
  const char* options = getenv("ASAN_OPTIONS");
  return {"LD_PRELOAD=" + library_path_, "IGNIX_TEST_DISK=" + control_path_,
          "IGNIX_TEST_JOURNAL=" + journal_path_,
          // It wants to be the first, but the disk calls neither it nor libc's replacements.
          "ASAN_OPTIONS=verify_asan_link_order=0" + (options ? ":" + std::string(options) : "")};
}

void FaultyDisk::release(std::atomic<uint32_t>& hold) {
  hold = 0;
  syscall(SYS_futex, &hold, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void FaultyDisk::begin(const std::string& dir) {
  write_file(journal_path_, "");
  before_.clear();
  for (const std::string& name : regular_files(dir)) {
    struct stat info;
    if (stat((dir + "/" + name).c_str(), &info) != 0) FAIL("cannot stat " + name);
    before_.push_back({name, read_file(dir + "/" + name), info.st_ino});
  }
}

size_t FaultyDisk::lose_power(const std::string& dir, const std::string& name, Kept kept,
                              Random& random) {
  Replay replay;
  for (const Before& file : before_) replay.add_durable(file.name, file.inode, file.content);
  replay_journal(read_file(journal_path_), replay);
  for (const std::string& old : regular_files(dir)) unlink((dir + "/" + old).c_str());
  for (const auto& [left, content] : replay.left(kept, random))
    write_file(dir + "/" + left, content);
  return replay.durable_bytes(name);
}

}  // namespace test
