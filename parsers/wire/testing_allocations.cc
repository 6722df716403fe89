// Counts allocations for the tests that promise none. In a file of its own: inlined, the replaced operators confuse the
// compiler's check for mismatched new and delete.
#include <malloc.h>

#include <cstdlib>
#include <new>

#include "parsers/wire/testing.h"

namespace penstock::parsers::wire::testing {
namespace {
std::size_t count = 0;
std::size_t live = 0;
}  // namespace
std::size_t allocations() { return count; }
std::size_t live_bytes() { return live; }
void count_allocation(std::size_t bytes) {
  ++count;
  live += bytes;
}
void count_release(std::size_t bytes) { live -= bytes; }
}  // namespace penstock::parsers::wire::testing

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  penstock::parsers::wire::testing::count_allocation(malloc_usable_size(memory));
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) penstock::parsers::wire::testing::count_release(malloc_usable_size(memory));
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
