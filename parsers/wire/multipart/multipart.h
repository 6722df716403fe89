// multipart/form-data (RFC 7578) and its relatives, in pieces: the fields of each part and its content as it comes.
//   body = [preamble CRLF] *( "--" boundary CRLF *( field CRLF ) CRLF content CRLF ) "--" boundary "--"
// Lines of part heads may end in LF alone, and if the first line does, so may all. Content is never gathered: files are
// skipped at memory speed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "parsers/core/parse_state.h"
#include "parsers/wire/http/message.h"

namespace penstock::parsers::wire::multipart {

struct Part {
  std::string name;      // of Content-Disposition
  std::string filename;  // empty: no file
  std::string content_type;
  bool is_file = false;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void on_part_begin(const Part& part) = 0;
  virtual void on_part_data(std::string_view piece) = 0;
  // `whole` is false when the body ended first.
  virtual void on_part_end(bool whole) = 0;
};

class Parser {
 public:
  // `boundary`: the parameter of the Content-Type field. An empty or over-long one never matches.
  Parser(std::string_view boundary, Sink& sink);
  ParseState feed(std::string_view bytes);
  ParseState finish();

 private:
  enum class State : std::uint8_t { kPreamble, kAfterBoundary, kHead, kContent, kEpilogue, kInvalid };
  const char* scan(const char* p, const char* end);
  const char* head(const char* p, const char* end);
  void head_line(std::string_view line);
  void content(std::string_view piece);
  void begin_content();

  std::size_t line_end() const { return delimiter_[0] == '\r' ? 2 : 1; }

  std::string delimiter_;  // CRLF (or LF) "--" boundary
  Sink& sink_;
  State state_ = State::kPreamble;
  std::size_t matched_;   // bytes of the delimiter seen
  std::size_t borrowed_;  // of these, how many belong to what came before the content
  std::string line_;
  http::Fields fields_;
  std::size_t head_bytes_ = 0;
  std::uint64_t parts_ = 0;
  bool part_open_ = false;
};

}  // namespace penstock::parsers::wire::multipart
