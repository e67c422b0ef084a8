#include "tools/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/thread_pool.h"
#include "kernels/isa.h"
#include "octet/octet.h"
#include "octet_commit.h"

namespace octet::tools {
namespace {

using Json = nlohmann::ordered_json;

bool is_fraction(const std::string& metric) { return metric != "psnr"; }

std::string show(const Accuracy& a) {
  return is_fraction(a.metric) ? fmt::format("{} {:.2f} %", a.metric, a.value * 100)
                               : fmt::format("{} {:.2f} dB", a.metric, a.value);
}

struct Column {
  std::string title;
  std::string (*cell)(const BenchRun&);
};

// The same columns in text and HTML.
const std::vector<Column>& columns() {
  static const std::vector<Column> kColumns = {
      {"model", [](const BenchRun& r) { return r.model; }},
      {"type", [](const BenchRun& r) { return r.precision; }},
      {"isa", [](const BenchRun& r) { return r.isa; }},
      {"thr",
       [](const BenchRun& r) {
         return r.streams > 1 ? fmt::format("{}x{}", r.streams, r.threads) : std::to_string(r.threads);
       }},
      {"batch", [](const BenchRun& r) { return std::to_string(r.batch); }},
      {"median ms", [](const BenchRun& r) { return fmt::format("{:.3f}", r.latency.median); }},
      {"p99 ms", [](const BenchRun& r) { return fmt::format("{:.3f}", r.latency.p99); }},
      {"per s", [](const BenchRun& r) { return fmt::format("{:.1f}", r.throughput); }},
      {"Gop/s", [](const BenchRun& r) { return fmt::format("{:.1f}", r.gops); }},
      {"load ms", [](const BenchRun& r) { return fmt::format("{:.0f}", r.cold.load_ms); }},
      {"first ms", [](const BenchRun& r) { return fmt::format("{:.1f}", r.cold.first_ms); }},
      {"rss MB", [](const BenchRun& r) { return fmt::format("{:.0f}", r.cold.peak_rss_mb); }},
      {"weights MB", [](const BenchRun& r) { return fmt::format("{:.2f}", r.weights_mb); }},
      {"arena MB", [](const BenchRun& r) { return fmt::format("{:.2f}", r.arena_mb); }},
      {"int8/float steps", [](const BenchRun& r) { return fmt::format("{}/{}", r.int8_steps, r.float_steps); }},
      {"accuracy", [](const BenchRun& r) { return r.accuracy ? show(*r.accuracy) : std::string("-"); }},
      {"agrees with fp32",
       [](const BenchRun& r) {
         return r.agreement ? fmt::format("{:.1f} % {:.1f} dB", r.agreement->top1 * 100, r.agreement->sqnr_db)
                            : std::string("-");
       }},
      {"output hash", [](const BenchRun& r) { return r.output_hash; }},
  };
  return kColumns;
}

std::string sentence(const Comparison& c) {
  std::string text = fmt::format(
      "{} on {}, {} thread{}: INT8 is {:.2f} times as fast as FP32 (throughput {:.2f}), weights {:.2f} times smaller",
      c.model, c.isa, c.threads, c.threads == 1 ? "" : "s", c.speedup, c.throughput_ratio, c.size_ratio);
  if (c.accuracy_drop) text += fmt::format(", accuracy drop {:.2f} points", *c.accuracy_drop * 100);
  return text;
}

std::string sentence(const BenchRun& run) {
  const Decoding& d = *run.decoding;
  return fmt::format("{} {} on {}, {} thread{}: {:.1f} tokens a second for a prompt of {}, then {:.1f} one by one",
                     run.model, run.precision, run.isa, run.threads, run.threads == 1 ? "" : "s", d.prefill, d.prompt_tokens,
                     d.decode);
}

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  return out;
}

std::string machine_line(const Machine& m) {
  return fmt::format("octet {} ({}) on {}, {} cores, {}", version(), commit(), m.cpu, m.cores, fmt::join(m.isas, " "));
}

// Notes in order, each once.
std::vector<std::string> notes(const Report& report) {
  std::vector<std::string> all;
  for (const BenchRun& run : report.runs) {
    const std::string note = run.model + " " + run.precision + ": " + run.note;
    if (!run.note.empty() && std::find(all.begin(), all.end(), note) == all.end()) all.push_back(note);
  }
  return all;
}

}  // namespace

std::string commit() { return OCTET_COMMIT; }

Machine this_machine() {
  Machine m;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) {
      m.cpu = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  m.cores = default_threads();
  for (const kernels::Isa& isa : kernels::all_isas())
    if (isa.id != kernels::IsaId::reference && kernels::supported(isa)) m.isas.emplace_back(isa.name);
  return m;
}

std::string to_text(const Report& report) {
  std::string text = machine_line(report.machine) + "\n\n";
  std::vector<size_t> widths;
  for (const Column& c : columns()) {
    size_t width = c.title.size();
    for (const BenchRun& run : report.runs) width = std::max(width, c.cell(run).size());
    widths.push_back(width);
  }
  const auto row = [&](const BenchRun* run) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = run ? columns()[i].cell(*run) : columns()[i].title;
      line += i < 3 ? fmt::format("{:<{}}  ", cell, widths[i]) : fmt::format("{:>{}}  ", cell, widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  row(nullptr);
  for (const BenchRun& run : report.runs) row(&run);
  if (!report.comparisons.empty()) text += "\n";
  for (const Comparison& c : report.comparisons) text += sentence(c) + "\n";
  for (const BenchRun& run : report.runs)
    if (run.decoding) text += sentence(run) + "\n";
  const auto all = notes(report);
  if (!all.empty()) text += "\n";
  for (const std::string& note : all) text += note + "\n";
  return text;
}

std::string to_json(const Report& report) {
  Json json;
  json["octet"] = {{"version", version()}, {"commit", commit()}};
  json["machine"] = {{"cpu", report.machine.cpu}, {"cores", report.machine.cores}, {"isas", report.machine.isas}};
  json["runs"] = Json::array();
  for (const BenchRun& r : report.runs) {
    Json run = {{"model", r.model},     {"file", r.file},       {"precision", r.precision}, {"isa", r.isa},
                {"threads", r.threads}, {"streams", r.streams}, {"batch", r.batch}};
    run["latency_ms"] = {{"min", r.latency.min}, {"median", r.latency.median}, {"p90", r.latency.p90},
                         {"p99", r.latency.p99}, {"mean", r.latency.mean},     {"samples", r.latency.samples}};
    run["throughput_per_s"] = r.throughput;
    run["load_ms"] = r.cold.load_ms;
    run["first_ms"] = r.cold.first_ms;
    run["peak_rss_mb"] = r.cold.peak_rss_mb;
    run["weights_mb"] = r.weights_mb;
    run["arena_mb"] = r.arena_mb;
    run["steps"] = {{"int8", r.int8_steps}, {"float", r.float_steps}};
    run["gops"] = r.gops;
    if (r.accuracy)
      run["accuracy"] = {{"metric", r.accuracy->metric}, {"value", r.accuracy->value}, {"samples", r.accuracy->samples}};
    if (r.agreement)
      run["agreement"] = {{"top1", r.agreement->top1}, {"sqnr_db", r.agreement->sqnr_db}, {"cosine", r.agreement->cosine}};
    if (r.decoding)
      run["decoding"] = {{"prompt_tokens", r.decoding->prompt_tokens},
                         {"prefill_tokens_per_s", r.decoding->prefill},
                         {"new_tokens", r.decoding->new_tokens},
                         {"decode_tokens_per_s", r.decoding->decode}};
    run["output_hash"] = r.output_hash;
    if (!r.note.empty()) run["note"] = r.note;
    json["runs"].push_back(run);
  }
  json["comparisons"] = Json::array();
  for (const Comparison& c : report.comparisons) {
    Json entry = {{"model", c.model},
                  {"isa", c.isa},
                  {"threads", c.threads},
                  {"speedup", c.speedup},
                  {"throughput_ratio", c.throughput_ratio}};
    if (c.accuracy_drop) entry["accuracy_drop"] = *c.accuracy_drop;
    entry["size_ratio"] = c.size_ratio;
    json["comparisons"].push_back(entry);
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_html(const Report& report) {
  std::string html =
      "<!doctype html>\n<meta charset=\"utf-8\">\n<title>octet bench</title>\n<style>\n"
      "body{font:14px/1.5 system-ui,sans-serif;margin:2em;max-width:110em}\ntable{border-collapse:collapse}\n"
      "td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\n"
      "td:nth-child(-n+3),th:nth-child(-n+3){text-align:left}\ntr.int8{background:#eef6ee}\n.bar{display:inline-block;"
      "height:.8em}\n"
      ".fp32 .bar{background:#789}\n.int8 .bar{background:#3a7}\n</style>\n<h1>octet bench</h1>\n<p>" +
      escape(machine_line(report.machine)) + "</p>\n<table>\n<tr>";
  for (const Column& c : columns()) html += "<th>" + escape(c.title) + "</th>";
  html += "<th>latency</th></tr>\n";
  for (const BenchRun& run : report.runs) {
    double longest = 0;
    for (const BenchRun& other : report.runs)
      if (other.model == run.model) longest = std::max(longest, other.latency.median);
    html += "<tr class=\"" + escape(run.precision) + "\">";
    for (const Column& c : columns()) html += "<td>" + escape(c.cell(run)) + "</td>";
    html += fmt::format("<td style=\"text-align:left\"><span class=\"bar\" style=\"width:{:.0f}px\"></span></td></tr>\n",
                        longest > 0 ? 200 * run.latency.median / longest : 0);
  }
  html += "</table>\n<ul>\n";
  for (const Comparison& c : report.comparisons) html += "<li>" + escape(sentence(c)) + "</li>\n";
  for (const BenchRun& run : report.runs)
    if (run.decoding) html += "<li>" + escape(sentence(run)) + "</li>\n";
  for (const std::string& note : notes(report)) html += "<li>" + escape(note) + "</li>\n";
  return html + "</ul>\n";
}

}  // namespace octet::tools
