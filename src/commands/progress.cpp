// SPDX-License-Identifier: Apache-2.0
#include "commands/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include <nlohmann/json.hpp>

#include "commands/signals.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

namespace t2v::commands {

namespace {

using Json = nlohmann::ordered_json;
constexpr std::array kStages{Stage::load, Stage::text, Stage::denoise, Stage::decode, Stage::encode};

void write_error_stream(const std::string& text) {
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, text.data(), text.size());
}

void write_event(const Json& event) {
  write_error_stream(event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

double rounded(double seconds) { return static_cast<double>(static_cast<int64_t>(seconds * 1e6 + 0.5)) / 1e6; }

ConsoleProgress::Form form_of(const cli::RunOptions& options) {
  using Form = ConsoleProgress::Form;
  if (options.progress == "json") return Form::json;
  if (options.progress == "bar") return Form::bar;
  if (options.progress == "none" || options.verbosity < 0) return Form::none;
  return isatty(STDERR_FILENO) && options.log_format == "text" ? Form::bar : Form::lines;
}

size_t terminal_width() {
  winsize size{};
  constexpr size_t kUsual = 80;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

/// "2.03 it/s" or, for slow steps, "4.1 s/it".
std::string rate_text(double per_second) {
  char text[32];
  if (per_second >= 1) {
    std::snprintf(text, sizeof text, "%.3g it/s", per_second);
  } else {
    std::snprintf(text, sizeof text, "%.3g s/it", 1.0 / per_second);
  }
  return text;
}

/// Steps of loading and of reading the prompt are of all sizes: their rate says nothing.
bool has_rate(Stage stage) { return stage == Stage::denoise || stage == Stage::decode; }

std::string measures(int64_t done, int64_t count, double elapsed) {
  if (done <= 0 || elapsed <= 0) return {};
  std::string text = rate_text(static_cast<double>(done) / elapsed);
  if (count > done)
    text += "  ETA " + human_seconds(elapsed / static_cast<double>(done) * static_cast<double>(count - done));
  return text;
}

}  // namespace

ConsoleProgress::ConsoleProgress(const cli::RunOptions& options) : form_(form_of(options)) {}

void ConsoleProgress::restart() {
  start_ = Clock::now();
  seconds_ = {};
}

double ConsoleProgress::total_seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

bool ConsoleProgress::cancelled() { return stop_asked(); }

void ConsoleProgress::begin(Stage stage, int64_t count) {
  stage_start_ = last_shown_ = Clock::now();
  steps_done_ = 0;
  if (form_ == Form::bar) draw(stage, 0, count, 0);
}

void ConsoleProgress::step(Stage stage, int64_t index, int64_t count, double seconds) {
  ++steps_done_;
  if (form_ == Form::json) {
    write_event({{"event", "step"},
                 {"stage", stage_name(stage)},
                 {"index", index},
                 {"count", count},
                 {"seconds", rounded(seconds)},
                 {"peak_rss_bytes", peak_rss_bytes()}});
    return;
  }
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - stage_start_).count();
  const double silent = std::chrono::duration<double>(now - last_shown_).count();
  constexpr double kRedraw = 0.05;  // a fast stage must not spend its time on drawing
  constexpr double kLine = 10.0;
  const bool is_last = index + 1 == count;
  if (form_ == Form::bar && (silent > kRedraw || is_last)) draw(stage, index + 1, count, elapsed);
  if (form_ == Form::lines && silent > kLine && !is_last) line(stage, index + 1, count, elapsed);
}

void ConsoleProgress::end(Stage stage, double seconds) {
  seconds_[static_cast<size_t>(stage)] += seconds;
  if (form_ == Form::lines) line(stage, steps_done_, steps_done_, seconds);
  if (form_ == Form::bar) {
    clear_bar();
    const bool is_counted = steps_done_ > 1 && has_rate(stage);
    std::string text = std::string(stage_name(stage)) + ": " + human_seconds(seconds);
    if (is_counted)
      text += "  (" + std::to_string(steps_done_) + " x, " + measures(steps_done_, steps_done_, seconds) + ")";
    write_error_stream(text + "\n");
  }
}

void ConsoleProgress::clear_bar() {
  if (bar_drawn_) write_error_stream("\r\x1b[K");
  bar_drawn_ = false;
}

void ConsoleProgress::draw(Stage stage, int64_t done, int64_t count, double elapsed) {
  last_shown_ = Clock::now();
  std::string name(stage_name(stage));
  name.resize(8, ' ');
  std::string tail(1, ' ');
  tail.append(std::to_string(done));
  if (count > 0) tail.append(1, '/').append(std::to_string(count));
  if (has_rate(stage)) tail.append(2, ' ').append(measures(done, count, elapsed));
  std::string text = name;
  constexpr size_t kMaxBar = 40;
  const size_t used = name.size() + tail.size() + 3;
  const size_t width = terminal_width() > used ? std::min(kMaxBar, terminal_width() - used) : 0;
  if (count > 0 && width >= 4) {
    const auto full =
        static_cast<size_t>(static_cast<double>(width) * static_cast<double>(done) / static_cast<double>(count));
    text.append(1, '[').append(std::min(full, width), '#').append(width - std::min(full, width), '.').append(1, ']');
  }
  write_error_stream("\r\x1b[K" + text + tail);
  bar_drawn_ = true;
}

void ConsoleProgress::line(Stage stage, int64_t done, int64_t count, double elapsed) {
  last_shown_ = Clock::now();
  std::string text(stage_name(stage));
  if (count > done) text.append(1, ' ').append(std::to_string(done)).append(1, '/').append(std::to_string(count));
  text += ": " + human_seconds(elapsed);
  if (has_rate(stage) && done > 0) text += ", " + measures(done, count, elapsed);
  log::info("{}", text);
}

void ConsoleProgress::done(const Summary& summary) {
  clear_bar();
  const double total = total_seconds();
  if (form_ == Form::json) {
    Json seconds;
    for (const Stage stage : kStages) seconds[std::string(stage_name(stage))] = rounded(this->seconds(stage));
    seconds["total"] = rounded(total);
    write_event({{"event", "done"},
                 {"output", summary.output},
                 {"seed", summary.seed},
                 {"seconds", seconds},
                 {"peak_rss_bytes", peak_rss_bytes()}});
    return;
  }
  log::info("{}: {} frames, seed {}, {}, peak memory {}", summary.output, summary.frames, summary.seed,
            human_seconds(total), human_bytes(peak_rss_bytes()));
}

int64_t peak_rss_bytes() {
  // Not getrusage(): its peak is also that of the process which started this one, from before exec().
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace t2v::commands
