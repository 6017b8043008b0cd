// The test runner. A case is a function that registers itself:
//
//     TEST(store, grows) { CHECK(table.size() > 3); CHECK_EQ(table.get("a"), "1"); }
//
// Every case runs in a process of its own, forked from the runner, so a crash, a hang or a leaked
// server fails that case only. Cases that talk to a server (in e2e_*.cc and differential_*.cc)
// run twice: as they are, where the server chooses io_uring if the kernel lets it, and, with
// "@epoll" behind the name, with --io epoll. A check that fails prints what it saw and ends the
// case, wherever it stands: in the case itself, in a helper that returns a value, in a lambda, in
// another thread.
//
//     TEST        runs beside other cases
//     TEST_LONG   the same, but is started before the short ones
//     TEST_ALONE  runs when nothing else does: for cases that measure, or that need the machine
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace test {

enum class Kind { kNormal, kLong, kAlone };

struct Registration {
  Registration(const char* file, const char* group, const char* name, Kind kind, void (*body)());
};

// What --io the running case gives to its servers; "" for the default.
const char* io_of_case();

// The seed of the running case: made of the run's seed and the case's name, so that the case sees
// the same numbers whether it runs alone or among others.
uint64_t seed();

// A directory of the running case. It exists, is empty at first, and is removed by the runner.
const std::string& case_dir();

// "ignix-test --seed N --filter GROUP.NAME", to be printed with a failure that depends on the seed.
std::string how_to_repeat();

// Time limits of tests are written for a plain build and multiplied by this: 1, or more under a
// sanitizer.
int slowness();

// A word about where a long case stands, shown on a terminal only.
void progress(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Called before a failed case ends, newest first; a server under test prints the tail of its log
// there.
void at_failure(void (*hook)());

// `text` in double quotes, with \r \n \t \" \\ and \xNN for what does not print; the middle of a
// text longer than `limit` bytes is left out.
std::string quote(std::string_view text, size_t limit = 400);

[[noreturn]] void fail(const char* file, int line, const std::string& message);
[[noreturn]] void skip(const std::string& reason);

template <typename T>
std::string show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_same_v<T, char>) {
    return quote(std::string_view(&value, 1));
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return quote(value);
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_pointer_v<T>) {
    return value == nullptr ? "nullptr" : "a pointer";
  } else {
    return "(a value that has no text)";
  }
}

template <typename T>
constexpr bool kIsNumber =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (kIsNumber<A> && kIsNumber<B>) {
    return std::cmp_equal(a, b);
  } else if constexpr (std::is_convertible_v<const A&, std::string_view> &&
                       std::is_convertible_v<const B&, std::string_view>) {
    return std::string_view(a) == std::string_view(b);
  } else {
    return a == b;
  }
}

template <typename A, typename B>
void check_equal(const A& a, const B& b, const char* a_text, const char* b_text, bool want,
                 const char* file, int line) {
  if (equal(a, b) == want) return;
  fail(file, line,
       std::string(a_text) + (want ? " == " : " != ") + b_text + "\n  left:  " + show(a) +
           "\n  right: " + show(b));
}

}  // namespace test

#define TEST_OF_KIND(group, name, kind)                                                          \
  static void test_##group##_##name();                                                           \
  static const ::test::Registration registration_##group##_##name(__FILE__, #group, #name, kind, \
                                                                  test_##group##_##name);        \
  static void test_##group##_##name()

#define TEST(group, name) TEST_OF_KIND(group, name, ::test::Kind::kNormal)
#define TEST_LONG(group, name) TEST_OF_KIND(group, name, ::test::Kind::kLong)
#define TEST_ALONE(group, name) TEST_OF_KIND(group, name, ::test::Kind::kAlone)

#define CHECK(condition)                                            \
  do {                                                              \
    if (!(condition)) ::test::fail(__FILE__, __LINE__, #condition); \
  } while (0)

#define CHECK_EQ(a, b) ::test::check_equal((a), (b), #a, #b, true, __FILE__, __LINE__)
#define CHECK_NE(a, b) ::test::check_equal((a), (b), #a, #b, false, __FILE__, __LINE__)

// For helpers; the same as CHECK, which may be used there too.
#define REQUIRE(condition) CHECK(condition)

#define FAIL(message) ::test::fail(__FILE__, __LINE__, (message))
#define SKIP(reason) ::test::skip(reason)
