#ifndef JUICEFS_CRC32C_H
#define JUICEFS_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Has the processor the instruction? If not, `crc32c` must not be asked. */
bool crc32c_offered(void);
uint32_t crc32c(const uint8_t *bytes, size_t length);

#endif
