// Inline commands: a line of words as typed into telnet, with quotes and escapes.
#pragma once

#include <string_view>

#include "resp/parser.h"

namespace ignix {

// Splits `line` and appends its words to `words`. "double quotes" know \n \r \t \b \a \xHH and \c
// for c; 'single quotes' know \'. False when a quote is not closed or not followed by a space, or
// when there is no memory; then no words have been added.
bool split_inline(std::string_view line, Words& words);

}  // namespace ignix
