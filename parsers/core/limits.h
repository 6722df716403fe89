// The bounds of the parsers, in one place. What is beyond a bound is counted and marks the result incomplete.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::parsers::limits {

// HTTP. Node's and nginx' defaults are 16 and 32 KiB per head; agents send long cookies and tokens.
inline constexpr std::size_t kHeadBytes = 128 * 1024;       // start line and fields of one message
inline constexpr std::size_t kHeaders = 512;                // fields of one message
inline constexpr std::size_t kChunkLineBytes = 16 * 1024;   // chunk extensions
inline constexpr std::size_t kPipelined = 256;              // requests without an answer on one HTTP/1 connection
inline constexpr std::size_t kStreams = 1024;               // concurrent HTTP/2 streams followed
inline constexpr std::size_t kHpackTableBytes = 64 * 1024;  // largest dynamic table kept

// JSON.
inline constexpr std::size_t kJsonDepth = 512;
inline constexpr std::size_t kJsonKeyBytes = 256;    // longer keys are cut: no known key is that long
inline constexpr std::size_t kJsonNumberBytes = 64;  // longer numbers are kept as "not a number we can use"

// Server-sent events: names and other fields; `data` is passed on in pieces and has no bound.
inline constexpr std::size_t kSseFieldBytes = 4096;

// Decompression. gzip cannot exceed 1032 : 1; br and zstd can exceed 100,000 : 1.
inline constexpr std::uint64_t kInflatedBytes = 1ull << 30;      // per body
inline constexpr std::uint64_t kInflateRatio = 1100;             // output : input, once kInflateRatioFrom is passed
inline constexpr std::uint64_t kInflateRatioFrom = 16ull << 20;  // below this size any ratio is accepted
inline constexpr std::size_t kContentCodings = 3;                // stacked content codings

// Messages of gRPC, WebSocket and AWS event streams are passed on in pieces; only their heads are kept.
inline constexpr std::size_t kEventStreamHeaderBytes = 128 * 1024;
inline constexpr std::uint64_t kEventStreamMessageBytes = 24ull << 20;

}  // namespace penstock::parsers::limits
