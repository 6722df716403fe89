// Stands in for penstockd in tests of `penstock run`: what it is told by FAKE_PENSTOCKD
//   serve      answers on the socket until its standard input ends
//   refuse     ends at once, as penstockd does without root
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "userspace/api/server.h"
#include "userspace/api/testing/fake_control.h"

int main(int argc, char** argv) {
  using namespace penstock;
  const char* mode = std::getenv("FAKE_PENSTOCKD");
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--doctor") {
    std::puts(
        R"({"checks":[{"name":"btf","status":"error","what":"no /sys/kernel/btf/vmlinux","cost":"nothing is seen","fix":"boot a kernel with BTF"}]})");
    return 0;
  }
  if (first == "--check-policy") {
    std::printf(
        R"({"valid":false,"diagnostics":[{"severity":"error","file":"%s","line":3,"column":5,"message":"unknown key \"budget\"; did you mean \"budgets\"?"}]})"
        "\n",
        argv[2]);
    return 2;
  }
  if (mode == nullptr || std::strcmp(mode, "serve") != 0) {
    std::fputs("level=info starting\npenstockd: not root: CAP_BPF is missing\nhint: run as root\n", stderr);
    return 3;
  }
  if (argc != 4 || first != "--ephemeral" || std::string_view(argv[2]) != "--socket") return 2;
  api::testing::FakeControl control;
  control.answers["CreateRun"] = R"({"run":"fake/1-1","agent":"fake","attached":true,"mode":"enforce"})";
  control.answers["FinishRun"] = R"({"run":"fake/1-1","agent":"fake","state":"finished","totals":{"calls":2}})";
  api::testing::PipelineThread pipeline;
  api::Server::Options options;
  options.socket = argv[3];
  api::Pages pages;
  pages.readyz = [] { return [] { return api::Page{200, "text/plain", "ok\n"}; }; };
  auto server = api::Server::start(
      options, [&](auto work) { pipeline.post(std::move(work)); }, control, pages);
  if (!server) return 5;
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
