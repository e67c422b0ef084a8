// The table of operators that docs/operators.md holds: for each, the element types it takes and what becomes of it in INT8.
#pragma once

#include <string>

namespace octet::tools {

// The whole page, in Markdown, made from the operators' definitions alone.
std::string operators_page();

}  // namespace octet::tools
