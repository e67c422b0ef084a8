#include "tools/timing.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

extern char** environ;

namespace octet::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kSliceSeconds = 0.25;
constexpr size_t kLeastSamples = 10;
constexpr double kPatience = 4;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Runs until the slice is over, at least once.
void run_slice(Session& session, double seconds, std::vector<double>& ms) {
  const auto slice = Clock::now();
  do {
    const auto begin = Clock::now();
    session.run();
    ms.push_back(seconds_since(begin) * 1e3);
  } while (seconds_since(slice) < seconds);
}

void run_slice(Contender& contender, double seconds) {
  const auto begin = Clock::now();
  if (contender.streams.size() == 1) {
    run_slice(*contender.streams[0], seconds, contender.ms);
  } else {
    std::vector<std::vector<double>> ms(contender.streams.size());
    std::vector<std::exception_ptr> errors(contender.streams.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ms.size(); ++i)
      threads.emplace_back([&, i] {
        try {
          run_slice(*contender.streams[i], seconds, ms[i]);
        } catch (...) {
          errors[i] = std::current_exception();
        }
      });
    for (std::thread& t : threads) t.join();
    for (const auto& error : errors)
      if (error) std::rethrow_exception(error);
    for (const auto& part : ms) contender.ms.insert(contender.ms.end(), part.begin(), part.end());
  }
  contender.busy_seconds += seconds_since(begin);
}

}  // namespace

Latency summarize(std::vector<double> ms) {
  Latency l;
  l.samples = ms.size();
  if (ms.empty()) return l;
  std::sort(ms.begin(), ms.end());
  // The smallest value with at least that fraction of the samples at or below it.
  const auto percentile = [&](double p) {
    return ms[static_cast<size_t>(std::max(0.0, std::ceil(p * static_cast<double>(ms.size())) - 1))];
  };
  const size_t half = ms.size() / 2;
  l.min = ms.front();
  l.median = ms.size() % 2 ? ms[half] : (ms[half - 1] + ms[half]) / 2;
  l.p90 = percentile(0.9);
  l.p99 = percentile(0.99);
  l.mean = std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(ms.size());
  return l;
}

void measure(std::vector<Contender>& contenders, double seconds) {
  for (Contender& c : contenders) {
    run_slice(c, std::min(0.2, seconds / 10));
    c.ms.clear();
    c.busy_seconds = 0;
  }
  const auto done = [&](const Contender& c) {
    return (c.busy_seconds >= seconds && c.ms.size() >= kLeastSamples) || c.busy_seconds >= kPatience * seconds;
  };
  while (!std::all_of(contenders.begin(), contenders.end(), done))
    for (Contender& c : contenders)
      if (!done(c)) run_slice(c, std::min(kSliceSeconds, seconds));
}

double peak_rss_mb() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmHWM:") {
      double kilobytes = 0;
      status >> kilobytes;
      return kilobytes / 1024;
    }
  return 0;
}

ColdStart spawn_cold_start(const std::vector<std::string>& arguments) {
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::io, "measuring in a fresh process: " + what); };
  std::vector<std::string> words{"octet", "cold-start"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);

  int ends[2];
  if (::pipe(ends) != 0) fail(std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, ends[0]);
  ::posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int spawned = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t n = 0; spawned == 0 && (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  ::close(ends[0]);
  if (spawned != 0) fail(std::strerror(spawned));
  int status = 0;
  ::waitpid(child, &status, 0);
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (status != 0 || json.is_discarded()) fail("it ended with status " + std::to_string(status));
  return {json.value("load_ms", 0.0), json.value("first_ms", 0.0), json.value("peak_rss_mb", 0.0)};
}

double milliseconds(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return seconds_since(begin) * 1e3;
}

}  // namespace octet::tools
