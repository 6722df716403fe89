#include "userspace/api/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string_view>

#include "userspace/api/dispatch.h"
#include "userspace/api/http_listener.h"
#include "userspace/api/message_json.h"
#include "userspace/api/unix_socket.h"

namespace penstock::api {
namespace {

using base::Error;
using base::ErrorCode;
constexpr int kBacklog = 128;

HttpReply error_reply(const Error& error, unsigned status = 0) {
  HttpReply reply;
  reply.status = status != 0 ? status : http_status(error.code);
  reply.body = error_json(error) + "\n";
  return reply;
}

struct TcpSocket {
  base::Fd fd;
  std::uint16_t port = 0;
};

// "127.0.0.1:9464" or "[::1]:9464": numeric only, so that starting never waits for a name server.
base::Result<TcpSocket> listen_tcp(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  const auto bad = [&] {
    return Error{ErrorCode::kUsage, 0, fmt::format("\"{}\" is not an address to listen on", text),
                 "write IP:PORT, for example 127.0.0.1:9464 or [::1]:9464"};
  };
  if (colon == std::string::npos || colon + 1 == text.size()) return bad();
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  if (::getaddrinfo(host.empty() ? nullptr : host.c_str(), text.c_str() + colon + 1, &hints, &list) != 0) return bad();
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
  TcpSocket out;
  out.fd = base::Fd(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.fd) return base::errno_error(errno, "cannot create a TCP socket");
  const int one = 1;
  ::setsockopt(out.fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(out.fd.get(), list->ai_addr, list->ai_addrlen) != 0 || ::listen(out.fd.get(), kBacklog) != 0) {
    const int err = errno;
    Error e = base::errno_error(err, "cannot listen on " + text);
    e.code = err == EACCES ? ErrorCode::kPrivilege : ErrorCode::kUnavailable;
    e.hint = "another process has the port: choose another address for metrics, or none";
    return e;
  }
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(out.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return base::errno_error(errno, "getsockname");
  out.port = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                                 : reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return out;
}

class ServerImpl final : public Server {
 public:
  ServerImpl(Options options, Executor executor, Control& control, Pages pages)
      : options_(std::move(options)), executor_(std::move(executor)), control_(control), pages_(std::move(pages)) {}

  base::Result<> open() {
    const HttpListener::Options bounds{options_.max_connections,    options_.max_streams,
                                       options_.max_body_bytes,     options_.request_timeout_ms,
                                       options_.answer_timeout_ms,  options_.write_timeout_ms,
                                       options_.stream_queue_lines, options_.stream_queue_bytes};
    if (!options_.tcp_listen.empty()) {  // first: its failure leaves no socket file behind
      PN_TRY(tcp_, listen_tcp(options_.tcp_listen));
    }
    PN_TRY(auto unix, UnixListener::open(options_.socket, options_.group, kBacklog));
    unix_.emplace(std::move(unix));
    PN_TRY(control_listener_, HttpListener::start(unix_->fd(), bounds, [this](HttpRequest request, auto exchange) {
             on_control(std::move(request), std::move(exchange));
           }));
    if (tcp_.fd) {
      PN_TRY(page_listener_, HttpListener::start(tcp_.fd.get(), bounds, [this](HttpRequest request, auto exchange) {
               if (!on_page(request, exchange))
                 exchange->respond(
                     error_reply({ErrorCode::kNotFound, 0, "no such page", "there are /metrics, /healthz, /readyz"}));
             }));
    }
    return {};
  }

  ServerCounters counters() const override {
    ServerCounters out;
    out.refused_peers = refused_peers_.load();
    for (const auto* listener : {control_listener_.get(), page_listener_.get()}) {
      if (listener == nullptr) continue;
      const auto& c = listener->counters();
      out.requests += c.requests.load();
      out.oversized += c.oversized.load();
      out.slow_clients += c.slow_clients.load();
      out.answer_timeouts += c.answer_timeouts.load();
      out.dropped_lines += c.dropped_lines.load();
    }
    return out;
  }
  std::uint16_t tcp_port() const override { return tcp_.port; }

 private:
  using ExchangePtr = std::shared_ptr<HttpListener::Exchange>;

  bool on_page(const HttpRequest& request, const ExchangePtr& exchange) {
    const PageHandler* handler = request.path == "/metrics"   ? &pages_.metrics
                                 : request.path == "/healthz" ? &pages_.healthz
                                 : request.path == "/readyz"  ? &pages_.readyz
                                                              : nullptr;
    if (handler == nullptr || !*handler) return false;
    if (request.method != "GET" && request.method != "HEAD") {
      exchange->respond(error_reply({ErrorCode::kUsage, 0, "only GET and HEAD", {}}, 405));
      return true;
    }
    executor_([alive = std::weak_ptr(alive_), handler, exchange] {
      if (alive.expired()) return;
      HttpReply reply;
      reply.render = [render = (*handler)()](HttpReply& out) {
        Page page = render();
        out.status = page.status;
        out.content_type = std::move(page.content_type);
        out.body = std::move(page.body);
      };
      exchange->respond(std::move(reply));
    });
    return true;
  }

  void on_control(HttpRequest request, ExchangePtr exchange) {
    const PeerCheck peer = check_peer(request.connection, unix_->group());
    if (!peer.allowed) {
      refused_peers_.fetch_add(1, std::memory_order_relaxed);
      exchange->respond(
          error_reply({ErrorCode::kPrivilege, 0, "only root and the socket's group may use the control API", {}}));
      return;
    }
    if (on_page(request, exchange)) return;
    const RouteMatch match = match_route(request.method, request.path);
    if (match.route == nullptr) {
      exchange->respond(match.path_known
                            ? error_reply({ErrorCode::kUsage, 0, request.method + " does not apply here", {}}, 405)
                            : error_reply({ErrorCode::kNotFound, 0, "no such path", "control.proto lists them"}));
      return;
    }
    std::shared_ptr<google::protobuf::Message> message(match.route->request->New());
    if (auto filled = fill(*message, match, request); !filled) {
      exchange->respond(error_reply(filled.error()));
      return;
    }
    std::shared_ptr<LineStream> stream;
    if (match.route->stream && !(stream = exchange->stream())) {
      exchange->respond(
          error_reply({ErrorCode::kUnavailable, 0, "too many streams are open", "close one and try again"}));
      return;
    }
    const Peer who{peer.pid, peer.uid, peer.gid};
    executor_([alive = std::weak_ptr(alive_), this, route = match.route, message, exchange, stream = std::move(stream),
               who]() mutable {
      if (alive.expired()) return;
      HttpReply reply;
      if (auto allowed = control_.authorize(who, route->name); !allowed)
        return exchange->respond(error_reply(allowed.error()));
      auto answer = route->call(control_, who, *message, std::move(stream));
      if (!answer)
        reply = error_reply(answer.error());
      else if (route->stream)
        reply.stream = true;
      else
        reply.render = [m = std::shared_ptr<google::protobuf::Message>(std::move(*answer))](HttpReply& out) {
          out.body = to_json(*m) + "\n";
        };
      exchange->respond(std::move(reply));
    });
  }

  static base::Result<> fill(google::protobuf::Message& message, const RouteMatch& match, const HttpRequest& request) {
    if (match.route->method == "POST" && !request.body.empty()) PN_CHECK(from_json(request.body, message));
    for (const auto& [name, value] : request.query) PN_CHECK(set_field(message, name, value));
    for (const auto& [name, value] : match.fields) PN_CHECK(set_field(message, name, value));
    return {};
  }

  const Options options_;
  const Executor executor_;
  Control& control_;
  const Pages pages_;
  // Posted requests may outlive the server; they run, like the server's destructor, on the pipeline thread.
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::atomic<std::uint64_t> refused_peers_{0};
  TcpSocket tcp_;
  std::optional<UnixListener> unix_;
  std::unique_ptr<HttpListener> control_listener_, page_listener_;  // last: stopped before what they use
};

}  // namespace

base::Result<std::unique_ptr<Server>> Server::start(Options options, Executor executor, Control& control, Pages pages) {
  auto server = std::make_unique<ServerImpl>(std::move(options), std::move(executor), control, std::move(pages));
  PN_CHECK(server->open());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace penstock::api
