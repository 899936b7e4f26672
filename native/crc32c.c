/* CRC-32C (Castagnoli) by the processor's instruction, where there is one. */

#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)
bool crc32c_offered(void) { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2"))) uint32_t crc32c(const uint8_t *bytes, size_t length) {
  uint64_t crc = ~0u;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  uint32_t rest = (uint32_t)crc;
  for (; length > 0; bytes++, length--) rest = __builtin_ia32_crc32qi(rest, *bytes);
  return ~rest;
}
#else
bool crc32c_offered(void) { return false; }

uint32_t crc32c(const uint8_t *bytes, size_t length) {
  (void)bytes;
  (void)length;
  return 0;
}
#endif
