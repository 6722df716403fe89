// The live line of `penstock run`: the last line of the terminal, outside the region the command's output scrolls in.
// Not there when standard error is no terminal, or while the command uses the terminal raw (full-screen programs).
#pragma once

#include <string>

#include "userspace/api/control.pb.h"

namespace penstock::cli {

class Meter {
 public:
  explicit Meter(bool wanted);
  ~Meter() { hide(); }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;
  bool wanted() const { return wanted_; }
  void draw(const api::RunSummary& run);
  void hide();
  void resized() { hide(); }

 private:
  bool show();
  bool wanted_;
  unsigned rows_ = 0;  // of the terminal when the line was set up; 0: hidden
};

// What the line says.
std::string meter_text(const api::RunSummary& run);

}  // namespace penstock::cli
