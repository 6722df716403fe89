#include "userspace/locators/core/x86_decode.h"

#include <Zydis/Zydis.h>

namespace penstock::locators {
namespace {

const ZydisDecoder& decoder() {
  static const ZydisDecoder instance = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return d;
  }();
  return instance;
}

std::uint8_t number_of(ZydisRegister reg) {
  const ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(full) != ZYDIS_REGCLASS_GPR64) return kNoRegister;
  return static_cast<std::uint8_t>(ZydisRegisterGetId(full));
}

// Which instructions the kernel emulates: arch/x86/kernel/uprobes.c, branch_setup_xol_ops and push_setup_xol_ops. The
// 5-byte nop is left out on purpose: kernels that rewrite it to a call use the stack below rsp (red zone).
bool is_emulated(std::span<const std::uint8_t> code, const ZydisDecodedInstruction& insn) {
  const std::uint8_t first = code[0];
  if (insn.length == 1) return first == 0x90 || (first >= 0x50 && first <= 0x57);
  if (insn.length == 2 && first == 0x41) return code[1] >= 0x50 && code[1] <= 0x57;
  if (first == 0xe8 || first == 0xe9) return insn.length == 5;
  if (first == 0xeb || (first >= 0x70 && first <= 0x7f)) return insn.length == 2;
  return first == 0x0f && code[1] >= 0x80 && code[1] <= 0x8f && insn.length == 6;
}

Flow flow_of(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  const bool direct =
      insn.operand_count > 0 && operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operands[0].imm.is_relative;
  switch (insn.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
      return Flow::kBranch;
    case ZYDIS_CATEGORY_UNCOND_BR:
      return direct ? Flow::kJump : Flow::kJumpAway;
    case ZYDIS_CATEGORY_CALL:
      return direct ? Flow::kCall : Flow::kCallAway;
    case ZYDIS_CATEGORY_RET:
      return Flow::kReturn;
    default:
      break;
  }
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_HLT:
      return Flow::kTrap;
    default:
      return Flow::kNext;
  }
}

void describe(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* ops, Instruction& out) {
  const auto is_reg = [&](int i) { return ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER; };
  const auto is_imm = [&](int i) { return ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; };
  const auto is_mem = [&](int i) { return ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY; };
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_ENDBR64:
      out.shape = Shape::kEndbr;
      break;
    case ZYDIS_MNEMONIC_LEA:
      out.reg = number_of(ops[0].reg.value);
      if (ops[1].mem.base == ZYDIS_REGISTER_RIP)
        out.shape = Shape::kLoadAddress;
      else if (ops[1].mem.base == ZYDIS_REGISTER_RSP || ops[1].mem.base == ZYDIS_REGISTER_RBP)
        out.shape = Shape::kLoadStackAddress;
      break;
    case ZYDIS_MNEMONIC_MOV:
      if (is_reg(0) && is_imm(1)) {
        out.shape = Shape::kMoveImmediate;
        out.reg = number_of(ops[0].reg.value);
        out.immediate = ops[1].imm.value.s;
      } else if (is_reg(0) && is_reg(1)) {
        out.reg = number_of(ops[0].reg.value);
        out.source = number_of(ops[1].reg.value);
        out.shape = out.source == kRsp ? Shape::kLoadStackAddress : Shape::kMoveRegister;
      } else if (is_mem(0) && is_imm(1)) {
        out.shape = Shape::kStoreAddress;
        out.immediate = ops[1].imm.value.s;
      }
      break;
    case ZYDIS_MNEMONIC_XOR:
      if (is_reg(0) && is_reg(1) && ops[0].reg.value == ops[1].reg.value) {
        out.shape = Shape::kMoveImmediate;
        out.reg = number_of(ops[0].reg.value);
        out.immediate = 0;
      }
      break;
    case ZYDIS_MNEMONIC_PUSH:
      if (is_imm(0)) {
        out.shape = Shape::kPushImmediate;
        out.immediate = ops[0].imm.value.s;
      } else if (is_reg(0)) {
        out.shape = Shape::kPush;
        out.reg = number_of(ops[0].reg.value);
      }
      break;
    case ZYDIS_MNEMONIC_POP:
      if (is_reg(0)) {
        out.shape = Shape::kPop;
        out.reg = number_of(ops[0].reg.value);
      }
      break;
    default:
      break;
  }
}

}  // namespace

std::optional<Instruction> decode(std::span<const std::uint8_t> code, std::uint64_t vaddr) {
  ZydisDecodedInstruction insn;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder(), code.data(), code.size(), &insn, operands))) return std::nullopt;
  Instruction out;
  out.vaddr = vaddr;
  out.bytes = insn.length;
  out.flow = flow_of(insn, operands);
  out.emulated = is_emulated(code, insn);
  for (std::uint8_t i = 0; i < insn.operand_count; ++i) {
    const ZydisDecodedOperand& op = operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && (op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) {
      const std::uint8_t reg = number_of(op.reg.value);
      if (reg < 16) out.written = static_cast<std::uint16_t>(out.written | 1u << reg);
    }
    const auto reads = [&](ZydisRegister reg) {
      if (const std::uint8_t number = number_of(reg); number < 16)
        out.read = static_cast<std::uint16_t>(out.read | 1u << number);
    };
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && (op.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0)
      reads(op.reg.value);
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      reads(op.mem.base);
      reads(op.mem.index);
    }
    // Own arithmetic, wrapping like the CPU's: Zydis refuses addresses that overflow.
    if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && op.imm.is_relative)
      out.target = vaddr + insn.length + op.imm.value.u;
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.mem.base == ZYDIS_REGISTER_RIP)
      out.target = vaddr + insn.length + static_cast<std::uint64_t>(op.mem.disp.value);
  }
  describe(insn, operands, out);
  if (out.shape == Shape::kMoveImmediate) out.read = 0;  // xor reg, reg depends on nothing
  return out;
}

}  // namespace penstock::locators
