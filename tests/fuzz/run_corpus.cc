// Runs a fuzz target over a folder of inputs once, for builds without libFuzzer: what the fuzzer
// once found stays found, with every compiler and sanitizer.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const uint8_t nothing = 0;
  LLVMFuzzerTestOneInput(&nothing, 0);

  int inputs = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    // The last input's name is what a crash leaves behind.
    std::printf("%s\n", entry.path().filename().c_str());
    std::fflush(stdout);
    // An exact copy on the heap, so that the address sanitizer sees a read past its end.
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++inputs;
  }
  if (error || inputs == 0) {
    std::fprintf(stderr, "%s: no inputs there; every fuzz target needs a corpus\n", argv[1]);
    return 1;
  }
  return 0;
}
