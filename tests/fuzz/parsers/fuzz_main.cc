// The entry of a fuzz target: libFuzzer's, or a program that runs the files and folders it is given.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fuzz/parsers/harness.h"

#ifdef PENSTOCK_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz(penstock::fuzz::Input({data, size}));
  return 0;
}
#else
int main(int argc, char** argv) {
  std::size_t inputs = 0;
  const auto run = [&inputs](const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
    fuzz(penstock::fuzz::Input({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}));
    ++inputs;
  };
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      run(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) run(entry.path());
  }
  std::printf("%zu inputs\n", inputs);
  return inputs == 0 ? 1 : 0;
}
#endif
