// Runs the penstock binary against a server of the test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "userspace/api/server.h"
#include "userspace/api/testing/fake_control.h"

namespace penstock::cli::testing {

struct Outcome {
  int exit_code = -1;  // 128 + signal if it was killed
  std::string out, err;
};

// `environment` is added to the test's, without COLUMNS, NO_COLOR and PENSTOCK_SOCKET.
Outcome run_binary(const std::string& binary, const std::vector<std::string>& args,
                   const std::map<std::string, std::string>& environment, const std::string& input = "");

class CliTest : public ::testing::Test {
 protected:
  CliTest();
  ~CliTest() override;
  // Starts the fake daemon; its answers are set before.
  void serve();
  Outcome run(std::vector<std::string> args, const std::string& input = "");

  std::string folder_, socket_;
  std::map<std::string, std::string> environment_;
  api::testing::FakeControl control_;
  api::testing::PipelineThread pipeline_;
  std::unique_ptr<api::Server> server_;
};

}  // namespace penstock::cli::testing
