// Life of a connection, and what ends each state when the client or the pipeline does not:
//   receiving  until the request is whole; also idle between requests   request_timeout -> the socket is shut down
//   answering  suspended, the handler works                             answer_timeout  -> 504
//   writing    the answer is on its way                                 write_timeout   -> the socket is shut down
//   streaming  suspended while its queue is empty                       hang-up         -> the queue is closed
// libmicrohttpd does not watch suspended connections and its own timeout restarts with every byte, so the caretaker
// thread keeps these deadlines and polls streaming sockets for hang-ups.
//
// Locks: mutex_ (connections) before Call::mutex_; a queue's lock is innermost. MHD_resume_connection is never called
// with mutex_ held, since libmicrohttpd may call on_connection, which takes it, under a lock of its own.
#include "userspace/api/http_listener.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "userspace/api/dispatch.h"
#include "userspace/api/line_queue.h"

namespace penstock::api {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
constexpr std::size_t kStreamBlockBytes = 16 * 1024;
constexpr std::size_t kConnectionMemoryBytes = 32 * 1024;  // libmicrohttpd's pool per connection: bounds the header

class Listener;

class Call final : public HttpListener::Exchange {
 public:
  Call(Listener& owner, MHD_Connection* connection) : owner_(owner), connection_(connection) {}
  void respond(HttpReply reply) override;
  std::shared_ptr<LineStream> stream() override;

  void suspend() {
    const std::lock_guard lock(mutex_);
    MHD_suspend_connection(connection_);
  }
  // The connection is done with this request: nothing may resume it any more.
  void detach() {
    std::shared_ptr<LineQueue> queue;
    {
      const std::lock_guard lock(mutex_);
      connection_ = nullptr;
      queue = queue_;
    }
    if (!queue) return;
    queue->set_wake({});
    queue->close();
  }
  void close_stream() {
    std::shared_ptr<LineQueue> queue;
    {
      const std::lock_guard lock(mutex_);
      queue = queue_;
    }
    if (queue) queue->close();
  }
  bool answered() {
    const std::lock_guard lock(mutex_);
    return reply_.has_value();
  }
  HttpReply take_reply() {
    const std::lock_guard lock(mutex_);
    return std::move(*reply_);
  }
  std::shared_ptr<LineQueue> queue() {
    const std::lock_guard lock(mutex_);
    return queue_;
  }

  // Listener's thread only.
  HttpRequest request;
  bool dispatched = false, oversized = false;

 private:
  Listener& owner_;
  std::mutex mutex_;
  MHD_Connection* connection_;
  std::optional<HttpReply> reply_;
  std::shared_ptr<LineQueue> queue_;
};

HttpReply error_reply(unsigned status, base::ErrorCode code, std::string what, std::string hint = {}) {
  HttpReply reply;
  reply.status = status;
  reply.body = error_json(base::Error{code, 0, std::move(what), std::move(hint)}) + "\n";
  return reply;
}

class Listener final : public HttpListener {
 public:
  Listener(const Options& options, Handler handler) : options_(options), handler_(std::move(handler)) {}
  base::Result<> open(int listening);
  ~Listener() override;
  const Counters& counters() const override { return counters_; }

 private:
  friend class Call;
  enum class Phase { kReceiving, kAnswering, kWriting, kStreaming };
  struct Connection {
    int fd = -1;
    Phase phase = Phase::kReceiving;
    SteadyClock::time_point deadline;
    std::shared_ptr<Call> call;
  };

  static MHD_Result on_request(void* self, MHD_Connection*, const char* url, const char* method, const char* version,
                               const char* body, std::size_t* body_size, void** call);
  static void on_completed(void* self, MHD_Connection*, void** call, MHD_RequestTerminationCode);
  static void on_connection(void* self, MHD_Connection*, void** context, MHD_ConnectionNotificationCode);

  MHD_Result begin(MHD_Connection*, const char* url, const char* method, void** call);
  MHD_Result dispatch(MHD_Connection*, const std::shared_ptr<Call>&);
  MHD_Result answer(MHD_Connection*, const std::shared_ptr<Call>&);
  MHD_Result send(MHD_Connection*, HttpReply);
  MHD_Result send_stream(MHD_Connection*, const std::shared_ptr<Call>&);
  bool enter(MHD_Connection*, Phase, std::shared_ptr<Call>);  // false: stopping
  void caretaker();
  void nudge() {
    const std::uint64_t one = 1;
    if (::write(wake_.get(), &one, sizeof one) < 0) return;  // already due to wake
  }
  SteadyClock::time_point deadline_of(Phase phase) const {
    const auto now = SteadyClock::now();
    switch (phase) {
      case Phase::kReceiving:
        return now + Milliseconds(options_.request_timeout_ms);
      case Phase::kAnswering:
        return now + Milliseconds(options_.answer_timeout_ms);
      case Phase::kWriting:
        return now + Milliseconds(options_.write_timeout_ms);
      case Phase::kStreaming:
        break;
    }
    return SteadyClock::time_point::max();
  }

  const Options options_;
  const Handler handler_;
  Counters counters_;
  MHD_Daemon* daemon_ = nullptr;
  base::Fd wake_;
  std::thread caretaker_;
  std::mutex mutex_;
  std::unordered_map<MHD_Connection*, Connection> connections_;
  std::atomic<std::uint32_t> streams_{0};
  bool stopping_ = false;
};

void Call::respond(HttpReply reply) {
  const std::lock_guard lock(mutex_);
  if (reply_ || connection_ == nullptr) return;
  reply_ = std::move(reply);
  MHD_resume_connection(connection_);
}

std::shared_ptr<LineStream> Call::stream() {
  const std::lock_guard lock(mutex_);
  if (queue_) return queue_;
  if (owner_.streams_.fetch_add(1) >= owner_.options_.max_streams) {
    owner_.streams_.fetch_sub(1);
    return nullptr;
  }
  queue_ = std::make_shared<LineQueue>(owner_.options_.stream_queue_lines, owner_.options_.stream_queue_bytes,
                                       owner_.counters_.dropped_lines);
  return queue_;
}

base::Result<> Listener::open(int listening) {
  wake_ = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return base::errno_error(errno, "cannot create an eventfd");
  base::Fd own(::fcntl(listening, F_DUPFD_CLOEXEC, 0));  // libmicrohttpd closes what it is given
  if (!own) return base::errno_error(errno, "cannot duplicate the listening socket");
  const auto quiet = +[](void*, const char*, va_list) {};  // its messages quote hostile bytes
  const auto raw = +[](void*, MHD_Connection*, char* text) { return std::char_traits<char>::length(text); };
  daemon_ = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, nullptr,
                             nullptr, &Listener::on_request, this, MHD_OPTION_EXTERNAL_LOGGER, quiet, nullptr,
                             MHD_OPTION_UNESCAPE_CALLBACK, raw, nullptr, MHD_OPTION_LISTEN_SOCKET, own.get(),
                             MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(options_.max_connections),
                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemoryBytes, MHD_OPTION_NOTIFY_COMPLETED,
                             &Listener::on_completed, this, MHD_OPTION_NOTIFY_CONNECTION, &Listener::on_connection,
                             this, MHD_OPTION_END);
  if (daemon_ == nullptr) return base::errno_error(errno, "cannot start the HTTP server");
  own.release();
  caretaker_ = std::thread([this] { caretaker(); });
  return {};
}

Listener::~Listener() {
  if (daemon_ == nullptr) return;
  std::vector<std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [_, connection] : connections_)
      if (connection.call) calls.push_back(connection.call);
  }
  nudge();
  caretaker_.join();
  for (const auto& call : calls) {
    call->respond(error_reply(503, base::ErrorCode::kUnavailable, "the daemon is shutting down"));
    call->close_stream();
  }
  MHD_stop_daemon(daemon_);
}

bool Listener::enter(MHD_Connection* connection, Phase phase, std::shared_ptr<Call> call) {
  const std::lock_guard lock(mutex_);
  const auto state = connections_.find(connection);
  if (state == connections_.end()) return !stopping_;
  state->second.phase = phase;
  state->second.deadline = deadline_of(phase);
  state->second.call = std::move(call);
  nudge();
  return !stopping_;
}

void Listener::on_connection(void* self, MHD_Connection* connection, void**, MHD_ConnectionNotificationCode code) {
  auto& me = *static_cast<Listener*>(self);
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    Connection fresh;
    fresh.fd = info == nullptr ? -1 : info->connect_fd;
    fresh.deadline = me.deadline_of(Phase::kReceiving);
    {
      const std::lock_guard lock(me.mutex_);
      me.connections_[connection] = std::move(fresh);
    }
    me.nudge();
  } else {
    // The descriptor is closed only after this: the caretaker never shuts down somebody else's.
    const std::lock_guard lock(me.mutex_);
    me.connections_.erase(connection);
  }
}

void Listener::on_completed(void* self, MHD_Connection* connection, void** slot, MHD_RequestTerminationCode) {
  const std::unique_ptr<std::shared_ptr<Call>> call(static_cast<std::shared_ptr<Call>*>(*slot));
  *slot = nullptr;
  auto& me = *static_cast<Listener*>(self);
  if (call) {
    if ((*call)->queue()) me.streams_.fetch_sub(1);
    (*call)->detach();
  }
  me.enter(connection, Phase::kReceiving, nullptr);
}

MHD_Result Listener::on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                                const char*, const char* body, std::size_t* body_size, void** slot) {
  auto& me = *static_cast<Listener*>(self);
  if (*slot == nullptr) return me.begin(connection, url, method, slot);
  auto& call = *static_cast<std::shared_ptr<Call>*>(*slot);
  if (*body_size > 0) {
    if (call->request.body.size() + *body_size > me.options_.max_body_bytes) {
      call->oversized = true;  // the rest is read and forgotten, until the request's deadline
      call->request.body.clear();
      call->request.body.shrink_to_fit();
    }
    if (!call->oversized) call->request.body.append(body, *body_size);
    *body_size = 0;
    return MHD_YES;
  }
  if (call->answered()) return me.answer(connection, call);
  if (call->dispatched) return MHD_YES;
  return me.dispatch(connection, call);
}

MHD_Result Listener::begin(MHD_Connection* connection, const char* url, const char* method, void** slot) {
  auto call = std::make_shared<Call>(*this, connection);
  call->request.method = method;
  call->request.path = url;
  const auto add = +[](void* out, MHD_ValueKind, const char* key, const char* value) {
    const auto text = [](const char* s) {
      std::string plain(s == nullptr ? "" : s);
      std::replace(plain.begin(), plain.end(), '+', ' ');
      return percent_decode(plain);
    };
    static_cast<HttpRequest*>(out)->query.emplace_back(text(key), text(value));
    return MHD_YES;
  };
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add, &call->request);
  *slot = new std::shared_ptr<Call>(call);
  counters_.requests.fetch_add(1, std::memory_order_relaxed);
  // A body announced as too large is refused before it is read.
  const char* length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  std::uint64_t announced = 0;
  if (length != nullptr) std::from_chars(length, length + std::char_traits<char>::length(length), announced);
  if (announced > options_.max_body_bytes) {
    counters_.oversized.fetch_add(1, std::memory_order_relaxed);
    return send(connection, error_reply(413, base::ErrorCode::kUsage, "the request body is too large"));
  }
  return MHD_YES;
}

MHD_Result Listener::dispatch(MHD_Connection* connection, const std::shared_ptr<Call>& call) {
  call->dispatched = true;
  if (call->oversized) {
    counters_.oversized.fetch_add(1, std::memory_order_relaxed);
    return send(connection, error_reply(413, base::ErrorCode::kUsage, "the request body is too large"));
  }
  call->suspend();
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  call->request.connection = info == nullptr ? -1 : info->connect_fd;
  if (!enter(connection, Phase::kAnswering, call))
    call->respond(error_reply(503, base::ErrorCode::kUnavailable, "the daemon is shutting down"));
  else
    handler_(std::move(call->request), call);
  return MHD_YES;
}

MHD_Result Listener::answer(MHD_Connection* connection, const std::shared_ptr<Call>& call) {
  HttpReply reply = call->take_reply();
  if (reply.stream) {
    if (!call->queue()) PN_BUG("a streaming answer without a stream");
    return send_stream(connection, call);
  }
  return send(connection, std::move(reply));
}

MHD_Result Listener::send(MHD_Connection* connection, HttpReply reply) {
  if (reply.render) {
    const auto render = std::move(reply.render);
    render(reply);
  }
  enter(connection, Phase::kWriting, nullptr);
  auto body = std::make_unique<std::string>(std::move(reply.body));
  const auto free_body = +[](void* text) { delete static_cast<std::string*>(text); };
  MHD_Response* response =
      MHD_create_response_from_buffer_with_free_callback_cls(body->size(), body->data(), free_body, body.get());
  if (response == nullptr) return MHD_NO;
  body.release();
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type.c_str());
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  const MHD_Result rc = MHD_queue_response(connection, reply.status, response);
  MHD_destroy_response(response);
  return rc;
}

MHD_Result Listener::send_stream(MHD_Connection* connection, const std::shared_ptr<Call>& call) {
  struct Reader {
    MHD_Connection* connection;
    std::shared_ptr<LineQueue> queue;
  };
  auto queue = call->queue();
  if (!enter(connection, Phase::kStreaming, call)) queue->close();
  queue->set_wake([connection] { MHD_resume_connection(connection); });
  const auto read = +[](void* self, std::uint64_t, char* out, std::size_t size) -> ssize_t {
    auto& reader = *static_cast<Reader*>(self);
    const long n = reader.queue->take(out, size, [&] { MHD_suspend_connection(reader.connection); });
    return n < 0 ? static_cast<ssize_t>(MHD_CONTENT_READER_END_OF_STREAM) : static_cast<ssize_t>(n);
  };
  const auto free_reader = +[](void* self) { delete static_cast<Reader*>(self); };
  MHD_Response* response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kStreamBlockBytes, read,
                                                             new Reader{connection, std::move(queue)}, free_reader);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  const MHD_Result rc = MHD_queue_response(connection, 200, response);
  MHD_destroy_response(response);
  return rc;
}

void Listener::caretaker() {
  std::vector<pollfd> polled;
  std::vector<std::shared_ptr<Call>> streaming, overdue;
  while (true) {
    polled.assign(1, pollfd{wake_.get(), POLLIN, 0});
    streaming.clear();
    overdue.clear();
    auto next = SteadyClock::time_point::max();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      const auto now = SteadyClock::now();
      for (auto& [_, connection] : connections_) {
        if (connection.phase == Phase::kStreaming) {
          polled.push_back(pollfd{connection.fd, 0, 0});  // POLLHUP and POLLERR are always reported
          streaming.push_back(connection.call);
        } else if (connection.deadline > now) {
          next = std::min(next, connection.deadline);
        } else if (connection.phase == Phase::kAnswering) {
          overdue.push_back(connection.call);
          connection.deadline = SteadyClock::time_point::max();
        } else {
          counters_.slow_clients.fetch_add(1, std::memory_order_relaxed);
          ::shutdown(connection.fd, SHUT_RDWR);
          connection.deadline = SteadyClock::time_point::max();
        }
      }
    }
    for (const auto& call : overdue) {
      counters_.answer_timeouts.fetch_add(1, std::memory_order_relaxed);
      call->respond(error_reply(504, base::ErrorCode::kUnavailable, "the daemon did not answer in time",
                                "it may be overloaded: see `penstock status`"));
    }
    int timeout = -1;
    if (next != SteadyClock::time_point::max()) {
      const auto left = std::chrono::ceil<Milliseconds>(next - SteadyClock::now()).count();
      timeout = static_cast<int>(std::clamp<long>(left, 0, 60'000));
    }
    if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) PN_BUG("poll failed");
    if (polled[0].revents != 0) {
      std::uint64_t ignored = 0;
      if (::read(wake_.get(), &ignored, sizeof ignored) < 0) continue;
    }
    // A call that ended meanwhile is detached: closing its stream again does nothing, whoever has its descriptor now.
    for (std::size_t i = 1; i < polled.size(); ++i)
      if ((polled[i].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0 && streaming[i - 1])
        streaming[i - 1]->close_stream();
  }
}

}  // namespace

base::Result<std::unique_ptr<HttpListener>> HttpListener::start(int listening, const Options& options,
                                                                Handler handler) {
  auto listener = std::make_unique<Listener>(options, std::move(handler));
  PN_CHECK(listener->open(listening));
  return std::unique_ptr<HttpListener>(std::move(listener));
}

}  // namespace penstock::api
