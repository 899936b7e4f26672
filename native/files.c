/* Whole small files in one trip through the thread pool, or in none: what storing and caching blocks consists of. Node's own
 * calls need four trips to store a block (open, write, close, rename), each of which wakes two threads. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crc32c.h"
#include "values.h"

#define MAX_PIECES 4
/* of a cached block: each so long has its own checksum (spec disk-cache section 2.2) */
#define SUMMED_BYTES (32 << 10)

/* which call failed, for the message */
enum { OPEN, WRITE, CLOSE, RENAME, READ, SYNC };
/* of sync_path */
enum { SYNC_DATA, SYNC_FILE, SYNC_FILE_SYSTEM, DROP };

typedef struct job job;
struct job {
  int64_t (*run)(job *);
  napi_async_work work;
  napi_ref callback, pieces_ref;
  char *path, *temporary;
  int flags, mode, count;
  bool keep_open;
  uint8_t *sums; /* of the one piece, to be written behind it; NULL = none */
  size_t summed; /* bytes read whose checksums are wanted */
  struct iovec pieces[MAX_PIECES];
  int64_t offset, result;
  int failed;
};

static int64_t fail(job *task, int call) {
  task->failed = call;
  return -errno;
}

/* ---------------------------------------------------------------------------------------------- storing */

static int64_t write_all(int fd, struct iovec *piece, int count) {
  while (count > 0) {
    ssize_t wrote = writev(fd, piece, count);
    if (wrote < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    while (count > 0 && (size_t)wrote >= piece->iov_len) {
      wrote -= (ssize_t)piece->iov_len;
      piece++;
      count--;
    }
    if (count > 0) {
      piece->iov_base = (char *)piece->iov_base + wrote;
      piece->iov_len -= (size_t)wrote;
    }
  }
  return 0;
}

static size_t sums_of(size_t length) { return (length + SUMMED_BYTES - 1) / SUMMED_BYTES; }

/* The checksum of each piece, big-endian. */
static void sum(const uint8_t *bytes, size_t length, uint8_t *sums) {
  for (size_t i = 0; i < sums_of(length); i++) {
    size_t from = i * SUMMED_BYTES, rest = length - from;
    uint32_t crc = crc32c(bytes + from, rest < SUMMED_BYTES ? rest : SUMMED_BYTES);
    for (int byte = 0; byte < 4; byte++) sums[4 * i + byte] = (uint8_t)(crc >> (24 - 8 * byte));
  }
}

/* Appends the checksums of the first piece. */
static void append_sums(job *task) {
  sum(task->pieces[0].iov_base, task->pieces[0].iov_len, task->sums);
  task->pieces[task->count].iov_base = task->sums;
  task->pieces[task->count++].iov_len = 4 * sums_of(task->pieces[0].iov_len);
}

static int64_t save(job *task) {
  if (task->sums) append_sums(task);
  int fd = open(task->temporary, task->flags | O_WRONLY | O_CREAT | O_CLOEXEC, task->mode);
  if (fd < 0) return fail(task, OPEN);
  int64_t result = 0;
  if (write_all(fd, task->pieces, task->count) < 0) result = fail(task, WRITE);
  /* some file systems (NFS, quotas) report a failed write only here */
  if (close(fd) < 0 && errno != EINTR && result == 0) result = fail(task, CLOSE);
  if (result == 0 && rename(task->temporary, task->path) < 0) result = fail(task, RENAME);
  if (result < 0) unlink(task->temporary);
  /* anew, for reading only: a file open for writing would keep its file system from being remounted read-only */
  if (result == 0 && task->keep_open && (result = open(task->path, O_RDONLY | O_CLOEXEC)) < 0) result = fail(task, OPEN);
  return result;
}

/* ---------------------------------------------------------------------------------------------- reading */

/* Is there room in a buffer for so many bytes and their checksums, and a processor that can? */
static bool may_sum(size_t summed, size_t length) {
  return summed == 0 || (crc32c_offered() && summed <= length && 4 * sums_of(summed) <= length - summed);
}

static int64_t load(job *task) {
  int fd = open(task->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(task, OPEN);
  char *into = task->pieces[0].iov_base;
  size_t length = task->pieces[0].iov_len - 4 * sums_of(task->summed), filled = 0;
  int64_t result = 0;
  while (filled < length) {
    ssize_t got = pread(fd, into + filled, length - filled, (off_t)task->offset + (off_t)filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) result = fail(task, READ);
    if (got <= 0) break;
    filled += (size_t)got;
  }
  close(fd);
  if (result < 0) return result;
  if (filled >= task->summed) sum((uint8_t *)into, task->summed, (uint8_t *)into + length);
  return (int64_t)filled;
}

/* ---------------------------------------------------------------------------------------------- syncing */

static int64_t sync_path(job *task) {
  int fd = open(task->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(task, OPEN);
  int how = task->flags;
  int64_t result = 0;
  if (how == DROP)
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* an advice: nobody can do anything about its failure */
  else
    result = how == SYNC_DATA ? fdatasync(fd) : how == SYNC_FILE ? fsync(fd) : syncfs(fd);
  if (result < 0) result = fail(task, SYNC);
  close(fd);
  return result;
}

/* ---------------------------------------------------------------------------------------------- jobs */

static void execute(napi_env env, void *data) {
  (void)env;
  job *task = data;
  task->result = task->run(task);
}

static void free_job(napi_env env, job *task) {
  if (task->callback) napi_delete_reference(env, task->callback);
  if (task->pieces_ref) napi_delete_reference(env, task->pieces_ref);
  if (task->work) napi_delete_async_work(env, task->work);
  free(task->path);
  free(task->temporary);
  free(task->sums);
  free(task);
}

static void complete(napi_env env, napi_status status, void *data) {
  job *task = data;
  if (status == napi_ok) {
    napi_value callback, receiver, arguments[2];
    napi_get_reference_value(env, task->callback, &callback);
    napi_get_global(env, &receiver);
    arguments[0] = number(env, task->result);
    arguments[1] = number(env, task->failed);
    napi_call_function(env, receiver, callback, 2, arguments, NULL);
  }
  free_job(env, task);
}

static napi_value start(napi_env env, job *task, napi_value callback, const char *label) {
  napi_value name;
  napi_create_string_utf8(env, label, NAPI_AUTO_LENGTH, &name);
  if (napi_create_reference(env, callback, 1, &task->callback) != napi_ok ||
      napi_create_async_work(env, NULL, name, execute, complete, task, &task->work) != napi_ok ||
      napi_queue_async_work(env, task->work) != napi_ok) {
    free_job(env, task);
    return number(env, -EINVAL);
  }
  return number(env, 0);
}

/* saveFile(temporary, path, flags, mode, keepOpen, summed, pieces, callback(result, failedCall)): the pieces written one behind
 * the other to `temporary` (opened with O_CREAT and `flags`), which then becomes `path`. keepOpen: the result is a descriptor.
 * summed: the checksums of the one piece follow it. */
static napi_value save_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(8);
  job *task = calloc(1, sizeof *task);
  if (!task) return number(env, -ENOMEM);
  task->run = save;
  task->temporary = text_of(env, argv[0]);
  task->path = text_of(env, argv[1]);
  task->flags = int_of(env, argv[2]);
  task->mode = int_of(env, argv[3]);
  napi_get_value_bool(env, argv[4], &task->keep_open);
  bool summed = false;
  napi_get_value_bool(env, argv[5], &summed);
  uint32_t count = 0;
  napi_get_array_length(env, argv[6], &count);
  bool valid = task->temporary && task->path && count <= MAX_PIECES;
  for (uint32_t i = 0; valid && i < count; i++) {
    napi_value piece;
    napi_get_element(env, argv[6], i, &piece);
    valid = napi_get_buffer_info(env, piece, &task->pieces[i].iov_base, &task->pieces[i].iov_len) == napi_ok;
  }
  task->count = (int)count;
  if (valid && summed)
    valid = count == 1 && crc32c_offered() && (task->sums = malloc(task->pieces[0].iov_len / SUMMED_BYTES * 4 + 4)) != NULL;
  /* the array keeps the buffers alive */
  if (!valid || napi_create_reference(env, argv[6], 1, &task->pieces_ref) != napi_ok) {
    free_job(env, task);
    return number(env, -EINVAL);
  }
  return start(env, task, argv[7], "saveFile");
}

/* loadFile(path, offset, bytes, callback(bytesRead, failedCall), summed): fewer than fit only where the file ends. The last of
 * `bytes` are for the checksums of the first `summed` bytes read, if so many were. */
static napi_value load_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  job *task = calloc(1, sizeof *task);
  if (!task) return number(env, -ENOMEM);
  task->run = load;
  task->path = text_of(env, argv[0]);
  if (!task->path || napi_get_value_int64(env, argv[1], &task->offset) != napi_ok ||
      napi_get_buffer_info(env, argv[2], &task->pieces[0].iov_base, &task->pieces[0].iov_len) != napi_ok ||
      !may_sum(task->summed = (size_t)int_of(env, argv[4]), task->pieces[0].iov_len) ||
      napi_create_reference(env, argv[2], 1, &task->pieces_ref) != napi_ok) {
    free_job(env, task);
    return number(env, -EINVAL);
  }
  return start(env, task, argv[3], "loadFile");
}

/* syncPath(path, how, callback(result, failedCall)): opens, syncs (or drops from the kernel's memory) and closes a file or
 * directory */
static napi_value sync_one(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  job *task = calloc(1, sizeof *task);
  if (!task) return number(env, -ENOMEM);
  task->run = sync_path;
  task->path = text_of(env, argv[0]);
  task->flags = int_of(env, argv[1]);
  if (!task->path) {
    free_job(env, task);
    return number(env, -EINVAL);
  }
  return start(env, task, argv[2], "syncPath");
}

/* Bytes read from `position` on, fewer than fit only where the file ends; -EAGAIN where the kernel would have to wait. */
static int64_t read_cached(int fd, struct iovec into, off_t position) {
  size_t wanted = into.iov_len, filled = 0;
  for (;;) {
    ssize_t got = preadv2(fd, &into, 1, position + (off_t)filled, RWF_NOWAIT);
    if (got < 0) return -EAGAIN;
    filled += (size_t)got;
    if (got == 0 || filled == wanted) return (int64_t)filled;
    into.iov_base = (char *)into.iov_base + got;
    into.iov_len -= (size_t)got;
  }
}

/* readNow(fd, bytes, position, sums) -> bytes read, without waiting for a disk (preadv2 with RWF_NOWAIT); `sums` absent or for
 * the checksums of what was read, as many as fit */
static napi_value read_now(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct iovec into;
  int64_t position;
  if (napi_get_buffer_info(env, argv[1], &into.iov_base, &into.iov_len) != napi_ok ||
      napi_get_value_int64(env, argv[2], &position) != napi_ok)
    return number(env, -EINVAL);
  int64_t got = read_cached(int_of(env, argv[0]), into, (off_t)position);
  void *sums;
  size_t room;
  if (got > 0 && napi_get_buffer_info(env, argv[3], &sums, &room) == napi_ok && crc32c_offered())
    sum(into.iov_base, (size_t)got / SUMMED_BYTES >= room / 4 ? room / 4 * SUMMED_BYTES : (size_t)got, sums);
  return number(env, got);
}

/* The descriptor of a file that can be opened without a disk; negative errno, EAGAIN where the kernel would have to wait. */
static int open_cached(const char *path) {
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_CACHED};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  return fd >= 0 ? fd : errno == ENOENT ? -ENOENT : -EAGAIN;
}

/* openNow(path) -> a descriptor for reading, without waiting for a disk (openat2 with RESOLVE_CACHED) */
static napi_value open_now(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  char *path = text_of(env, argv[0]);
  if (!path) return number(env, -EINVAL);
  int fd = open_cached(path);
  free(path);
  return number(env, fd);
}

/* loadNow(path, bytes) -> bytes read from the start of the file, on the calling thread and only if no disk is needed: EAGAIN
 * where the kernel would have to wait (openat2 with RESOLVE_CACHED, preadv2 with RWF_NOWAIT) or cannot tell. */
static napi_value load_now(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct iovec into;
  if (napi_get_buffer_info(env, argv[1], &into.iov_base, &into.iov_len) != napi_ok) return number(env, -EINVAL);
  char *path = text_of(env, argv[0]);
  if (!path) return number(env, -EINVAL);
  int fd = open_cached(path);
  free(path);
  if (fd < 0) return number(env, fd);
  int64_t result = read_cached(fd, into, 0);
  close(fd);
  return number(env, result);
}

/* canSum(): does saveFile take `summed`, and is there crc32c? */
static napi_value can_sum(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value offered;
  napi_get_boolean(env, crc32c_offered(), &offered);
  return offered;
}

/* crc32c(bytes) -> CRC-32C of them, on the calling thread; only where canSum() */
static napi_value sum_of(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  void *bytes;
  size_t length;
  if (napi_get_buffer_info(env, argv[0], &bytes, &length) != napi_ok) return number(env, -EINVAL);
  return number(env, crc32c(bytes, length));
}

void offer_files(napi_env env, napi_value exports) {
  offer(env, exports, "canSum", can_sum, NULL);
  offer(env, exports, "crc32c", sum_of, NULL);
  offer(env, exports, "saveFile", save_file, NULL);
  offer(env, exports, "loadFile", load_file, NULL);
  offer(env, exports, "loadNow", load_now, NULL);
  offer(env, exports, "readNow", read_now, NULL);
  offer(env, exports, "openNow", open_now, NULL);
  offer(env, exports, "syncPath", sync_one, NULL);
}
