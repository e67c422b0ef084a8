#include "tools/operators.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace octet::tools {
namespace {

TEST(OperatorsPage, IsCurrent) {
  std::ifstream file(std::string(OCTET_SOURCE_DIR) + "/docs/operators.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), operators_page()) << "run: octet operators > docs/operators.md";
}

TEST(OperatorsPage, SaysWhatAnOperatorTakes) {
  const std::string page = operators_page();
  EXPECT_NE(page.find("| Conv | ✓ | ✓ | ✓ |  |  |  | product |\n"), std::string::npos) << page;
  EXPECT_NE(page.find("| Reshape | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | moved |\n"), std::string::npos);
  EXPECT_NE(page.find("| NonMaxSuppression | ✓ |  |  |  |  |  | – |\n"), std::string::npos);
}

}  // namespace
}  // namespace octet::tools
