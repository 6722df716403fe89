#include "userspace/identity/program.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::identity {
namespace {

struct Row {
  std::string exe;
  std::vector<std::string> argv;
  std::string expected;
};

TEST(Program, IsNamedByWhatIsStableInItsArguments) {
  const Row rows[] = {
      {"/usr/bin/curl", {"curl", "https://x"}, "curl"},
      {"/usr/bin/python3.11", {"python3", "agent.py"}, "python3:agent.py"},
      {"/usr/bin/python3.11", {"python3", "-u", "-W", "ignore", "/srv/mail.py", "--fast"}, "python3:mail.py"},
      {"/usr/bin/python3.11", {"python", "/srv/mailer/main.py"}, "python3:mailer/main.py"},
      {"/usr/bin/python3.11", {"python", "./main.py"}, "python3:main.py"},
      {"/usr/bin/python3.12", {"python", "-m", "crawler", "--deep"}, "python3:crawler"},
      {"/usr/bin/python3.12", {"python", "-c", "import os"}, "python3"},
      {"/usr/bin/python3.12", {"python3"}, "python3"},
      {"/home/u/.venv/bin/python3.11",
       {"/home/u/.venv/bin/python", "/home/u/.venv/bin/aider", "--model", "x"},
       "python3:aider"},
      {"/usr/bin/node", {"node", "agent.mjs"}, "node:agent.mjs"},
      {"/usr/bin/node", {"node", "--require", "./x.js", "--inspect", "bot/index.js"}, "node:bot/index.js"},
      {"/usr/bin/node", {"node", "--import=tsx", "src/worker.ts"}, "node:src/worker.ts"},
      {"/usr/bin/node", {"node", "-e", "fetch()"}, "node"},
      {"/usr/bin/node", {"node", "/usr/lib/node_modules/@scope/tool/dist/cli.js", "x"}, "node:@scope/tool"},
      {"/usr/bin/node", {"node", "/app/node_modules/.bin/server-everything"}, "node:server-everything"},
      {"/usr/bin/node",
       {"node", "/usr/lib/node_modules/npm/bin/npx-cli.js", "-y", "@scope/server@1.2", "stdio"},
       "npx:@scope/server"},
      {"/usr/bin/node", {"node", "/usr/bin/npx", "server-git"}, "npx:server-git"},
      {"/usr/bin/node", {"npm exec @scope/server@latest"}, "npx:@scope/server"},
      {"/usr/bin/node", {"node", "/usr/bin/npm", "run", "start"}, "npm:start"},
      {"/usr/local/bin/bun", {"bun", "run", "--watch", "agent.ts"}, "bun:agent.ts"},
      {"/usr/local/bin/bun", {"bun", "x", "cowsay@2"}, "bun:cowsay"},
      {"/usr/local/bin/deno", {"deno", "run", "-A", "--config", "deno.json", "bot.ts"}, "deno:bot.ts"},
      {"/usr/local/bin/deno", {"deno", "task", "serve"}, "deno:serve"},
      {"/usr/local/bin/deno", {"deno", "eval", "1"}, "deno:eval"},
      {"/usr/bin/uv", {"uv", "run", "--with", "httpx", "agent.py"}, "uv:agent.py"},
      {"/usr/bin/uv", {"uv", "tool", "run", "ruff@0.4"}, "uv:ruff"},
      {"/usr/bin/uvx", {"uvx", "mcp-server-fetch"}, "uvx:mcp-server-fetch"},
      {"/usr/bin/bash", {"bash", "/srv/nightly.sh"}, "bash:nightly.sh"},
      {"/usr/bin/bash", {"bash", "-c", "curl x"}, "bash"},
      {"/usr/bin/bash", {"-bash"}, "bash"},
      {"/usr/bin/java", {"java", "-Xmx1g", "-cp", "a:b", "com.acme.Agent"}, "java:com.acme.Agent"},
      {"/usr/bin/java", {"java", "-jar", "/opt/mailer.jar"}, "java:mailer.jar"},
      {"/usr/bin/perl", {"perl", "-w", "x.pl"}, "perl:x.pl"},
      {"/home/u/.local/share/claude/versions/2.1.330", {"claude", "-p"}, "claude"},
      {"/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe", {"claude"}, "claude"},
      {"/usr/bin/python3.11", {"gunicorn: worker [app]"}, "python3"},
      {"", {"", "x"}, ""},
      {"", {}, ""},
  };
  for (const Row& r : rows)
    EXPECT_EQ(to_string(describe_program(r.exe, r.argv)), r.expected)
        << r.exe << " " << (r.argv.empty() ? "" : r.argv.back());
}

TEST(Program, CutsAndCleansWhatTheProcessChose) {
  const std::vector<std::string> argv = {"python3", "x\n\x1b[2J" + std::string(300, 'y')};
  const Program p = describe_program("/usr/bin/python3", argv);
  EXPECT_EQ(p.script.size(), kMaxNameBytes);
  EXPECT_EQ(p.script.find('\n'), std::string::npos);
  EXPECT_EQ(p.script.find('\x1b'), std::string::npos);
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "\xc3\xa9";
  const std::vector<std::string> utf8 = {"python3", "z" + wide};
  const std::string cut = describe_program("/usr/bin/python3", utf8).script;
  EXPECT_LE(cut.size(), kMaxNameBytes);
  EXPECT_EQ(cut.size() % 2, 1u);  // whole characters only
}

TEST(Program, KnowsWhoSitsInFrontOfAShell) {
  using Argv = std::vector<std::string>;
  EXPECT_TRUE(is_interactive_shell("/usr/bin/bash", Argv{"-bash"}));
  EXPECT_TRUE(is_interactive_shell("/usr/bin/zsh", Argv{"zsh", "-i"}));
  EXPECT_TRUE(is_interactive_shell("/usr/bin/bash", Argv{"bash", "--norc"}));
  EXPECT_FALSE(is_interactive_shell("/usr/bin/bash", Argv{"bash", "-c", "ls"}));
  EXPECT_FALSE(is_interactive_shell("/usr/bin/bash", Argv{"bash", "x.sh"}));
  EXPECT_FALSE(is_interactive_shell("/usr/bin/dash", Argv{"sh", "-ec", "ls"}));
  EXPECT_FALSE(is_interactive_shell("/usr/bin/python3", Argv{"python3"}));
}

}  // namespace
}  // namespace penstock::identity
