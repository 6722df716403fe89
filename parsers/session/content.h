// Undoes the content coding of a body. The bytes decide where they can: recorders and proxies announce a coding that is
// not there any more, or none where there is one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "parsers/wire/inflate/inflate.h"

namespace penstock::parsers::session {

class ContentDecoder final : wire::inflate::Output {
 public:
  struct Sink {
    virtual ~Sink() = default;
    virtual void on_content(std::string_view bytes) = 0;
  };
  ContentDecoder(std::string_view announced, Sink& sink) : announced_(announced), sink_(sink) {}
  void feed(std::string_view bytes);
  // The body has ended: what was too short to tell its coding is passed on.
  void finish();
  // True when bytes behind a hole cannot be decoded.
  bool coded() const { return decoder_ && !decoder_->identity(); }
  // The coding is unknown, broken or beyond a bound: the content is incomplete.
  bool failed() const { return failed_; }

 private:
  void on_inflated(std::span<const std::uint8_t> bytes) override;
  void decide(std::string_view start);
  void decode(std::string_view bytes);

  std::string announced_;
  Sink& sink_;
  std::string start_;  // the first bytes, until they tell
  std::optional<wire::inflate::Decoder> decoder_;
  bool failed_ = false;
};

}  // namespace penstock::parsers::session
