// Counts allocations for the tests that promise none. In a file of its own: inlined, the replaced operators confuse the
// compiler's check for mismatched new and delete.
#include <cstdlib>
#include <new>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::testing {
namespace {
std::size_t count = 0;
}
std::size_t allocations() { return count; }
void count_allocation() { ++count; }
}  // namespace penstock::parsers::wire::testing

void* operator new(std::size_t size) {
  penstock::parsers::wire::testing::count_allocation();
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
