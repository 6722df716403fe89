// Capture files (userspace/api/capture.proto): the plaintext of connections, record by record.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "parsers/core/connection_parser.h"
#include "parsers/decode/har.h"
#include "userspace/base/result.h"

namespace penstock::parsers::decode {

bool is_pncap(std::string_view file);

// Feeds every connection of the file to a parser of its own and closes those that are open at its end. Fails at the
// first record that is broken or cut; what stands before it has been replayed.
base::Result<> replay_pncap(std::string_view file, ConnectionParserFactory factory, ExchangeSink& sink);

// Writes a capture file.
class PncapWriter {
 public:
  PncapWriter();
  void add(std::uint64_t connection, const Conversation& conversation);
  const std::string& file() const { return file_; }

 private:
  std::string file_;
};

}  // namespace penstock::parsers::decode
