// Whose version is whose.
#pragma once

namespace ignix {

constexpr const char* kVersion = "0.4.0";
// The Redis whose commands and replies this server has; clients choose features by it.
constexpr const char* kRedisVersion = "7.0.15";

}  // namespace ignix
