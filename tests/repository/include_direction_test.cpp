// The table of architecture.md, "may include", checked over every source of the tree; and that nothing is compiled for a
// particular CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = OCTET_SOURCE_DIR;

// First component of an include in quotes (the folder it reaches into) -> may it be reached from the folder?
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"engine/include", {"octet"}},
    {"kernels", {"kernels", "octet"}},
    {"graph", {"graph", "octet"}},
    {"frontends", {"frontends", "graph", "octet", "octet_onnx.pb.h"}},
    {"engine", {"engine", "kernels", "graph", "frontends", "octet"}},
    {"tools", {"tools", "engine", "kernels", "graph", "frontends", "octet", "octet_commit.h"}},
    {"bench", {"bench", "kernels", "octet"}},
};

// Public headers that a layer below the engine may see.
const std::set<std::string> kVocabulary = {"octet/types.h", "octet/numerics.h", "octet/numerics_norm.h",
                                           "octet/numerics_functions.h", "octet/attention_numerics.h"};

// Third-party headers in angle brackets, by folder; the standard library and the system have no such prefix.
const std::map<std::string, std::set<std::string>> kThirdParty = {
    {"xbyak/", {"kernels"}},
    {"cpuinfo.h", {"kernels", "engine"}},
    {"google/protobuf", {"frontends"}},
    {"octet_onnx.pb.h", {"frontends"}},
    {"CLI/", {"tools"}},
    {"fmt/", {"tools"}},
    {"nlohmann/", {"tools"}},
    {"stb/", {"tools"}},
    {"benchmark/", {"bench"}},
    {"onnx/", {}},
    {"immintrin.h", {}},
    {"x86intrin.h", {}},
    {"avx", {}},
};

struct Include {
  std::string file;
  int line;
  std::string target;
  bool quoted;
};

std::vector<Include> includes_in(const std::string& text, const std::string& file) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*(["<])([^">]+)[">])");
  std::vector<Include> found;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) found.push_back({file, number, match[2], match[1] == "\""});
  }
  return found;
}

std::string folder_of(const std::string& file) {
  if (file.rfind("engine/include/", 0) == 0) return "engine/include";
  return file.substr(0, file.find('/'));
}

// Empty when the include is allowed.
std::string violation(const Include& include) {
  const std::string folder = folder_of(include.file);
  const std::string at =
      include.file + ":" + std::to_string(include.line) + ": " + folder + " must not include " + include.target;
  const auto rule = kMayInclude.find(folder);
  if (rule == kMayInclude.end()) return "";
  for (const auto& [prefix, folders] : kThirdParty)
    if (include.target.rfind(prefix, 0) == 0) return folders.count(folder) ? "" : at;
  if (!include.quoted && include.target.rfind("octet/", 0) != 0) return "";
  const std::string target = include.target.substr(0, include.target.find('/'));
  if (!rule->second.count(target)) return at;
  const bool below_engine = folder == "kernels" || folder == "graph" || folder == "frontends" || folder == "bench";
  if (target == "octet" && below_engine && !kVocabulary.count(include.target))
    return at + " (of the public headers only types.h and the numerics)";
  return "";
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Files of the tree with one of the extensions or names, relative to the root, without build folders.
std::vector<std::string> files(const std::set<std::string>& kinds) {
  std::vector<std::string> found;
  for (auto it = fs::recursive_directory_iterator(kRoot); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name.rfind("build", 0) == 0 || name[0] == '.')) {
      it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file() && (kinds.count(it->path().extension().string()) || kinds.count(name)))
      found.push_back(fs::relative(it->path(), kRoot).string());
  }
  return found;
}

TEST(IncludeDirection, EverySourceKeepsTheTable) {
  const auto sources = files({".h", ".cpp"});
  ASSERT_GT(sources.size(), 50u) << "the tree was not found under " << kRoot;
  std::set<std::string> seen;
  for (const std::string& file : sources) {
    seen.insert(folder_of(file));
    for (const Include& include : includes_in(read(kRoot / file), file)) EXPECT_EQ(violation(include), "");
  }
  for (const auto& [folder, allowed] : kMayInclude)
    if (fs::exists(kRoot / folder) && folder != "bench") {
      EXPECT_TRUE(seen.count(folder)) << folder << " has no sources: is its name in the table still right?";
    }
}

TEST(IncludeDirection, ViolationsAreSeen) {
  const auto judged = [](const std::string& file, const std::string& line) {
    const auto includes = includes_in(line, file);
    return includes.size() == 1 && violation(includes[0]).empty();
  };
  EXPECT_TRUE(judged("kernels/conv.cpp", "#include \"kernels/isa.h\""));
  EXPECT_TRUE(judged("kernels/conv.cpp", "#include \"octet/types.h\""));
  EXPECT_TRUE(judged("engine/lower/pool.cpp", "#include \"kernels/ops.h\""));
  EXPECT_TRUE(judged("graph/ir.cpp", "#include <vector>"));
  EXPECT_FALSE(judged("kernels/conv.cpp", "#include \"graph/ir.h\""));
  EXPECT_FALSE(judged("kernels/conv.cpp", "#include \"octet/octet.h\""));
  EXPECT_FALSE(judged("kernels/conv.cpp", "  #  include <immintrin.h>"));
  EXPECT_FALSE(judged("graph/ir.cpp", "#include \"kernels/isa.h\""));
  EXPECT_FALSE(judged("graph/ir.cpp", "#include <octet/octet.h>"));
  EXPECT_FALSE(judged("graph/ir.cpp", "#include <google/protobuf/message_lite.h>"));
  EXPECT_FALSE(judged("frontends/onnx/import.cpp", "#include \"engine/model.h\""));
  EXPECT_FALSE(judged("engine/model.cpp", "#include \"tools/zoo.h\""));
  EXPECT_FALSE(judged("engine/model.cpp", "#include <fmt/format.h>"));
  EXPECT_FALSE(judged("engine/include/octet/octet.h", "#include \"graph/ir.h\""));
  EXPECT_FALSE(judged("tools/bench.cpp", "#include <xbyak/xbyak.h>"));
}

TEST(BaselineCode, NoCMakeFileAsksForAnInstructionSet) {
  const std::regex flag(R"((-m(avx|sse|fma|arch|tune|amx|f16c|bmi)|-x(host|core)))", std::regex::icase);
  const auto makes = files({".cmake", "CMakeLists.txt", "CMakePresets.json"});
  ASSERT_GT(makes.size(), 5u);
  for (const std::string& file : makes) EXPECT_FALSE(std::regex_search(read(kRoot / file), flag)) << file;
  EXPECT_TRUE(std::regex_search(std::string("target_compile_options(x PRIVATE -mavx2)"), flag));
  EXPECT_TRUE(std::regex_search(std::string("-march=native"), flag));
  EXPECT_FALSE(std::regex_search(std::string("-fno-math-errno -maximum"), flag));
}

TEST(BaselineCode, NoSourceRaisesTheInstructionSetOfAFunction) {
  const std::regex attribute(
      R"(__attribute__\s*\(\(\s*target|#\s*pragma\s+(GCC|clang)\s+(target|attribute)|\[\[gnu::target)");
  for (const std::string& file : files({".h", ".cpp"}))
    if (file != "tests/repository/include_direction_test.cpp") {
      EXPECT_FALSE(std::regex_search(read(kRoot / file), attribute)) << file;
    }
  EXPECT_TRUE(std::regex_search(std::string("__attribute__((target(\"avx2\")))"), attribute));
}

}  // namespace
