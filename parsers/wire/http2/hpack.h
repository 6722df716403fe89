// HPACK decoding by nghttp2, plus what an observer needs and an endpoint does not: going on in the middle of a
// connection. An inflater that starts cold fails for good at the first index it does not know. This one gets
// placeholders below what it knows, as many as a block refers to, so that every index decodes: fields that were sent
// before observation began are called "?" and have no value.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "parsers/wire/http/message.h"

struct nghttp2_hd_inflater;

namespace penstock::parsers::wire::http2 {

inline constexpr std::uint32_t kDefaultTableBytes = 4096;
inline constexpr std::string_view kUnknownName = "?";

class Hpack {
 public:
  // `cold`: entries before the first block are unknown.
  explicit Hpack(bool cold);
  ~Hpack();
  Hpack(const Hpack&) = delete;
  Hpack& operator=(const Hpack&) = delete;

  // The peer of the encoder announced SETTINGS_HEADER_TABLE_SIZE and the encoder has acknowledged it.
  void change_table_size(std::uint32_t bytes);
  // Decodes one whole header block into `fields`, which is cleared first; what is beyond the bounds of a head is left
  // out. False: it is broken, or refers to what cannot be known; the table is unknown from here on. After too many of
  // them it is false for good.
  bool decode(std::span<const std::uint8_t> block, http::Fields& fields);
  // Bytes were lost: header blocks may have been among them.
  void forget();
  bool cold() const { return cold_; }

 private:
  bool run(std::span<const std::uint8_t> block, http::Fields* fields);
  void make(std::size_t placeholders);
  void provide(std::span<const std::uint8_t> block);
  std::size_t entries() const;
  struct Delete {
    void operator()(nghttp2_hd_inflater* inflater) const;
  };
  std::unique_ptr<nghttp2_hd_inflater, Delete> inflater_;  // made when a block needs it
  std::uint32_t table_bytes_ = kDefaultTableBytes;
  bool cold_;
  bool enlarged_ = false;  // a larger table than was announced has been assumed
  std::size_t placeholders_ = 0;
  std::uint32_t failures_ = 0;
};

}  // namespace penstock::parsers::wire::http2
