#include "cli/testing/harness.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace penstock::cli::testing {
namespace {

std::string slurp(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

}  // namespace

Outcome run_binary(const std::string& binary, const std::vector<std::string>& args,
                   const std::map<std::string, std::string>& environment, const std::string& input) {
  char folder[] = "/tmp/penstock-outcome-XXXXXX";
  const std::string files = ::mkdtemp(folder);
  std::ofstream(files + "/in") << input;
  std::vector<std::string> words{binary}, variables;
  words.insert(words.end(), args.begin(), args.end());
  for (char** v = environ; *v != nullptr; ++v) {
    const std::string text = *v;
    const std::string name = text.substr(0, text.find('='));
    if (name != "COLUMNS" && name != "NO_COLOR" && name != "PENSTOCK_SOCKET" && !environment.contains(name))
      variables.push_back(text);
  }
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  const auto pointers = [](std::vector<std::string>& list) {
    std::vector<char*> out;
    for (auto& text : list) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
  };
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, (files + "/in").c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, (files + "/out").c_str(), O_WRONLY | O_CREAT, 0600);
  ::posix_spawn_file_actions_addopen(&actions, 2, (files + "/err").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t pid = 0;
  Outcome outcome;
  if (::posix_spawn(&pid, binary.c_str(), &actions, nullptr, pointers(words).data(), pointers(variables).data()) == 0) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  ::posix_spawn_file_actions_destroy(&actions);
  outcome.out = slurp(files + "/out");
  outcome.err = slurp(files + "/err");
  std::filesystem::remove_all(files);
  return outcome;
}

CliTest::CliTest() {
  char folder[] = "/tmp/penstock-cli-XXXXXX";
  folder_ = ::mkdtemp(folder);
  socket_ = folder_ + "/s";
  environment_ = {{"PENSTOCK_SOCKET", socket_}, {"TMPDIR", folder_}, {"TZ", "UTC"}};
}

CliTest::~CliTest() {
  server_.reset();
  std::filesystem::remove_all(folder_);
}

void CliTest::serve() {
  api::Server::Options options;
  options.socket = socket_;
  auto server = api::Server::start(options, [this](auto work) { pipeline_.post(std::move(work)); }, control_, {});
  ASSERT_TRUE(server) << server.error().message();
  server_ = std::move(*server);
}

Outcome CliTest::run(std::vector<std::string> args, const std::string& input) {
  return run_binary(PENSTOCK_BINARY, args, environment_, input);
}

}  // namespace penstock::cli::testing
