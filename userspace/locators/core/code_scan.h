// Whole-image passes over the executable segments (SSE2) and bounded looks at single functions.
// Pure; results are capped so that a hostile image cannot make them grow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/x86_decode.h"

namespace penstock::locators {

inline constexpr std::size_t kMaxReferences =
    2048;  // per pass; libraries that name their file in every error have hundreds
inline constexpr std::size_t kMaxFunctionBytes = 64 * 1024;

// Instructions that form one of the addresses: `lea reg, [rip+x]`, and `mov reg, imm32` for addresses below 4 GiB in
// images that are not position-independent. In order of address. References to anchors cost one pass per image, however
// many locators ask.
std::vector<Reference> references_to(const ElfImage&, std::span<const std::uint64_t> targets);

// Direct calls and jumps (e8, e9 rel32) to one of the addresses.
std::vector<Reference> calls_to(const ElfImage&, std::span<const std::uint64_t> targets);

// The function around each address, in the same order; nullopt when it cannot be told. Sources, best first: .eh_frame;
// .symtab; the nearest direct-call target or frame-pointer prologue before it that follows a terminator (then `end` is
// found by following the code).
std::vector<std::optional<FunctionRange>> functions_around(const ElfImage&, std::span<const std::uint64_t> addresses);
std::optional<FunctionRange> function_around(const ElfImage&, std::uint64_t address);

// Replaces fragments by the functions they belong to, each once: compilers move unlikely paths into a part of their own
// ("f.cold") that nothing calls and only a jump of f enters.
std::vector<FunctionRange> join_fragments(const ElfImage&, std::vector<FunctionRange>);

// Instructions from `begin` to `end` in order, at most kMaxFunctionBytes; stops at bytes that are no instruction.
std::vector<Instruction> disassemble(const ElfImage&, FunctionRange);

}  // namespace penstock::locators
