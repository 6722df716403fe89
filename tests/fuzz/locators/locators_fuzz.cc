// Every locator over hostile images. Run with seeds: locators_fuzz CORPUS /usr/lib/x86_64-linux-gnu/libssl.so.3 …
#include "userspace/locators/testing/hostile_image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  penstock::locators::testing::analyze_hostile({data, size});
  return 0;
}
