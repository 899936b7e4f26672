/* The few system calls that the FUSE transport needs and Node does not offer, against Node-API 8 (stable across Node
 * versions), libc and the event loop's own uv_poll and uv_prepare. No protocol here: requests go into buffers that JavaScript
 * owns and replies come out of them; src/fuse knows what they mean.
 *
 * One `device` per mount. Functions that can fail return 0 or more on success and the negative errno on failure.
 *
 *      wake-up ─► read, call back ─► … ─► all answered? ─► look on for the next request before the loop sleeps ─► sleep
 *                                                               └─ it came ─► call back ─┘
 *
 * Whoever works on files one call after the other asks again some microseconds after he was answered. To sleep until then costs two
 * wake-ups of processors that have gone idle, tens of microseconds each on a virtual machine, and cold caches. So while requests have
 * lately followed each other that closely, the device is looked at a little longer; processes that wait for a processor go first
 * (sched_yield). A look in vain ends it, until requests follow each other closely again. */

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <node_api.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "values.h"
#include "version.h"

#define MAX_BATCH 64
/* a batch that kept the event loop longer than this makes the next one smaller; so long the device is looked at in one turn */
#define BATCH_NANOS 1000000
/* while requests come one by one, look for a second one only at every so many wake-ups: an empty read costs 0.3 us */
#define PROBE_EVERY 16
/* more than a reply of 1 MiB in 4 KiB pieces needs */
#define MAX_PIECES 512
/* what a wake-up adds, at least, to the time after which a request is taken */
#define WAKE_NANOS 40000

typedef struct {
  uv_poll_t poll;
  uv_prepare_t prepare;
  napi_env env;
  napi_ref callback, out_ref, state_ref, arena_ref;
  napi_async_context context;
  int fd;
  char *out;
  /* [0] where the next request goes in the arena, [1] how many requests have no answer yet (JavaScript keeps both); then offset and
   * length of each request read */
  int32_t *state;
  char *arena;
  size_t arena_bytes, slot_bytes;
  int limit, found_last, wake_ups;
  bool polling, closing;
  /* how long to look on; 0 = not */
  uint64_t look_on_nanos;
  /* since when all requests are answered; 0 = it does not matter */
  uint64_t quiet_since;
  /* requests were served since the last look, and they follow each other closely */
  bool worked, lively;
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
    dev->state[2 + 2 * found] = (int32_t)offset;
    dev->state[3 + 2 * found] = (int32_t)got;
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

/* What `drain` found: requests, or the error of a device that is gone. */
static void serve(device *dev, int found) {
  if (found < 0) {
    uv_poll_stop(&dev->poll);
    dev->polling = false;
    call_back(dev, found);
    return;
  }
  dev->worked = true;
  uint64_t began = uv_hrtime();
  call_back(dev, found);
  uint64_t nanos = uv_hrtime() - began;
  if (nanos > BATCH_NANOS) {
    int fits = (int)((uint64_t)found * BATCH_NANOS / nanos);
    dev->limit = fits > 1 ? fits : 1;
  } else if (dev->limit < MAX_BATCH) {
    dev->limit = dev->limit * 2 < MAX_BATCH ? dev->limit * 2 : MAX_BATCH;
  }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  device *dev = poll->data;
  if (dev->quiet_since != 0) {
    dev->lively = uv_hrtime() - dev->quiet_since < dev->look_on_nanos + WAKE_NANOS;
    dev->quiet_since = 0;
  }
  int found = drain(dev);
  if (found == 0 && status < 0) found = status; /* libuv reports a poll error as EBADF and has stopped the watcher */
  if (found == 0) return;
  serve(dev, found);
  /* the watcher that libuv stopped: once more, to read the error that is left */
  if (status < 0 && dev->polling) uv_poll_start(poll, UV_READABLE, on_readable);
}

/* The loop is about to wait for events. Where an answer is still owed it needs one of them; else it looks on. */
static void on_prepare(uv_prepare_t *prepare) {
  device *dev = prepare->data;
  if (!dev->worked || !dev->polling || dev->state[1] > 0) return;
  uint64_t began = uv_hrtime();
  dev->worked = false;
  dev->quiet_since = began;
  while (dev->lively) {
    int found = drain(dev);
    uint64_t now = uv_hrtime();
    if (found == 0) {
      dev->lively = now - dev->quiet_since < dev->look_on_nanos;
      if (dev->lively) sched_yield();
      continue;
    }
    dev->quiet_since = 0;
    serve(dev, found);
    if (!dev->polling || dev->state[1] > 0) return;
    now = uv_hrtime();
    dev->quiet_since = now;
    if (now - began > BATCH_NANOS) return; /* sockets and timers have waited long enough */
    dev->worked = false;
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
  if (dev->closing) return;
  uv_poll_stop(&dev->poll);
  uv_prepare_stop(&dev->prepare);
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
  uv_close((uv_handle_t *)&dev->prepare, NULL);
  uv_close((uv_handle_t *)&dev->poll, on_closed);
  napi_async_destroy(env, dev->context);
  napi_delete_reference(env, dev->callback);
  napi_delete_reference(env, dev->out_ref);
  napi_delete_reference(env, dev->state_ref);
  if (dev->arena_ref) napi_delete_reference(env, dev->arena_ref);
  return number(env, 0);
}

/* attach(fd, out, state, slotBytes, lookOnMicros, callback) -> the functions of one device. `out` and `state` are buffers;
 * callback(n) gets the number of requests described in `state`, or a negative errno, the last call. */
static napi_value attach(napi_env env, napi_callback_info info) {
  ARGUMENTS(6);
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
  dev->look_on_nanos = (uint64_t)int_of(env, argv[4]) * 1000;
  dev->limit = MAX_BATCH;
  uv_loop_t *loop;
  napi_get_uv_event_loop(env, &loop);
  int failed = uv_poll_init(loop, &dev->poll, dev->fd);
  if (failed) {
    free(dev);
    return number(env, failed);
  }
  dev->poll.data = dev;
  uv_prepare_init(loop, &dev->prepare);
  dev->prepare.data = dev;
  uv_unref((uv_handle_t *)&dev->prepare);
  if (dev->look_on_nanos > 0) uv_prepare_start(&dev->prepare, on_prepare);
  napi_create_reference(env, argv[1], 1, &dev->out_ref);
  napi_create_reference(env, argv[2], 1, &dev->state_ref);
  napi_create_reference(env, argv[5], 1, &dev->callback);
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
  offer(env, exports, "attach", attach, NULL);
  offer_system(env, exports);
  offer_files(env, exports);
  return exports;
}
