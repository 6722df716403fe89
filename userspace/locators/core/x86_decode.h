// What the locators need to know of an x86-64 instruction. Decoding is Zydis'; this narrows it to plain data. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace penstock::locators {

enum class Flow : std::uint8_t {
  kNext,      // falls through
  kBranch,    // conditional, direct
  kJump,      // unconditional, direct
  kJumpAway,  // unconditional, through a register or memory
  kCall,      // direct
  kCallAway,  // through a register or memory
  kReturn,
  kTrap,  // ud2, int3, hlt: does not continue
};

enum class Shape : std::uint8_t {
  kOther,
  kEndbr,
  kLoadAddress,       // lea reg, [rip + x]   → reg, target
  kLoadStackAddress,  // lea reg, [rsp/rbp + x] or mov reg, rsp → reg
  kMoveImmediate,     // mov reg, imm; xor reg, reg → reg, immediate
  kPushImmediate,     // push imm → immediate
  kPop,               // pop reg → reg
  kPush,              // push reg → reg
  kMoveRegister,      // mov reg, reg → reg, source
  kStoreAddress,      // mov [mem], imm32 → immediate
};

// General registers by their hardware number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 … r15.
inline constexpr std::uint8_t kRax = 0, kRcx = 1, kRdx = 2, kRbx = 3, kRsp = 4, kRbp = 5, kRsi = 6, kRdi = 7, kR8 = 8,
                              kR9 = 9;
inline constexpr std::uint8_t kNoRegister = 0xff;

struct Instruction {
  std::uint64_t vaddr = 0;
  std::uint8_t bytes = 0;
  Flow flow = Flow::kNext;
  Shape shape = Shape::kOther;
  std::uint8_t reg = kNoRegister;
  std::uint8_t source = kNoRegister;
  std::uint16_t written = 0;  // bit per general register written, partial writes included
  std::uint16_t read = 0;     // bit per general register read, also to form an address
  bool emulated = false;      // the kernel emulates a uprobe on it (arch/x86/kernel/uprobes.c), so no single step
  std::uint64_t target = 0;   // of a direct branch or of a RIP-relative operand
  std::int64_t immediate = 0;
  std::uint64_t end() const { return vaddr + bytes; }
};

// The instruction at the beginning of `code`; nullopt when the bytes are none, or are cut off.
std::optional<Instruction> decode(std::span<const std::uint8_t> code, std::uint64_t vaddr);

}  // namespace penstock::locators
