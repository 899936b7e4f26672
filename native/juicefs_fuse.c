/* The few system calls that the FUSE transport needs and Node does not offer, against Node-API 8 (stable across Node
 * versions), libc and the event loop's own uv_poll. No protocol here: requests go into buffers that JavaScript owns and
 * replies come out of them; src/fuse knows what they mean.
 *
 * One `device` per mount. Functions that can fail return 0 or more on success and the negative errno on failure. */

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "values.h"
#include "version.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define MAX_BATCH 64
/* a batch that kept the event loop longer than this makes the next one smaller */
#define BATCH_NANOS 1000000
/* while requests come one by one, look for a second one only at every so many wake-ups: an empty read costs 0.3 us */
#define PROBE_EVERY 16
/* more than a reply of 1 MiB in 4 KiB pieces needs */
#define MAX_PIECES 512

/* ---------------------------------------------------------------------------------------------- mounting */

static napi_value open_device(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT && mknod("/dev/fuse", S_IFCHR | 0666, makedev(10, 229)) == 0)
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  return result_of(env, fd);
}

/* mount(source, target, type, flags, data): always without suid programs and devices */
static napi_value mount_device(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  char *source = text_of(env, argv[0]), *target = text_of(env, argv[1]);
  char *type = text_of(env, argv[2]), *options = text_of(env, argv[4]);
  napi_value result;
  if (source && target && type && options)
    result = result_of(env, mount(source, target, type, MS_NOSUID | MS_NODEV | (unsigned)int_of(env, argv[3]), options));
  else
    result = number(env, -EINVAL);
  free(source);
  free(target);
  free(type);
  free(options);
  return result;
}

/* socketPair() -> [ours, theirs], for fusermount3 to hand a descriptor over; ours closes on exec */
static napi_value socket_pair(napi_env env, napi_callback_info info) {
  (void)info;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) return result_of(env, -1);
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  napi_value pair;
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, number(env, ends[0]));
  napi_set_element(env, pair, 1, number(env, ends[1]));
  return pair;
}

/* receiveDescriptor(socket) -> the descriptor sent with SCM_RIGHTS; -ENODATA when the other side sent none */
static napi_value receive_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  char byte;
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec piece = {&byte, 1};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t got;
  do
    got = recvmsg(int_of(env, argv[0]), &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return result_of(env, got);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return number(env, -ENODATA);
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return number(env, fd);
}

/* prepareDescriptor(fd): non-blocking, closed on exec */
static napi_value prepare_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int fd = int_of(env, argv[0]);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return result_of(env, -1);
  return result_of(env, fcntl(fd, F_SETFD, FD_CLOEXEC));
}

/* ---------------------------------------------------------------------------------------------- the process */

/* setIoFlusher(): memory taken while serving a write-back must not wait for a write-back (root only) */
static napi_value set_io_flusher(napi_env env, napi_callback_info info) {
  (void)info;
  return result_of(env, prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
}

/* disableHugePages(): no transparent huge pages for this process and those it starts */
static napi_value disable_huge_pages(napi_env env, napi_callback_info info) {
  (void)info;
  return result_of(env, prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
}

/* trimMemory(): free memory that malloc keeps goes back to the system; 1 if there was any, 0 where malloc cannot (musl) */
static napi_value trim_memory(napi_env env, napi_callback_info info) {
  (void)info;
#ifdef __GLIBC__
  return number(env, malloc_trim(0));
#else
  return number(env, 0);
#endif
}

/* raiseOpenFiles(wanted) -> the limit that was accepted; tries two thirds of it while the system refuses */
static napi_value raise_open_files(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct rlimit now;
  if (getrlimit(RLIMIT_NOFILE, &now) < 0) return result_of(env, -1);
  for (rlim_t wanted = (rlim_t)int_of(env, argv[0]); wanted > now.rlim_cur; wanted = wanted * 2 / 3) {
    struct rlimit raised = {wanted, now.rlim_max > wanted ? now.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return number(env, (int64_t)wanted);
  }
  return number(env, (int64_t)now.rlim_cur);
}

/* ---------------------------------------------------------------------------------------------- serving */

typedef struct {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback, out_ref, state_ref, arena_ref;
  napi_async_context context;
  int fd;
  char *out;
  /* [0] where the next request goes in the arena (JavaScript moves it); then offset and length of each request read */
  int32_t *state;
  char *arena;
  size_t arena_bytes, slot_bytes;
  int limit, found_last, wake_ups;
  bool polling, closing;
} device;

/* Reads requests into the arena; returns how many, or the negative errno of a device that is gone. */
static int drain(device *dev) {
  bool eager = dev->found_last > 1 || ++dev->wake_ups % PROBE_EVERY == 0;
  int wanted = eager ? dev->limit : 1, found = 0;
  size_t offset = (size_t)dev->state[0];
  while (found < wanted && dev->arena_bytes - offset >= dev->slot_bytes) {
    ssize_t got = read(dev->fd, dev->arena + offset, dev->arena_bytes - offset);
    if (got < 0) {
      if (errno == EINTR || errno == ENOENT) continue; /* ENOENT: the request was interrupted before we took it */
      if (errno == EAGAIN) break;
      if (found == 0) return -errno;
      break; /* what was read is served first, the next wake-up meets the error again */
    }
    dev->state[1 + 2 * found] = (int32_t)offset;
    dev->state[2 + 2 * found] = (int32_t)got;
    found++;
    offset += ((size_t)got + 7) & ~(size_t)7;
  }
  dev->found_last = found;
  return found;
}

static void call_back(device *dev, int count) {
  napi_env env = dev->env;
  napi_handle_scope scope;
  napi_value callback, receiver, argument, result;
  napi_open_handle_scope(env, &scope);
  napi_get_reference_value(env, dev->callback, &callback);
  napi_get_global(env, &receiver);
  napi_create_int32(env, count, &argument);
  if (napi_make_callback(env, dev->context, receiver, callback, 1, &argument, &result) == napi_pending_exception) {
    napi_value exception;
    napi_get_and_clear_last_exception(env, &exception);
    napi_fatal_exception(env, exception);
  }
  napi_close_handle_scope(env, scope);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  device *dev = poll->data;
  int found = drain(dev);
  if (found == 0 && status < 0) found = status; /* libuv reports a poll error as EBADF and has stopped the watcher */
  if (found == 0) return;
  if (found < 0) {
    uv_poll_stop(poll);
    dev->polling = false;
    call_back(dev, found);
    return;
  }
  uint64_t began = uv_hrtime();
  call_back(dev, found);
  /* the watcher that libuv stopped: once more, to read the error that is left */
  if (status < 0 && dev->polling) uv_poll_start(poll, UV_READABLE, on_readable);
  uint64_t nanos = uv_hrtime() - began;
  if (nanos > BATCH_NANOS) {
    int fits = (int)((uint64_t)found * BATCH_NANOS / nanos);
    dev->limit = fits > 1 ? fits : 1;
  } else if (dev->limit < MAX_BATCH) {
    dev->limit = dev->limit * 2 < MAX_BATCH ? dev->limit * 2 : MAX_BATCH;
  }
}

/* reply(length): the first bytes of `out` */
static napi_value reply(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  device *dev = data;
  return result_of(env, write(dev->fd, dev->out, (size_t)int_of(env, argv[0])) < 0 ? -1 : 0);
}

/* replyPieces(headLength, pieces): the first bytes of `out`, then each buffer */
static napi_value reply_pieces(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  device *dev = data;
  struct iovec pieces[MAX_PIECES];
  uint32_t count = 0;
  napi_get_array_length(env, argv[1], &count);
  if (count >= MAX_PIECES) return number(env, -E2BIG);
  pieces[0].iov_base = dev->out;
  pieces[0].iov_len = (size_t)int_of(env, argv[0]);
  for (uint32_t i = 0; i < count; i++) {
    napi_value piece;
    napi_get_element(env, argv[1], i, &piece);
    if (napi_get_buffer_info(env, piece, &pieces[i + 1].iov_base, &pieces[i + 1].iov_len) != napi_ok)
      return number(env, -EINVAL);
  }
  return result_of(env, writev(dev->fd, pieces, (int)count + 1) < 0 ? -1 : 0);
}

/* useArena(buffer): where requests are read to from now on */
static napi_value use_arena(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  device *dev = data;
  void *bytes;
  if (napi_get_buffer_info(env, argv[0], &bytes, &dev->arena_bytes) != napi_ok) return number(env, -EINVAL);
  dev->arena = bytes;
  if (dev->arena_ref) napi_delete_reference(env, dev->arena_ref);
  napi_create_reference(env, argv[0], 1, &dev->arena_ref);
  return number(env, 0);
}

static napi_value resume(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  device *dev = data;
  if (dev->closing || dev->polling) return number(env, 0);
  dev->polling = true;
  return number(env, uv_poll_start(&dev->poll, UV_READABLE, on_readable));
}

static napi_value pause_polling(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  device *dev = data;
  dev->polling = false;
  if (!dev->closing) uv_poll_stop(&dev->poll);
  return number(env, 0);
}

static void end_of_environment(void *pointer) {
  device *dev = pointer;
  if (!dev->closing) uv_poll_stop(&dev->poll);
}

/* The structure stays: the functions bound to it may be called once more, and it is a few hundred bytes a mount. */
static void on_closed(uv_handle_t *handle) {
  device *dev = handle->data;
  close(dev->fd);
  dev->fd = -1;
}

static napi_value close_device(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  device *dev = data;
  if (dev->closing) return number(env, 0);
  dev->closing = true;
  dev->polling = false;
  napi_remove_env_cleanup_hook(env, end_of_environment, dev);
  uv_poll_stop(&dev->poll);
  uv_close((uv_handle_t *)&dev->poll, on_closed);
  napi_async_destroy(env, dev->context);
  napi_delete_reference(env, dev->callback);
  napi_delete_reference(env, dev->out_ref);
  napi_delete_reference(env, dev->state_ref);
  if (dev->arena_ref) napi_delete_reference(env, dev->arena_ref);
  return number(env, 0);
}

/* attach(fd, out, state, slotBytes, callback) -> the functions of one device. `out` and `state` are buffers;
 * callback(n) gets the number of requests described in `state`, or a negative errno, the last call. */
static napi_value attach(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  device *dev = calloc(1, sizeof *dev);
  if (!dev) return number(env, -ENOMEM);
  void *out, *state;
  if (napi_get_buffer_info(env, argv[1], &out, NULL) != napi_ok ||
      napi_get_buffer_info(env, argv[2], &state, NULL) != napi_ok) {
    free(dev);
    return number(env, -EINVAL);
  }
  dev->env = env;
  dev->fd = int_of(env, argv[0]);
  dev->out = out;
  dev->state = state;
  dev->slot_bytes = (size_t)int_of(env, argv[3]);
  dev->limit = MAX_BATCH;
  uv_loop_t *loop;
  napi_get_uv_event_loop(env, &loop);
  int failed = uv_poll_init(loop, &dev->poll, dev->fd);
  if (failed) {
    free(dev);
    return number(env, failed);
  }
  dev->poll.data = dev;
  napi_create_reference(env, argv[1], 1, &dev->out_ref);
  napi_create_reference(env, argv[2], 1, &dev->state_ref);
  napi_create_reference(env, argv[4], 1, &dev->callback);
  napi_value name;
  napi_create_string_utf8(env, "juicefs_fuse", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &dev->context);
  napi_add_env_cleanup_hook(env, end_of_environment, dev);

  napi_value functions;
  napi_create_object(env, &functions);
  offer(env, functions, "reply", reply, dev);
  offer(env, functions, "replyPieces", reply_pieces, dev);
  offer(env, functions, "useArena", use_arena, dev);
  offer(env, functions, "resume", resume, dev);
  offer(env, functions, "pause", pause_polling, dev);
  offer(env, functions, "close", close_device, dev);
  return functions;
}

NAPI_MODULE_INIT() {
  napi_set_named_property(env, exports, "version", number(env, ADDON_VERSION));
  offer(env, exports, "openDevice", open_device, NULL);
  offer(env, exports, "mount", mount_device, NULL);
  offer(env, exports, "socketPair", socket_pair, NULL);
  offer(env, exports, "receiveDescriptor", receive_descriptor, NULL);
  offer(env, exports, "prepareDescriptor", prepare_descriptor, NULL);
  offer(env, exports, "setIoFlusher", set_io_flusher, NULL);
  offer(env, exports, "disableHugePages", disable_huge_pages, NULL);
  offer(env, exports, "raiseOpenFiles", raise_open_files, NULL);
  offer(env, exports, "trimMemory", trim_memory, NULL);
  offer(env, exports, "attach", attach, NULL);
  offer_files(env, exports);
  return exports;
}
