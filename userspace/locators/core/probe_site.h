// Which instruction of a function to probe. A uprobe on push, nop, jcc, jmp or call is emulated by the kernel; on
// anything else the thread is single-stepped, which costs up to 30 times more. Pure.
#pragma once

#include <optional>
#include <string>

#include "userspace/locators/core/attach_plan.h"
#include "userspace/locators/core/elf_image.h"

namespace penstock::locators {

// The first emulated instruction of the function that is reached on every path with rsp and the argument registers
// of the shape untouched; else the function's first instruction. nullopt when its code is not in the file.
struct Site {
  std::uint64_t vaddr = 0;
  bool cheap = false;
};
std::optional<Site> choose_site(const ElfImage&, std::uint64_t function, CallShape);

// The same as a ProbeSite in file offsets; `with_return` asks for a uretprobe at that instruction.
std::optional<ProbeSite> probe_site(const ElfImage&, std::uint64_t function, CallShape, std::string what,
                                    bool with_return);

}  // namespace penstock::locators
