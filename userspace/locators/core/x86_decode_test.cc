#include "userspace/locators/core/x86_decode.h"

#include <gtest/gtest.h>

#include <vector>

namespace penstock::locators {
namespace {

using Code = std::vector<std::uint8_t>;

Instruction one(const Code& code, std::uint64_t at = 0x1000) {
  const auto insn = decode(code, at);
  EXPECT_TRUE(insn);
  return insn.value_or(Instruction{});
}

TEST(Decode, KnowsWhatTheKernelEmulates) {
  EXPECT_TRUE(one({0x55}).emulated);                           // push rbp
  EXPECT_TRUE(one({0x41, 0x57}).emulated);                     // push r15
  EXPECT_TRUE(one({0x90}).emulated);                           // nop
  EXPECT_TRUE(one({0x76, 0x10}).emulated);                     // jbe
  EXPECT_TRUE(one({0x0f, 0x86, 0, 1, 0, 0}).emulated);         // jbe, long
  EXPECT_TRUE(one({0xe8, 0, 0, 0, 0}).emulated);               // call
  EXPECT_TRUE(one({0xe9, 0, 0, 0, 0}).emulated);               // jmp
  EXPECT_FALSE(one({0xf3, 0x0f, 0x1e, 0xfa}).emulated);        // endbr64
  EXPECT_FALSE(one({0x48, 0x83, 0xec, 0x18}).emulated);        // sub rsp, 24
  EXPECT_FALSE(one({0x0f, 0x1f, 0x44, 0x00, 0x00}).emulated);  // the 5-byte nop: rewritten by newer kernels
  EXPECT_FALSE(one({0x66, 0x90}).emulated);                    // xchg ax, ax
  EXPECT_FALSE(one({0xff, 0x25, 0, 0, 0, 0}).emulated);        // jmp through the GOT
  EXPECT_FALSE(one({0xc3}).emulated);                          // ret
  EXPECT_FALSE(one({0x68, 1, 0, 0, 0}).emulated);              // push imm32
  EXPECT_FALSE(one({0xf2, 0xe9, 0, 0, 0, 0}).emulated);        // bnd jmp
}

TEST(Decode, ResolvesTargets) {
  EXPECT_EQ(one({0xe8, 0x0b, 0, 0, 0}).target, 0x1010u);
  EXPECT_EQ(one({0x75, 0xfe}).target, 0x1000u);
  const Instruction lea = one({0x48, 0x8d, 0x15, 0xf9, 0xff, 0xff, 0xff});  // lea rdx, [rip-7]
  EXPECT_EQ(lea.shape, Shape::kLoadAddress);
  EXPECT_EQ(lea.reg, kRdx);
  EXPECT_EQ(lea.target, 0x1000u);
}

TEST(Decode, SeesWhatIsWritten) {
  EXPECT_EQ(one({0x48, 0x89, 0xe5}).written, 1u << kRbp);                             // mov rbp, rsp
  EXPECT_NE(one({0x48, 0x83, 0xec, 0x18}).written & (1u << kRsp), 0);                 // sub rsp
  EXPECT_NE(one({0x40, 0xb7, 0x01}).written & (1u << kRdi), 0);                       // mov dil, 1: part of rdi
  EXPECT_EQ(one({0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}).written, 1u << kRax);  // mov rax, fs:0x28
}

TEST(Decode, SeesWhatIsRead) {
  EXPECT_EQ(one({0x4d, 0x89, 0xc5}).read, 1u << kR8);                           // mov r13, r8
  EXPECT_EQ(one({0x4c, 0x89, 0x44, 0x24, 0x08}).read, 1u << kR8 | 1u << kRsp);  // mov [rsp+8], r8
  EXPECT_EQ(one({0x4a, 0x8d, 0x04, 0x06}).read, 1u << kRsi | 1u << kR8);        // lea rax, [rsi+r8]
  EXPECT_EQ(one({0x45, 0x31, 0xc0}).read, 0u);                                  // xor r8d, r8d
}

TEST(Decode, ReadsImmediates) {
  EXPECT_EQ(one({0xba, 0xe2, 0, 0, 0}).immediate, 226);       // mov edx, 226
  EXPECT_EQ(one({0x6a, 0x10}).immediate, 16);                 // push 16
  EXPECT_EQ(one({0x31, 0xff}).shape, Shape::kMoveImmediate);  // xor edi, edi
  EXPECT_EQ(one({0x31, 0xff}).reg, kRdi);
  EXPECT_EQ(one({0x49, 0x89, 0xc8}).source, kRcx);  // mov r8, rcx
}

TEST(Decode, RefusesWhatIsCutOff) {
  EXPECT_FALSE(decode({}, 0));
  EXPECT_FALSE(decode(Code{0xe8, 0, 0}, 0));
  EXPECT_FALSE(decode(Code{0x06}, 0));  // no instruction in 64-bit mode
}

}  // namespace
}  // namespace penstock::locators
