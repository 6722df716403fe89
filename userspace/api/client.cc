#include "userspace/api/client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "userspace/api/dispatch.h"
#include "userspace/api/message_json.h"

namespace penstock::api {
namespace {

using base::Error;
using base::ErrorCode;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::size_t kMaxAnswerBytes = 64u << 20;
constexpr char kBase[] = "http://localhost";

std::string escape(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    const auto byte = static_cast<unsigned char>(c);
    if (plain)
      out += c;
    else
      (out += '%').append({kHex[byte >> 4], kHex[byte & 15]});
  }
  return out;
}

std::string scalar_text(const Message& m, const FieldDescriptor& f) {
  const auto& r = *m.GetReflection();
  switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return r.GetString(m, &f);
    case FieldDescriptor::CPPTYPE_BOOL:
      return r.GetBool(m, &f) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return fmt::to_string(r.GetInt32(m, &f));
    case FieldDescriptor::CPPTYPE_INT64:
      return fmt::to_string(r.GetInt64(m, &f));
    case FieldDescriptor::CPPTYPE_UINT32:
      return fmt::to_string(r.GetUInt32(m, &f));
    case FieldDescriptor::CPPTYPE_UINT64:
      return fmt::to_string(r.GetUInt64(m, &f));
    default:
      PN_BUG("this type does not fit into a query string");
  }
}

// Set fields as a query string, the reverse of set_field().
void append_query(std::string& out, const std::string& prefix, const Message& m, bool& first) {
  std::vector<const FieldDescriptor*> set;
  m.GetReflection()->ListFields(m, &set);
  for (const auto* f : set) {
    if (f->is_repeated()) PN_BUG("a list does not fit into a query string");
    if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      append_query(out, prefix + f->name() + ".", m.GetReflection()->GetMessage(m, f), first);
    } else {
      out += first ? '?' : '&';
      first = false;
      out += escape(prefix + f->name()) + "=" + escape(scalar_text(m, *f));
    }
  }
}

struct Target {
  std::string path;
  std::string body;
};

Target target_of(const Message& request) {
  const Route& route = route_of(*request.GetDescriptor());
  Target out;
  std::unique_ptr<Message> rest(request.New());
  rest->CopyFrom(request);
  for (const std::string& segment : route.segments) {
    out.path += '/';
    if (!segment.starts_with('{')) {
      out.path += segment;
      continue;
    }
    const auto* field = request.GetDescriptor()->FindFieldByName(segment.substr(1, segment.size() - 2));
    if (field == nullptr) PN_BUG("a path of control.proto names no field");
    out.path += escape(scalar_text(request, *field));
    rest->GetReflection()->ClearField(rest.get(), field);
  }
  bool first = true;
  if (route.method == "POST")
    out.body = to_json(*rest);
  else
    append_query(out.path, "", *rest, first);
  return out;
}

struct Transfer {
  std::string body;
  bool overflow = false;
  CURL* curl = nullptr;
  const std::function<bool(std::string_view)>* line = nullptr;  // streams only
  bool stopped = false;

  std::size_t take(std::string_view data) {
    long status = 0;
    if (line != nullptr) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (body.size() + data.size() > kMaxAnswerBytes) {
      overflow = true;
      return 0;
    }
    body += data;
    if (line == nullptr || status != 200) return data.size();
    std::size_t start = 0;
    for (std::size_t end; (end = body.find('\n', start)) != std::string::npos; start = end + 1) {
      if (end > start && !(*line)(std::string_view(body).substr(start, end - start))) {
        stopped = true;
        return 0;
      }
    }
    body.erase(0, start);
    return data.size();
  }
};

}  // namespace

struct Client::Handle {
  CURL* curl = nullptr;
  long timeout_ms = 0;

  base::Result<> perform(const std::string& socket, const std::string& method, const std::string& path,
                         const std::string* body, Transfer& transfer);
};

base::Result<> Client::Handle::perform(const std::string& socket, const std::string& method, const std::string& path,
                                       const std::string* body, Transfer& transfer) {
  curl_easy_reset(curl);
  transfer.curl = curl;
  const auto write = +[](char* data, std::size_t size, std::size_t n, void* self) -> std::size_t {
    return static_cast<Transfer*>(self)->take({data, size * n});
  };
  curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, (kBase + path).c_str());
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (transfer.line == nullptr) curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
  curl_slist* headers = nullptr;
  if (body != nullptr) {
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->c_str());
  }
  const CURLcode rc = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  if (transfer.stopped) return {};
  if (transfer.overflow) return Error{ErrorCode::kFailure, 0, "the daemon's answer is too large", {}};
  if (rc == CURLE_COULDNT_CONNECT) {
    long err = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &err);
    if (err == EACCES || err == EPERM ||
        (err == 0 && ::access(socket.c_str(), F_OK) == 0 && ::access(socket.c_str(), W_OK) != 0))
      return Error{ErrorCode::kPrivilege, 0, "not allowed to use " + socket, "run as root, or join the socket's group"};
    return Error{ErrorCode::kUnavailable, 0, "no daemon answers on " + socket,
                 "start one with `penstockd`, or name its socket with --socket PATH"};
  }
  if (rc == CURLE_OPERATION_TIMEDOUT)
    return Error{ErrorCode::kUnavailable,
                 0,
                 fmt::format("the daemon on {} did not answer in {} s", socket, timeout_ms / 1000),
                 {}};
  if (rc != CURLE_OK)
    return Error{
        ErrorCode::kUnavailable, 0, fmt::format("talking to the daemon on {}: {}", socket, curl_easy_strerror(rc)), {}};
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) return {};
  ErrorReply reply;
  if (from_json(transfer.body, reply) && reply.error().code() != 0)
    return Error{static_cast<ErrorCode>(reply.error().code()), 0, reply.error().what(), reply.error().hint()};
  return Error{ErrorCode::kFailure, 0, fmt::format("the daemon answered with HTTP status {}", status), {}};
}

Client::Client(std::string socket, long timeout_ms) : socket_(std::move(socket)), handle_(std::make_unique<Handle>()) {
  // Nothing but plain HTTP on a unix socket: TLS set-up, which takes most of libcurl's start, is left out.
  static const bool ready = curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK;
  handle_->curl = ready ? curl_easy_init() : nullptr;
  if (handle_->curl == nullptr) PN_BUG("libcurl cannot start");
  handle_->timeout_ms = timeout_ms;
}

Client::~Client() { curl_easy_cleanup(handle_->curl); }

base::Result<> Client::call(const Message& request, Message& response) {
  const Route& route = route_of(*request.GetDescriptor());
  const Target target = target_of(request);
  Transfer transfer;
  PN_CHECK(
      handle_->perform(socket_, route.method, target.path, route.method == "POST" ? &target.body : nullptr, transfer));
  return from_json(transfer.body, response);
}

base::Result<> Client::stream(const Message& request, const std::function<bool(std::string_view)>& line) {
  const Route& route = route_of(*request.GetDescriptor());
  Transfer transfer;
  transfer.line = &line;
  return handle_->perform(socket_, route.method, target_of(request).path, nullptr, transfer);
}

bool Client::ready() {
  Transfer transfer;
  return handle_->perform(socket_, "GET", "/readyz", nullptr, transfer).has_value();
}

}  // namespace penstock::api
